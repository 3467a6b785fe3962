// Package rollout decides how a service gets from the instances that it has to those that it
// should have: what to start, when traffic may move, what to stop and when to give up.
//
// It only decides. Next is called again and again with what is wanted and what is seen, and
// answers with the few actions that are right at this moment; it remembers nothing, so that a
// server that starts anew goes on exactly where the last one stopped. It doesn't run instances,
// check their health or place them on machines.
package rollout

import (
	"time"

	"imx"
)

// Wanted is what a service should come to. It is made of an imx.Service and its releases.
type Wanted struct {
	Service string
	Target  imx.Release // the release to roll out; equal to Current where nothing is rolled out
	Current imx.Release // the last one known good; Number is 0 before the first
	// Extra are further releases whose instances may still be draining. One that isn't here drains
	// as long as Target says.
	Extra    []imx.Release
	Replicas int // of Target; of a release that holds a volume at most one instance is started all the same
	// CurrentReplicas are those of Current while Target is another: a rollout that fails must not
	// have changed them.
	CurrentReplicas int
	Since           time.Time // when Target last changed: its deadline counts from here
	Moved           time.Time // when the traffic last moved: draining counts from here
	Destroyed       bool

	Rollout  imx.Rollout // how far Target has come
	Finished time.Time   // when Current took over
	// Back is the release that a rollback would go to; Number is 0 if there is none. Way is what the log says of it.
	Back imx.Release
	Way  imx.WayBack
	Held bool // nothing is gone back from by itself a second time
	// Prove is how often the way back is proved; 0 means ProveEvery.
	Prove time.Duration
	// Peers are the other services of Target's group while they are being replaced with it.
	Peers []Peer
}

// Peer is another service of a group.
type Peer struct {
	Service string
	Ready   bool   // its target has all its healthy instances, or has taken over already
	Failed  string // why its target failed, or was turned back from; "" if it didn't
}

// Seen is what there is of the service.
type Seen struct {
	Instances []imx.Instance // those that haven't ended, in any order
	// Ended are the latest instances that ended, of any release, as many as are known. The longest
	// back-off takes seven generations of them to reach.
	Ended  []imx.Instance
	Routes imx.Weights // in force
	// Preview is the release that the preview port leads to; 0 for none.
	Preview int
	// Trouble is what the engine last said when it couldn't do what was decided, "" if it could.
	// It becomes part of the reason where a release never got an instance or its traffic.
	Trouble string
	// Counted are what the releases' own metrics and imx's probes told since Rollout.Since, by release; of a service that
	// has finished, since Finished, and of Back what it came to before. A release that nothing is known of isn't in it.
	Counted map[int]imx.Counted
	// Kept are the releases of the service whose roots are mounted and verified, or why not.
	Kept []imx.Kept
	// Proved is when an instance of Back, started for no other reason, was last healthy (see Proves), and Tried when one was
	// last asked for; zero if never.
	Proved, Tried time.Time
}

// Whole is the share of a release that gets all the traffic.
const Whole = 100

// The numbers by which instances are judged.
const (
	// Tries is how many instances of a target may end by themselves before it has failed.
	Tries = 3
	// Patience is how many checks an unhealthy instance gets to recover before it is replaced. It
	// already failed Health.Failures of them when it became unhealthy.
	Patience = 3
	// Settle is how long after traffic moved a release without connections is still kept: those
	// that were being opened at that moment aren't counted in Flows yet.
	Settle = time.Second
	// Look is how often connections of a draining release are looked at, because nothing tells
	// when they end.
	Look = time.Second
	// FirstBackOff and LastBackOff bound the wait between the end of an instance by itself and the
	// start of the next; it doubles with every generation.
	FirstBackOff = time.Second
	LastBackOff  = time.Minute
	// JudgeEvery is how often a release is judged anew while metrics or probes tell of it.
	JudgeEvery = 5 * time.Second
	// ProveEvery is how often the way back is proved by the start of an instance, where nobody says otherwise.
	ProveEvery = 5 * time.Minute
	// DefaultDeadline holds for a release that has none.
	DefaultDeadline = 5 * time.Minute
)

// Next decides what to do for a service now.
func Next(w Wanted, s Seen, now time.Time) Decision {
	if w.Target.Number == 0 {
		w.Target = w.Current
	}
	d := &decider{want: w, seen: s, now: now}
	d.seen.Instances = d.untainted(s.Instances)
	d.by = tally(d.seen.Instances)
	switch {
	case w.Destroyed || w.Target.Number == 0:
		d.takeDown()
	case w.Target.Number != w.Current.Number:
		d.replace()
	default:
		d.keep()
	}
	return Decision{Actions: d.actions, Wake: d.wake}
}
