package imx

import (
	"encoding/json"
	"strings"
	"time"
)

// Principal is who acts: a Person by name, "imx" for the server itself, "account:root" for an account that is nobody's whom imx
// knows. A person's name has no colon, so that nobody becomes somebody else by the name of an account. Logs of old have an account's
// bare name.
type Principal string

// accountMark begins the Principal of an account.
const accountMark = "account:"

// AccountPrincipal is the Principal of a local account that is nobody's whom imx knows.
func AccountPrincipal(account string) Principal { return Principal(accountMark + account) }

// Account returns the name of the account that acts, "" where it isn't one that acts.
func (p Principal) Account() string {
	name, found := strings.CutPrefix(string(p), accountMark)
	if !found {
		return ""
	}
	return name
}

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
	// kind names it in JSON.
	kind() string
}

// Kind returns the name of what happened: "image-built" for an ImageBuilt.
func (e Event) Kind() string { return e.Body.kind() }

// What happens to the server and the registry.
type (
	// ServerStarted begins every run of a server.
	ServerStarted struct {
		Version string `json:"version"`
		Cut     int64  `json:"cut,omitempty"` // bytes of a half-written record that a crash left and recovery cut off
	}
	// ManifestPushed says that an image came into the registry from outside or from a build.
	ManifestPushed struct {
		Repository string `json:"repository"`
		Tag        string `json:"tag,omitempty"`
		Digest     Digest `json:"digest"`
		// Subject is the manifest that this one only says something about; such a one is no image.
		Subject Digest `json:"subject,omitempty"`
	}
	// Collected says that what nothing needed any more was removed from the server's stores.
	Collected struct {
		Collection
	}
)

func (ServerStarted) kind() string  { return "server-started" }
func (ManifestPushed) kind() string { return "manifest-pushed" }
func (Collected) kind() string      { return "collected" }

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
	return json.Marshal(eventJSON{e.Index, e.Time, e.By, e.Body.kind(), body})
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
		decode[ServerStarted], decode[Collected], decode[SuiteSeen], decode[ApplyStarted], decode[ImageBuilt], decode[Applied],
		decode[ApplyFailed], decode[RolloutFinished], decode[RolloutFailed], decode[RolledBack], decode[TrafficMoved],
		decode[Scaled], decode[Destroyed], decode[Removed], decode[InstanceStarted], decode[InstanceChanged],
		decode[RolloutStepped], decode[RolloutWaits], decode[RolloutPaused], decode[RolloutPromoted],
		decode[TurnedBad], decode[HoldEnded], decode[WayBackChanged], decode[SizeFreed], decode[InstanceTainted], decode[TaintEnded], decode[NetworkMended], decode[ServicesReturned],
		decode[InstanceEnded], decode[ManifestPushed], decode[EvidenceAdded], decode[TestsSkipped],
		decode[KeyAdded], decode[KeyEnded], decode[PersonSet], decode[PersonRemoved],
		decode[PolicySet], decode[EnvironmentSet], decode[ExceptionMade], decode[ExceptionEnded], decode[VerdictGiven],
		decode[CandidateMade], decode[Reviewed], decode[CandidateEnded], decode[SourceAdded], decode[SourceRemoved], decode[CommitSeen],
		decode[FeedKept], decode[FeedRemoved], decode[UpstreamSet], decode[UpstreamRemoved],
		decode[IngressRemoved], decode[TokenMade], decode[TokenRevoked], decode[QuotaSet], decode[MirrorSet], decode[MirrorRemoved], decode[RegistryRepaired],
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
	if v.kind() != kind {
		return nil, nil
	}
	err := json.Unmarshal(raw, &v)
	return v, err
}
