package imx

import (
	"net/netip"
	"slices"
	"time"
)

// Release is the atomic unit that goes forward and comes back together: image, configuration,
// ports, connections and addresses of one service. It never changes once made.
type Release struct {
	Service string     `json:"service"`
	Number  int        `json:"number"` // counts from 1 per service
	Image   Image      `json:"image"`
	Config  ImageSpec  `json:"config"`          // the image's command, user and environment, as planned
	Spec    Spec       `json:"spec"`            // Replicas is the number at the time; scaling changes Service.Replicas
	Address netip.Addr `json:"address"`         // the service's stable address, the same for all its releases
	Hosts   []Host     `json:"hosts,omitempty"` // names that instances can use, of the services in Spec.Connect
	Plan    Digest     `json:"plan"`            // Plan.Digest
	Proof   Digest     `json:"proof,omitempty"` // Candidate.Proof, of the request that made it
	Source  Source     `json:"source"`
	// Candidate is the id of what it was made of, whose approvals are the release's; "" where nothing waited.
	Candidate string `json:"candidate,omitempty"`
	// Request is Candidate.Request: of all that was asked for, so that another environment can take the release over; "" for those that were made before it was kept.
	Request Digest `json:"request,omitempty"`
	// Origin is the environment that it was good in before; nil for what was applied here.
	Origin *Origin      `json:"origin,omitempty"`
	Apply  string       `json:"apply"` // id of the apply that made it
	By     Principal    `json:"by"`
	Made   time.Time    `json:"made"`
	State  ReleaseState `json:"state"`
	Reason string       `json:"reason,omitempty"` // why it failed; of a good one, that it was never tried
}

// Host is a name and the address that it stands for inside an instance.
type Host struct {
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"`
}

// ReleaseState is how far a release has come.
type ReleaseState string

// The states of a release.
const (
	ReleasePending ReleaseState = "pending" // made, not yet judged
	// ReleaseGood took over the traffic with as many healthy instances as were wanted, and may be
	// rolled back to. Where none was wanted nothing was tried, which Reason then says.
	ReleaseGood   ReleaseState = "good"
	ReleaseFailed ReleaseState = "failed" // never got healthy; never gets traffic
	// ReleaseSuperseded is the end of a release whose place another took before it was judged.
	ReleaseSuperseded ReleaseState = "superseded"
)

// Service is a declared service as it stands now.
type Service struct {
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"`
	// Replicas is how many instances are wanted of Target.
	Replicas int `json:"replicas"`
	// CurrentReplicas is how many are wanted of Current while Target is rolled out beside it; they are
	// wanted again if that fails. Equal to Replicas when nothing is rolled out.
	CurrentReplicas int       `json:"currentReplicas,omitempty"`
	Current         int       `json:"current"` // the release with the traffic, last known good; 0 before the first
	Target          int       `json:"target"`  // the release being rolled out; equal to Current when nothing is
	Since           time.Time `json:"since"`   // when Target last changed
	// Rollout is how far Target has come in taking Current's place; zero when nothing is rolled out.
	Rollout Rollout `json:"rollout,omitzero"`
	// Finished is when Current took over the traffic: the window in which it may turn bad counts from then.
	Finished time.Time `json:"finished,omitzero"`
	Hold     *Hold     `json:"hold,omitempty"`  // the service stays where it is, if there is one
	Sizing   Sizing    `json:"sizing,omitzero"` // of a service that has a scale block
	WayBack  WayBack   `json:"wayBack,omitzero"`
	Routes   Weights   `json:"routes,omitempty"` // the traffic's shares, as last moved
	Moved    time.Time `json:"moved,omitzero"`   // when Routes last changed; draining counts from then
	// Stopped says that the policy stopped it, and nobody has scaled it, released or rolled it back since.
	Stopped *Stopped `json:"stopped,omitempty"`
	// Releases in order of Number, the first being the oldest that is kept.
	Releases  []Release `json:"releases"`
	Destroyed bool      `json:"destroyed,omitempty"` // keeps its address and release numbers for a namesake
	// VolumesToo says that a destroyed service's volumes go with it.
	VolumesToo bool `json:"volumesToo,omitempty"`
	Removed    bool `json:"removed,omitempty"` // nothing of the destroyed service is left on the engine
}

// Stopped is what a service was before the policy stopped it.
type Stopped struct {
	Release  int       `json:"release"`
	Replicas int       `json:"replicas"` // that it had
	Reason   string    `json:"reason"`
	Time     time.Time `json:"time"`
}

// Release returns the release with the number, or false.
func (s Service) Release(number int) (Release, bool) {
	for _, r := range s.Releases {
		if r.Number == number {
			return r, true
		}
	}
	return Release{}, false
}

// Previous returns the newest good release before Current, which `imx rollback` goes to, or false.
func (s Service) Previous() (Release, bool) {
	for _, r := range slices.Backward(s.Releases) {
		if r.Number < s.Current && r.State == ReleaseGood {
			return r, true
		}
	}
	return Release{}, false
}

// Weights are the shares of a service's new connections per release number. Only releases with
// a share above 0 are in it; nil means no traffic at all.
type Weights map[int]int

// Hosts are the names that a service's instances can use, sorted: its own, and those that it connects to, as far as they have an address.
func (s Spec) Hosts(addresses map[string]netip.Addr) []Host {
	names := []string{s.Name}
	for _, p := range s.Connect {
		names = append(names, p.Service)
	}
	slices.Sort(names)
	var list []Host
	for _, name := range slices.Compact(names) {
		if a, ok := addresses[name]; ok {
			list = append(list, Host{Name: name, Address: a})
		}
	}
	return list
}
