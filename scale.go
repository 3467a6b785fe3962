package imx

import (
	"slices"
	"time"
)

// Scaling is what the number of a service's instances follows by itself: a scale block of a template. Of several
// measures the one counts that asks for the most instances.
type Scaling struct {
	Min int `json:"min"`
	Max int `json:"max"`
	// CPU and Memory are the percent of its limit that an instance is to use, on the average over all; 0 doesn't ask.
	CPU    int `json:"cpu,omitempty"`
	Memory int `json:"memory,omitempty"`
	// Connections are new connections per second and instance through the service's address and its published ports,
	// Requests those by the counter of Deploy.Judge; 0 doesn't ask.
	Connections float64 `json:"connections,omitempty"`
	Requests    float64 `json:"requests,omitempty"`
	// Up is the least time between a change and more instances; Down for how long fewer have to be enough before some go.
	Up   Duration `json:"up"`
	Down Duration `json:"down"`
	// Idle is after how long without a connection the last instance goes, where the least number is 0. The first
	// connection brings it back. 0 means never.
	Idle      Duration   `json:"idle,omitempty"`
	Schedules []Schedule `json:"schedules,omitempty"`
}

// Schedule is a time at which other bounds hold. Of several at a time each bound is the largest.
type Schedule struct {
	Name string   `json:"name"`
	Days []string `json:"days,omitempty"` // of Weekdays; none means each
	// From and To are times of the day, "08:00"; a To that isn't after From is on the next day.
	From string `json:"from"`
	To   string `json:"to"`
	Zone string `json:"zone,omitempty"` // as the IANA calls it; "" means UTC
	Min  int    `json:"min"`
	Max  int    `json:"max,omitempty"` // 0 means Scaling.Max
	At   Pos    `json:"at,omitzero"`
}

// Sizing is how the number of instances came about of a service that has a scale block.
type Sizing struct {
	// Fixed is who set the number by hand: it stays until it is given back, or another release comes. "" if nobody did.
	Fixed  Principal `json:"fixed,omitempty"`
	Since  time.Time `json:"since,omitzero"`   // when the number last changed
	Reason string    `json:"reason,omitempty"` // why, where imx did it by itself
}

// Usage is what an instance uses of the machine.
type Usage struct {
	CPU       Duration `json:"cpu"`                 // processor time since its start
	Cores     float64  `json:"cores,omitempty"`     // processors at work for it just now, on the average
	Throttled Duration `json:"throttled,omitempty"` // for how long its limit kept its processes waiting, since its start
	Held      bool     `json:"held,omitempty"`      // its limit keeps them waiting just now
	Memory    Size     `json:"memory"`              // without what the kernel can give back at once
	Pids      int      `json:"pids"`
	// Killed is how many of its processes the memory limit has ended, and Denied how many it couldn't start because of the limit of Pids.
	Killed int       `json:"killed,omitempty"`
	Denied int       `json:"denied,omitempty"`
	Limits Resources `json:"limits"` // in force: the release's, or imx's defaults
}

// Load is what services' instances do at a moment. It isn't on the log.
type Load struct {
	Time  time.Time        `json:"time"`
	Usage map[string]Usage `json:"usage"` // by id, of instances that run
	// Arrivals are the new connections through each service's address and published ports since the engine began to count.
	// The count begins anew when the rules are written anew.
	Arrivals map[string]int64 `json:"arrivals"`
	// Asked are the requests that came to services through ingresses, which lead to instances past the services' addresses. The count
	// begins anew with the ingresses' process.
	Asked map[string]int64 `json:"asked,omitempty"`
	// Requests are what instances have answered since their starts by their own counters, by id; where that was asked for.
	Requests map[string]float64 `json:"requests,omitempty"`
}

// SizeFreed gives the number of a service's instances back to its scale block.
type SizeFreed struct {
	Service string `json:"service"`
}

func (SizeFreed) kind() string { return "size-freed" }

// Weekdays are the names of days, as schedules have them, from the one that Go calls 0.
func Weekdays() []string { return []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} }

// DefaultUp and DefaultDown are what a scale block has that says nothing of it.
const (
	DefaultUp   = Duration(15 * time.Second)
	DefaultDown = Duration(5 * time.Minute)
)

