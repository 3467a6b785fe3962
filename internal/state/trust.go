package state

import (
	"maps"

	"imx"
)

// foldTrust folds what is known of keys, people and policies.
func foldTrust(s *imx.State, e imx.Event) error {
	switch b := e.Body.(type) {
	case imx.KeyAdded:
		return keyAdded(s, e, b.Key)
	case imx.KeyEnded:
		return keyEnded(s, e, b)
	case imx.PersonSet:
		p := b.Person
		if p.Since = e.Time; s.People[p.Name].Name != "" {
			p.Since = s.People[p.Name].Since
		}
		put(&s.People, p.Name, p)
	case imx.PersonRemoved:
		return personRemoved(s, e, b)
	case imx.PolicySet:
		policySet(s, e, b)
	case imx.EnvironmentSet:
		s.Environment = b.Environment
	case imx.ExceptionMade:
		exceptionMade(s, e, b.Exception)
	case imx.ExceptionEnded:
		x, ok := s.Exceptions[b.Exception]
		if !ok {
			return misfit(e, "there is no exception %q", b.Exception)
		}
		if e.Time.Before(x.Until) {
			x.Until = e.Time
		}
		put(&s.Exceptions, x.ID, x)
	case imx.VerdictGiven:
		verdictGiven(s, b)
	}
	return nil
}

func policySet(s *imx.State, e imx.Event, b imx.PolicySet) {
	put(&s.Policies, b.Policy.Environment, b.Policy)
	if b.Shipped {
		delete(s.Policies, b.Policy.Environment)
	}
	put(&s.PolicyChanges, b.Policy.Environment, imx.PolicyChange{By: e.By, Time: e.Time, Reason: b.Reason})
}

func keyAdded(s *imx.State, e imx.Event, k imx.Key) error {
	if _, ok := s.Keys[k.ID]; ok {
		return misfit(e, "the key %s is known already", k.ID)
	}
	if k.Role == "" {
		if _, ok := s.People[k.Owner]; !ok {
			return misfit(e, "there is no person %q", k.Owner)
		}
	}
	keys := maps.Clone(s.Keys)
	for id, old := range keys {
		if k.Own() && old.Own() && old.Role == k.Role && !over(old, e) {
			old.Until, old.Reason = e.Time, "another took its place"
			keys[id] = old
		}
	}
	k.From = e.Time
	put(&keys, k.ID, k)
	s.Keys = keys
	return nil
}

// exceptionMade forgets those that have ended by then: they excuse nothing any more, and the log has them.
func exceptionMade(s *imx.State, e imx.Event, x imx.Exception) {
	kept := maps.Clone(s.Exceptions)
	maps.DeleteFunc(kept, func(_ string, old imx.Exception) bool { return !e.Time.Before(old.Until) })
	put(&kept, x.ID, x)
	s.Exceptions = kept
}

// over reports whether a key has ended by the time of an event.
func over(k imx.Key, e imx.Event) bool { return !k.Until.IsZero() && !k.Until.After(e.Time) }

func keyEnded(s *imx.State, e imx.Event, b imx.KeyEnded) error {
	k, ok := s.Keys[b.Key]
	if !ok {
		return misfit(e, "there is no key %q", b.Key)
	}
	if k.Until.IsZero() || b.Until.Before(k.Until) {
		k.Until = b.Until
	}
	k.Compromised, k.Reason = k.Compromised || b.Compromised, b.Reason
	put(&s.Keys, k.ID, k)
	return nil
}

func personRemoved(s *imx.State, e imx.Event, b imx.PersonRemoved) error {
	if _, ok := s.People[b.Person]; !ok {
		return misfit(e, "there is no person %q", b.Person)
	}
	s.People = maps.Clone(s.People)
	delete(s.People, b.Person)
	keys := maps.Clone(s.Keys)
	for id, k := range keys {
		if k.Role == "" && k.Owner == b.Person && !over(k, e) {
			k.Until, k.Reason = e.Time, b.Reason
			keys[id] = k
		}
	}
	s.Keys = keys
	return nil
}

// verdictGiven keeps the verdicts of those releases that the service has.
func verdictGiven(s *imx.State, b imx.VerdictGiven) {
	v := s.Services[b.Service]
	kept := maps.Clone(s.Verdicts[b.Service])
	put(&kept, b.Release, b.Verdict)
	maps.DeleteFunc(kept, func(number int, _ imx.Verdict) bool {
		_, ok := v.Release(number)
		return !ok && number != b.Release
	})
	put(&s.Verdicts, b.Service, kept)
}
