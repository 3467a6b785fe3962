// Package state folds events into the state of the platform: who looks at the log learns from
// here, and only from here, what each event means.
//
// A State that Clone returned is a snapshot: folding on leaves it as it is, because Fold replaces
// what is inside the State's maps and never changes it in place.
package state

import (
	"maps"
	"slices"

	"imx"
)

// A State keeps the newest ended instances of each service: Kept, and Generations more for each
// instance that is wanted of it.
const (
	Kept        = 20
	Generations = 7 // as many as rollout's longest back-off takes
)

// New returns the state before the first event.
func New() *imx.State {
	return &imx.State{
		Services:  map[string]imx.Service{},
		Instances: map[string]imx.Instance{},
		Images:    map[imx.Digest]imx.Image{},
		Evidence:  map[imx.Digest]map[string]imx.Evidence{},
		Feeds:     map[string]imx.Feed{},
		Suites:    []imx.LockedSuite{},
	}
}

// Clone returns a copy that no later Fold of s changes, nor the other way round. It copies the
// maps but shares what is in them: it costs as much as there are services and instances, and
// readers must change nothing below the first level.
func Clone(s *imx.State) *imx.State {
	c := *s
	c.Services = maps.Clone(s.Services)
	c.Instances = maps.Clone(s.Instances)
	c.Images = maps.Clone(s.Images)
	c.Evidence = maps.Clone(s.Evidence)
	c.Keys, c.People = maps.Clone(s.Keys), maps.Clone(s.People)
	c.PolicyChanges = maps.Clone(s.PolicyChanges)
	c.Policies, c.Exceptions = maps.Clone(s.Policies), maps.Clone(s.Exceptions)
	c.Candidates, c.Sources, c.Verdicts = maps.Clone(s.Candidates), maps.Clone(s.Sources), maps.Clone(s.Verdicts)
	c.Feeds, c.Upstreams = maps.Clone(s.Feeds), maps.Clone(s.Upstreams)
	c.Ingresses = maps.Clone(s.Ingresses)
	c.Codenames = maps.Clone(s.Codenames)
	c.Suites = slices.Clone(s.Suites)
	return &c
}

// Fold adds an event to the state. An event that doesn't fit the state is an error of kind
// Internal that names the event, and leaves the state as it was.
func Fold(s *imx.State, e imx.Event) error {
	if e.Body == nil {
		return imx.Errorf(imx.Internal, "event %d has no body", e.Index)
	}
	if e.Index != s.Next {
		return misfit(e, "event %d should come next", s.Next)
	}
	if err := fold(s, e); err != nil {
		return err
	}
	s.Next, s.Time = e.Index+1, e.Time
	return nil
}

// misfit says why an event can't be folded.
func misfit(e imx.Event, format string, args ...any) error {
	why := imx.Errorf(imx.Internal, format, args...)
	return imx.Errorf(imx.Internal, "event %d (%s) doesn't fit the state: %w", e.Index, e.Kind(), why).
		WithHint("imx log verify tells whether the log is as it was written")
}

func fold(s *imx.State, e imx.Event) error {
	switch b := e.Body.(type) {
	case imx.ServerStarted, imx.ManifestPushed, imx.Collected, imx.TestsSkipped, imx.RegistryRepaired, imx.ServicesReturned:
		return nil // they matter to people who read the log, not to the state
	case imx.SuiteSeen:
		suiteSeen(s, b.Suite)
		if b.Codename != "" {
			put(&s.Codenames, b.Suite.Archive+" "+b.Suite.Suite, b.Codename)
		}
		return nil
	case imx.ImageBuilt:
		put(&s.Images, b.Image.Plan, b.Image)
		return nil
	case imx.EvidenceAdded:
		ofImage := maps.Clone(s.Evidence[b.Evidence.Image])
		b.Evidence.Made = e.Time // whether its key counted then is judged by it
		put(&ofImage, b.Evidence.PredicateType, b.Evidence)
		put(&s.Evidence, b.Evidence.Image, ofImage)
		return nil
	case imx.FeedKept:
		put(&s.Feeds, b.Feed.Name, b.Feed)
		return nil
	case imx.FeedRemoved:
		delete(s.Feeds, b.Name)
		return nil
	case imx.ApplyStarted, imx.Applied, imx.ApplyFailed:
		return foldApply(s, e)
	case imx.IngressRemoved:
		if _, ok := s.Ingresses[b.Ingress]; !ok {
			return misfit(e, "there is no ingress %q", b.Ingress)
		}
		delete(s.Ingresses, b.Ingress)
		return nil
	case imx.InstanceStarted, imx.InstanceChanged, imx.InstanceEnded, imx.InstanceTainted, imx.TaintEnded:
		return foldInstance(s, e)
	case imx.NetworkMended:
		s.Mended = &b.Mend
		return nil
	case imx.RolloutFinished, imx.RolloutFailed, imx.RolledBack,
		imx.TrafficMoved, imx.Scaled, imx.SizeFreed, imx.Destroyed, imx.Removed:
		return foldService(s, e)
	case imx.RolloutStepped, imx.RolloutWaits, imx.RolloutPaused, imx.RolloutPromoted,
		imx.TurnedBad, imx.HoldEnded, imx.WayBackChanged:
		return foldService(s, e)
	case imx.KeyAdded, imx.KeyEnded, imx.PersonSet, imx.PersonRemoved,
		imx.PolicySet, imx.EnvironmentSet, imx.ExceptionMade, imx.ExceptionEnded, imx.VerdictGiven:
		return foldTrust(s, e)
	case imx.CandidateMade, imx.Reviewed, imx.CandidateEnded, imx.SourceAdded, imx.SourceRemoved, imx.CommitSeen:
		return foldCandidate(s, e)
	case imx.TokenMade, imx.TokenRevoked, imx.QuotaSet, imx.MirrorSet, imx.MirrorRemoved:
		return foldRegistry(s, e)
	case imx.UpstreamSet, imx.UpstreamRemoved:
		return foldUpstream(s, e)
	default:
		return misfit(e, "this version of imx doesn't know what it means")
	}
}

func foldInstance(s *imx.State, e imx.Event) error {
	switch b := e.Body.(type) {
	case imx.InstanceStarted:
		return instance(s, e, b.Instance)
	case imx.InstanceChanged:
		return instance(s, e, b.Instance)
	case imx.InstanceEnded:
		return ended(s, e, b.Instance)
	case imx.InstanceTainted:
		return taint(s, e, b.Instance, &imx.Taint{By: e.By, Reason: b.Reason, Since: e.Time})
	case imx.TaintEnded:
		return taint(s, e, b.Instance, nil)
	default:
		return misfit(e, "it is none of an instance")
	}
}

// put sets a key of a map that may not exist yet: a State read from JSON can have nil maps.
func put[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] = value
}

func suiteSeen(s *imx.State, seen imx.LockedSuite) {
	same := func(o imx.LockedSuite) bool { return o.Archive == seen.Archive && o.Suite == seen.Suite }
	suites := slices.Clone(s.Suites)
	switch i := slices.IndexFunc(suites, same); {
	case i < 0:
		suites = append(suites, seen)
	case !seen.Date.Before(suites[i].Date): // two may be seen at once, and be told in the wrong order
		suites[i] = seen
	}
	s.Suites = suites
}