// Sleeps reports whether the service may come to no instance by itself, until a connection comes.
func (s Spec) Sleeps() bool { return s.Scale != nil && s.Scale.Idle > 0 }

// SizesItself reports whether imx sets the number of the service's instances by itself, as its target's scale block says.
func (v Service) SizesItself() bool {
	r, ok := v.Release(v.Target)
	return ok && r.Spec.Scale != nil && v.Sizing.Fixed == "" && v.Stopped == nil && !v.Destroyed
}

// ReplicasBy is how many instances an apply gives a service: those of the template or, where that has a scale block, those that
// there are, within its bounds. Another release begins with one at least, so that it is tried; and one that is the same
// leaves the number alone that a person fixed.
func (v Service) ReplicasBy(spec Spec, another bool) int {
	n := v.Replicas
	if v.Stopped != nil {
		n = v.Stopped.Replicas
	}
	switch {
	case spec.Scale == nil:
		return spec.Replicas
	case v.Destroyed || len(v.Releases) == 0:
		n = max(1, spec.Replicas)
	case another:
		n = max(1, n)
	case v.Sizing.Fixed != "":
		return n
	}
	return spec.Within(n)
}

// Keeping returns a spec that was planned for another environment with as many instances as the service has here: with those of the plan where the
// service is new.
func (v Service) Keeping(spec Spec) Spec {
	if len(v.Releases) == 0 || v.Destroyed {
		return spec
	}
	spec.Replicas = v.Replicas
	if v.Stopped != nil {
		spec.Replicas = v.Stopped.Replicas
	}
	if spec.Exclusive() {
		spec.Replicas = min(spec.Replicas, 1)
	}
	return spec
}

// Within is a number of instances brought within the bounds of the scale block that hold at some time.
func (s Spec) Within(n int) int {
	if s.Scale == nil {
		return n
	}
	least, most := s.Scale.Min, s.Scale.Max
	for _, c := range s.Scale.Schedules {
		least, most = min(least, c.Min), max(most, c.Max)
	}
	return min(max(n, least), most)
}

// clockForm is how schedules write times of the day.
const clockForm = "15:04"

// Check says what of a schedule can't be understood: NotFound for a zone that this machine doesn't know, else Invalid.
func (s Schedule) Check() error {
	for _, clock := range []string{s.From, s.To} {
		if _, err := time.Parse(clockForm, clock); err != nil {
			return Errorf(Invalid, "%q is no time of the day", clock).WithHint(`write it as "08:00"`)
		}
	}
	for _, day := range s.Days {
		if !slices.Contains(Weekdays(), day) {
			return Errorf(Invalid, "%q is no day of the week", day).WithHint(`write "mon", "tue", "wed", "thu", "fri", "sat" or "sun"`)
		}
	}
	if _, err := time.LoadLocation(s.Zone); err != nil {
		return Errorf(NotFound, "%q is no time zone that is known here", s.Zone).WithHint(`write it as "Europe/Berlin"; Debian's package tzdata has them`)
	}
	return nil
}

// Open reports whether the schedule holds at a time, and when that changes next; the zero Time for never. One that Check
// refuses never holds.
func (s Schedule) Open(now time.Time) (open bool, until time.Time) {
	zone, err := time.LoadLocation(s.Zone)
	from, badFrom := time.Parse(clockForm, s.From)
	to, badTo := time.Parse(clockForm, s.To)
	if err != nil || badFrom != nil || badTo != nil {
		return false, time.Time{}
	}
	local := now.In(zone)
	at := func(day int, clock time.Time) time.Time {
		return time.Date(local.Year(), local.Month(), local.Day()+day, clock.Hour(), clock.Minute(), 0, 0, zone)
	}
	for day := -1; day <= len(Weekdays()); day++ {
		begin, end := at(day, from), at(day, to)
		if !to.After(from) {
			end = at(day+1, to)
		}
		if len(s.Days) > 0 && !slices.Contains(s.Days, Weekdays()[int(begin.Weekday())]) || !end.After(now) {
			continue
		}
		if begin.After(now) {
			return false, begin
		}
		return true, end
	}
	return false, time.Time{}
}
