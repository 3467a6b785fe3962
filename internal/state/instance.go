package state

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"imx"
)

// instance stores an instance as it was seen. Changed is when the log first had it in this phase,
// where the engine didn't say.
func instance(s *imx.State, e imx.Event, in imx.Instance) error {
	old, known := s.Instances[in.ID]
	switch {
	case in.ID == "":
		return misfit(e, "the instance has no id")
	case s.Services[in.Service].Name == "":
		return misfit(e, "there is no service %q", in.Service)
	case known && old.Phase == imx.Ended:
		return misfit(e, "instance %q has ended", in.ID)
	}
	if in.Changed.IsZero() {
		in.Changed = old.Changed
		if !known || old.Phase != in.Phase {
			in.Changed = e.Time
		}
	}
	in.Taint = old.Taint
	put(&s.Instances, in.ID, in)
	return nil
}

// taint gives an instance a taint, or takes it away.
func taint(s *imx.State, e imx.Event, id string, t *imx.Taint) error {
	in, known := s.Instances[id]
	switch {
	case !known || in.Phase == imx.Ended:
		return misfit(e, "there is no instance %q that hasn't ended", id)
	case t == nil && in.Taint == nil:
		return misfit(e, "instance %q isn't tainted", id)
	}
	in.Taint = t
	put(&s.Instances, id, in)
	return nil
}

func ended(s *imx.State, e imx.Event, in imx.Instance) error {
	if in.Phase != imx.Ended {
		return misfit(e, "instance %q is still %s", in.ID, in.Phase)
	}
	if in.Ended.IsZero() {
		in.Ended = e.Time
	}
	if err := instance(s, e, in); err != nil {
		return err
	}
	forget(s, in.Service)
	return nil
}

// forget drops the ended instances of a service but for the newest.
func forget(s *imx.State, service string) {
	var gone []imx.Instance
	for _, in := range s.Instances {
		if in.Service == service && in.Phase == imx.Ended {
			gone = append(gone, in)
		}
	}
	most := kept(s.Services[service])
	if len(gone) <= most {
		return
	}
	slices.SortFunc(gone, func(a, b imx.Instance) int {
		return cmp.Or(a.Ended.Compare(b.Ended), cmp.Compare(a.ID, b.ID))
	})
	for _, in := range gone[:len(gone)-most] {
		delete(s.Instances, in.ID)
	}
}

// kept is how many ended instances of a service stay: the wait before a start grows with each
// generation that ended, so that several must be known, however large one is.
func kept(v imx.Service) int {
	return Kept + Generations*max(v.Replicas, v.CurrentReplicas)
}

// Horizon returns, by service, the end of the oldest ended instance that is known, for services of
// which older ones may have been forgotten. An unknown instance that ended no later is one of those:
// the log has told of it.
func Horizon(s *imx.State) map[string]time.Time {
	known, oldest := map[string]int{}, map[string]time.Time{}
	for _, in := range s.Instances {
		if in.Phase != imx.Ended {
			continue
		}
		if at, ok := oldest[in.Service]; !ok || in.Ended.Before(at) {
			oldest[in.Service] = in.Ended
		}
		known[in.Service]++
	}
	maps.DeleteFunc(oldest, func(service string, _ time.Time) bool { return known[service] < Kept })
	return oldest
}
