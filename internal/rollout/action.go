package rollout

import (
	"time"

	"imx"
)

// Decision is what to do now, in this order. Where an action fails, those after it must not be
// done; the next decision takes the failure into account.
type Decision struct {
	Actions []Action
	// Wake is how long from now to ask again although nothing seems to have changed; 0 means never.
	Wake time.Duration
}

// Action is one thing to do.
//
//sumtype:decl
type Action interface{ action() }

// The actions.
type (
	// Scale sees to it that a release has so many instances, not counting those that are stopping.
	Scale struct{ Release, Replicas int }
	// Stop ends one instance that does no good any more.
	Stop struct{ Instance, Reason string }
	// Route sends the service's new connections to these releases, and those to its preview port to another; nil and 0
	// refuse them.
	Route struct {
		Weights imx.Weights
		Preview int
	}
	// Keep keeps a release for the way back: so many of its healthy instances frozen, and its root mounted.
	Keep struct {
		Release, Replicas int
	}
	// Advance says that the rollout came to a step; its traffic is moved by the next decision.
	Advance struct {
		Release, Step, Share int
		Reason               string
	}
	// Wait says why the rollout doesn't go on; with no reason that it does again.
	Wait struct {
		Release int
		Reason  string
	}
	// Revert goes back from a release that had been good.
	Revert struct {
		From, To int
		Reason   string
	}
	// Report says that the way back became ready or was lost.
	Report struct{ Way imx.WayBack }
	// Finish makes the release the current one, and good.
	Finish struct{ Release int }
	// Fail gives the release up.
	Fail struct {
		Release int
		Reason  string
	}
)

func (Scale) action()   {}
func (Stop) action()    {}
func (Route) action()   {}
func (Keep) action()    {}
func (Advance) action() {}
func (Wait) action()    {}
func (Revert) action()  {}
func (Report) action()  {}
func (Finish) action()  {}
func (Fail) action()    {}
