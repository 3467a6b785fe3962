package imx

import (
	"slices"
	"time"
)

// Deploy is how a service's new release takes the place of the one that runs: a deploy block of a template.
type Deploy struct {
	Strategy Strategy `json:"strategy"`
	// Surge is how many instances more than wanted there may be while a rolling replacement is under way, and
	// Unavailable how many fewer healthy ones. Not both are 0.
	Surge       Amount `json:"surge,omitzero"`
	Unavailable Amount `json:"unavailable,omitzero"`
	// Preview is the port on the machine's own addresses that leads to the new release of a blue-green replacement
	// before it has the traffic; 0 means none. Which of the service's ports it leads to is the first with Publish.
	Preview int `json:"preview,omitempty"`
	// Steps are the shares of the traffic that a new release gets one after the other, rising. What follows the last
	// is all of it. Rolling has none: its shares are those of healthy instances.
	Steps []Step `json:"steps,omitempty"`
	// Window is how long after its success a release that turns bad is rolled back by itself, once; 0 means never.
	Window Duration `json:"window,omitempty"`
	Warm   Warmth   `json:"warm,omitempty"` // how the last good release is kept; "" means WarmStopped
	// Group names services that go forward and come back together; "" means alone.
	Group string   `json:"group,omitempty"`
	Judge *Measure `json:"judge,omitempty"` // nil judges by health alone
	At    Pos      `json:"at,omitzero"`
}

// Strategy is a way to replace a release.
type Strategy string

// The strategies. With each of them the way back is open until the new release has all of the traffic: but for
// Rolling, the old one has kept as many instances as it had.
const (
	// BlueGreen brings the whole new release up beside the old one, can show it on the preview port, and moves all the
	// traffic at once. It is the default.
	BlueGreen Strategy = "blue-green"
	// Rolling replaces some instances after the other, within Surge and Unavailable; each healthy one gets its share.
	Rolling Strategy = "rolling"
	// Canary gives the new release a share of the traffic in steps, and looks at each how it does.
	Canary Strategy = "canary"
)

// Amount is a number of instances: absolute, or of those that are wanted.
type Amount struct {
	Count   int `json:"count,omitempty"`
	Percent int `json:"percent,omitempty"` // in place of Count
}

// Up is the amount of n, rounded up. A surge is rounded so.
func (a Amount) Up(n int) int { return a.Count + (a.Percent*n+99)/100 }

// Down is the amount of n, rounded down. What may be missing is rounded so.
func (a Amount) Down(n int) int { return a.Count + a.Percent*n/100 }

// Step is a share of the traffic, and what has to come after it has it before the next.
type Step struct {
	Share int `json:"share"` // percent of new connections; 0 is none, for a look at the preview port
	// Pause is how long it has that share at least, while it is judged.
	Pause Duration `json:"pause,omitempty"`
	// Confirm waits for a person's `imx rollout promote`.
	Confirm bool `json:"confirm,omitempty"`
	At      Pos  `json:"at,omitzero"`
}

// Warmth is how the last good release is kept for the way back.
type Warmth string

// The ways. Nothing is built or fetched in any of them.
const (
	// WarmFrozen keeps its instances, frozen: they take memory and no CPU. One that holds a volume can't be kept so, and is
	// kept as WarmStopped.
	WarmFrozen Warmth = "frozen"
	// WarmStopped keeps its root mounted, and verified.
	WarmStopped Warmth = "stopped"
)

// Measure says which of a service's own metrics tell how a release does, in Prometheus' text format, and from when on
// the new one does worse than the old one.
//
// The rule: over the time of a step, for each release the increase of Requests and of Errors over all its instances.
// Below AtLeast requests to the new release there is no judgement. It does worse if the lower bound of the Wilson
// interval (z = 2.58) of its share of errors is above the old one's share and above Slack. It is too slow if the mean of Seconds
// is above SlowBy times the old one's.
type Measure struct {
	Port     string  `json:"port"`
	Path     string  `json:"path"`
	Requests string  `json:"requests"`          // a counter: `http_requests_total`, `http_requests_total{handler="/"}`
	Errors   string  `json:"errors"`            // a counter of those that failed: `http_requests_total{code=~"5.."}`
	Seconds  string  `json:"seconds,omitempty"` // a histogram or summary, without _sum and _count; "" judges no duration
	AtLeast  int     `json:"atLeast"`
	Slack    float64 `json:"slack"`  // share of errors that is never held against it, 0 to 1
	SlowBy   float64 `json:"slowBy"` // 0 judges no duration
	At       Pos     `json:"at,omitzero"`
}

// DefaultDeploy is how a service is replaced that says nothing of it.
func DefaultDeploy() Deploy {
	return Deploy{Strategy: BlueGreen, Window: Duration(10 * time.Minute), Warm: WarmStopped}
}

// How is the service's Deploy, or the default one.
func (s Spec) How() Deploy {
	if s.Deploy == nil {
		return DefaultDeploy()
	}
	d := *s.Deploy
	d.Steps = slices.Clone(d.Steps)
	return d
}
