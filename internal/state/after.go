package state

import (
	"maps"

	"imx"
)

// After returns the state after some events, and leaves s as it is: they share what the events don't change. It costs as much as
// there is of what they do change. Errors: as Fold.
func After(s *imx.State, events ...imx.Event) (*imx.State, error) {
	next, copied := *s, map[part]bool{}
	for _, e := range events {
		if p := changes(e.Body); !copied[p] && !copied[everything] {
			next = *copyOf(&next, p)
			copied[p] = true
		}
		if err := Fold(&next, e); err != nil {
			return nil, err
		}
	}
	return &next, nil
}

// part is what an event changes of a state.
type part int

const (
	nothing part = iota // but the count of events
	instances
	services // with the candidates that have to do with them
	verdicts
	images
	everything // what is rare, and any that isn't known here
)

func changes(b imx.Body) part {
	switch b.(type) {
	case imx.ServerStarted, imx.ManifestPushed, imx.Collected, imx.TestsSkipped, imx.RegistryRepaired, imx.ServicesReturned:
		return nothing
	case imx.InstanceStarted, imx.InstanceChanged, imx.InstanceEnded, imx.InstanceTainted, imx.TaintEnded:
		return instances
	case imx.RolloutFinished, imx.RolloutFailed, imx.RolledBack, imx.TrafficMoved, imx.Scaled, imx.SizeFreed, imx.Destroyed, imx.Removed,
		imx.RolloutStepped, imx.RolloutWaits, imx.RolloutPaused, imx.RolloutPromoted, imx.TurnedBad, imx.HoldEnded, imx.WayBackChanged:
		return services
	case imx.VerdictGiven:
		return verdicts
	case imx.ImageBuilt:
		return images
	default:
		return everything
	}
}

// copyOf is Clone of a part alone.
func copyOf(s *imx.State, p part) *imx.State {
	c := *s
	switch p {
	case nothing:
	case instances:
		c.Instances = maps.Clone(s.Instances)
	case services:
		c.Services, c.Candidates = maps.Clone(s.Services), maps.Clone(s.Candidates)
	case verdicts:
		c.Verdicts = maps.Clone(s.Verdicts)
	case images:
		c.Images = maps.Clone(s.Images)
	case everything:
		return Clone(s)
	}
	return &c
}
