package imx

import (
	"encoding/json"
	"time"
)

// Principal is who acts: "root" for a person by user name, "imx" for the server itself.
type Principal string

// Server is imx acting by itself.
const Server Principal = "imx"

// Event is one thing that happened. Events are only ever appended to the log; State is their fold.
// In JSON the body's kind stands beside it: {"index":7,"kind":"image-built","body":{...}}.
type Event struct {
	Index int64     `json:"index"` // position on the log, from 0
	Time  time.Time `json:"time"`  // UTC
	By    Principal `json:"by"`
	Body  Body      `json:"body"`
}

// Body is what happened: exactly one of the types below, each with a kind of its own. A kind's
// meaning never changes; a new meaning is a new kind.
type Body interface {
	EventKind() string
}

// The bodies of events.
type (
	// ServerStarted begins every run of a server.
	ServerStarted struct {
		Version string `json:"version"`
		Cut     int64  `json:"cut,omitempty"` // bytes of a half-written record that a crash left and recovery cut off
	}
	// SuiteSeen records the newest index of a suite that was verified; older ones are refused from then on.
	SuiteSeen struct {
		Suite LockedSuite `json:"suite"`
	}
	// ApplyStarted begins an apply. Only one is open at a time.
	ApplyStarted struct {
		Apply  string `json:"apply"`
		Plan   Digest `json:"plan"`
		Source Source `json:"source"`
	}
	// ImageBuilt says that a build made an image, or found it already made by another.
	ImageBuilt struct {
		Image Image `json:"image"`
	}
	// Applied ends an apply: all its releases come into being in this one event, or none does.
	Applied struct {
		Apply    string         `json:"apply"`
		Releases []Release      `json:"releases,omitempty"` // of services where something but Replicas changed
		Replicas map[string]int `json:"replicas,omitempty"` // of services whose number changed
	}
	// ApplyFailed ends an apply that made no release.
	ApplyFailed struct {
		Apply string `json:"apply"`
		Error *Error `json:"error"`
	}
	// RolloutFinished says that the service's target has all the traffic and became current.
	RolloutFinished struct {
		Service string `json:"service"`
		Release int    `json:"release"`
	}
	// RolloutFailed gives a rollout up: the target goes back to the current release.
	RolloutFailed struct {
		Service string `json:"service"`
		Release int    `json:"release"`
		Reason  string `json:"reason"`
	}
	// RolledBack makes an earlier good release the target again.
	RolledBack struct {
		Service string `json:"service"`
		From    int    `json:"from"`
		To      int    `json:"to"`
		Reason  string `json:"reason,omitempty"`
	}
	// TrafficMoved says that the engine's routes of a service changed.
	TrafficMoved struct {
		Service string  `json:"service"`
		Weights Weights `json:"weights,omitempty"`
	}
	// Scaled changes how many instances a service has.
	Scaled struct {
		Service  string `json:"service"`
		Replicas int    `json:"replicas"`
	}
	// Destroyed takes a service down.
	Destroyed struct {
		Service string `json:"service"`
		Volumes bool   `json:"volumes,omitempty"` // its volumes too
	}
	// Removed says that nothing is left of a destroyed service but its kept volumes and its name.
	Removed struct {
		Service string `json:"service"`
	}
	// InstanceStarted, InstanceChanged and InstanceEnded say what was seen of an instance;
	// each holds it whole as it was then.
	InstanceStarted struct {
		Instance Instance `json:"instance"`
	}
	// InstanceChanged is a change of phase, or of what an instance without one suffers from.
	InstanceChanged struct {
		Instance Instance `json:"instance"`
	}
	// InstanceEnded is the end of an instance.
	InstanceEnded struct {
		Instance Instance `json:"instance"`
	}
	// ManifestPushed says that an image came into the registry from outside or from a build.
	ManifestPushed struct {
		Repository string `json:"repository"`
		Tag        string `json:"tag,omitempty"`
		Digest     Digest `json:"digest"`
	}
)

// EventKind names each body's kind.
func (ServerStarted) EventKind() string   { return "server-started" }
func (SuiteSeen) EventKind() string       { return "suite-seen" }
func (ApplyStarted) EventKind() string    { return "apply-started" }
func (ImageBuilt) EventKind() string      { return "image-built" }
func (Applied) EventKind() string         { return "applied" }
func (ApplyFailed) EventKind() string     { return "apply-failed" }
func (RolloutFinished) EventKind() string { return "rollout-finished" }
func (RolloutFailed) EventKind() string   { return "rollout-failed" }
func (RolledBack) EventKind() string      { return "rolled-back" }
func (TrafficMoved) EventKind() string    { return "traffic-moved" }
func (Scaled) EventKind() string          { return "scaled" }
func (Destroyed) EventKind() string       { return "destroyed" }
func (Removed) EventKind() string         { return "removed" }
func (InstanceStarted) EventKind() string { return "instance-started" }
func (InstanceChanged) EventKind() string { return "instance-changed" }
func (InstanceEnded) EventKind() string   { return "instance-ended" }
func (ManifestPushed) EventKind() string  { return "manifest-pushed" }

type eventJSON struct {
	Index int64           `json:"index"`
	Time  time.Time       `json:"time"`
	By    Principal       `json:"by"`
	Kind  string          `json:"kind"`
	Body  json.RawMessage `json:"body"`
}

// MarshalJSON writes the event with its body's kind.
func (e Event) MarshalJSON() ([]byte, error) {
	body, err := json.Marshal(e.Body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(eventJSON{e.Index, e.Time, e.By, e.Body.EventKind(), body})
}

// UnmarshalJSON reads an event. An unknown kind is an error of kind Invalid: the log was written
// by a newer imx, and folding it without understanding it would give a wrong state.
func (e *Event) UnmarshalJSON(b []byte) error {
	var raw eventJSON
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	body, err := decodeBody(raw.Kind, raw.Body)
	if err != nil {
		return err
	}
	*e = Event{Index: raw.Index, Time: raw.Time, By: raw.By, Body: body}
	return nil
}

func decodeBody(kind string, raw []byte) (Body, error) {
	for _, known := range []decoder{
		decode[ServerStarted], decode[SuiteSeen], decode[ApplyStarted], decode[ImageBuilt], decode[Applied],
		decode[ApplyFailed], decode[RolloutFinished], decode[RolloutFailed], decode[RolledBack], decode[TrafficMoved],
		decode[Scaled], decode[Destroyed], decode[Removed], decode[InstanceStarted], decode[InstanceChanged],
		decode[InstanceEnded], decode[ManifestPushed],
	} {
		if body, err := known(kind, raw); body != nil || err != nil {
			return body, err
		}
	}
	return nil, Errorf(Invalid, "event kind %q isn't known to this version of imx", kind).
		WithHint("run the version that wrote the log, or a newer one")
}

// decoder returns nil, nil for a kind that isn't its own.
type decoder func(kind string, raw []byte) (Body, error)

func decode[T Body](kind string, raw []byte) (Body, error) {
	var v T
	if v.EventKind() != kind {
		return nil, nil
	}
	err := json.Unmarshal(raw, &v)
	return v, err
}
