package imx

import (
	"net/netip"
	"time"
)

// Instance is one running copy of a release. Its id is "<service>-<release>-<random>".
type Instance struct {
	ID      string     `json:"id"`
	Service string     `json:"service"`
	Release int        `json:"release"`
	Image   Digest     `json:"image"`
	Address netip.Addr `json:"address,omitzero"`
	Pid     int        `json:"pid,omitempty"` // of its first process, on the engine's machine; 0 if unknown
	Phase   Phase      `json:"phase"`
	Reason  string     `json:"reason,omitempty"` // why it isn't healthy, or why it ended
	Started time.Time  `json:"started"`
	Ready   time.Time  `json:"ready,omitzero"`   // when it was first healthy
	Changed time.Time  `json:"changed,omitzero"` // when Phase last changed; zero if unknown
	Ended   time.Time  `json:"ended,omitzero"`
	Exit    *Exit      `json:"exit,omitempty"` // set once it has ended
	// Flows is the number of established connections that the engine sees to it, -1 if it can't tell.
	Flows int `json:"flows,omitempty"`
	// Usage is what it uses now, where somebody asked for that; it isn't on the log.
	Usage *Usage `json:"usage,omitempty"`
	// Taint is why it is to be replaced though it runs, nil if it isn't. Engines know nothing of it.
	Taint *Taint `json:"taint,omitempty"`
}

// Phase is where an instance is in its life; it only ever moves down this list, except between
// healthy and unhealthy, and from warm to starting.
type Phase string

// The phases of an instance.
const (
	Starting  Phase = "starting"  // runs, not yet healthy
	Healthy   Phase = "healthy"   // passes its check
	Unhealthy Phase = "unhealthy" // was healthy, fails its check
	Warm      Phase = "warm"      // was healthy, is frozen and kept for the way back
	Stopping  Phase = "stopping"  // was told to stop
	Ended     Phase = "ended"     // no process is left
)

// Exit is how an instance's first process ended.
type Exit struct {
	Code   int  `json:"code"`             // exit status; 128+signal if a signal ended it; -1 if unknown
	OOM    bool `json:"oom,omitempty"`    // the memory limit ended it
	Wanted bool `json:"wanted,omitempty"` // imx stopped it
}

// Seen is what an engine observes: every instance it has, and the routes that are in force.
type Seen struct {
	Instances []Instance         `json:"instances"`          // sorted by ID; ended ones too, while the engine keeps them
	Routes    map[string]Weights `json:"routes"`             // by service
	Previews  map[string]int     `json:"previews,omitempty"` // by service: the release that its preview port leads to
	Mode      []string           `json:"mode"`               // which mechanisms are active here, for `imx status`
	Kept      []Kept             `json:"kept,omitempty"`     // sorted by Service and Release
	Mended    []Mend             `json:"mended,omitempty"`   // the latest since the engine was opened, the oldest first
}

// Kept is a release whose root is mounted though it may have no instance.
type Kept struct {
	Service  string    `json:"service"`
	Release  int       `json:"release"`
	Verified time.Time `json:"verified,omitzero"` // when the root's bytes were last found to be those of its image
	Fault    string    `json:"fault,omitempty"`   // why it is no way back: "" if it is one
}

// What is seen of instances.
type (
	// InstanceStarted says that an instance began; it holds it whole, as the next two do.
	InstanceStarted struct {
		Instance Instance `json:"instance"`
	}
	// InstanceChanged is a change of phase. What else changes of an instance is told with the next.
	InstanceChanged struct {
		Instance Instance `json:"instance"`
	}
	// InstanceEnded is the end of an instance.
	InstanceEnded struct {
		Instance Instance `json:"instance"`
	}
)

func (InstanceStarted) kind() string { return "instance-started" }
func (InstanceChanged) kind() string { return "instance-changed" }
func (InstanceEnded) kind() string   { return "instance-ended" }
