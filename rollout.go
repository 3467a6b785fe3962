package imx

import "time"

// Rollout is how far the replacement of a service's current release by its target has come. It is on the log, so that a
// server that starts anew goes on there.
type Rollout struct {
	Step    int       `json:"step"`              // index into Steps(); len(Steps()) is all of the traffic
	Since   time.Time `json:"since,omitzero"`    // when it came to the step
	Reason  string    `json:"reason,omitempty"`  // why it came to it
	Waits   string    `json:"waits,omitempty"`   // why it doesn't go on: "too little traffic to judge: 12 of 100 requests"
	Paused  Principal `json:"paused,omitempty"`  // who stopped it there; "" if nobody did
	Confirm bool      `json:"confirm,omitempty"` // a person promoted it past the step
	Whole   bool      `json:"whole,omitempty"`   // a person promoted it past all steps
}

// Hold keeps a service at a release: neither reconciling nor a new image nor a followed repository moves it on, until it ends.
type Hold struct {
	By     Principal `json:"by"`     // Server, if imx rolled back by itself
	Reason string    `json:"reason"` //
	From   int       `json:"from"`   // the release that was gone back from
	Since  time.Time `json:"since"`
}

// WayBack is how it stands with the release that a rollback would go to.
type WayBack struct {
	Release int       `json:"release"`
	Warm    Warmth    `json:"warm,omitempty"`
	Ready   bool      `json:"ready"`
	Proved  time.Time `json:"proved,omitzero"` // when an instance of it was last started and healthy
	Why     string    `json:"why,omitempty"`   // it isn't ready
}

// What happens to rollouts.
type (
	// RolloutStepped says that a rollout came to a step, and why.
	RolloutStepped struct {
		Service string `json:"service"`
		Release int    `json:"release"`
		Step    int    `json:"step"`
		Share   int    `json:"share"` // of the traffic, in percent
		Reason  string `json:"reason"`
	}
	// RolloutWaits says why a rollout doesn't go on, or with no reason that it does again.
	RolloutWaits struct {
		Service string `json:"service"`
		Release int    `json:"release"`
		Reason  string `json:"reason,omitempty"`
	}
	// RolloutPaused is a person's stop at a step.
	RolloutPaused struct {
		Service string `json:"service"`
		Release int    `json:"release"`
		Reason  string `json:"reason,omitempty"`
	}
	// RolloutPromoted is a person's going on, past the step or past all.
	RolloutPromoted struct {
		Service string `json:"service"`
		Release int    `json:"release"`
		Step    int    `json:"step"`
		Whole   bool   `json:"whole,omitempty"`
		Reason  string `json:"reason,omitempty"`
	}
	// TurnedBad says that imx went back by itself from a release that had been good, and why. The service is held.
	TurnedBad struct {
		Service string `json:"service"`
		From    int    `json:"from"`
		To      int    `json:"to"`
		Reason  string `json:"reason"`
	}
	// HoldEnded lets a service go on.
	HoldEnded struct {
		Service string `json:"service"`
		Reason  string `json:"reason,omitempty"`
	}
	// WayBackChanged says that the way back became ready, or was lost.
	WayBackChanged struct {
		Service string  `json:"service"`
		Way     WayBack `json:"way"`
	}
)

func (RolloutStepped) kind() string  { return "rollout-stepped" }
func (RolloutWaits) kind() string    { return "rollout-waits" }
func (RolloutPaused) kind() string   { return "rollout-paused" }
func (RolloutPromoted) kind() string { return "rollout-promoted" }
func (TurnedBad) kind() string       { return "turned-bad" }
func (HoldEnded) kind() string       { return "hold-ended" }
func (WayBackChanged) kind() string  { return "way-back-changed" }

// PromoteRequest asks for a rollout to go on past its step, or with Whole past all of them.
type PromoteRequest struct {
	Whole  bool   `json:"whole,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// ReasonRequest asks for what needs a reason and nothing else: a rollout's pause or end, a hold's end.
type ReasonRequest struct {
	Reason string `json:"reason"`
}
