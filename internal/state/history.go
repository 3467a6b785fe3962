package state

import (
	"slices"

	"imx"
)

// History returns an event as far as it is about the rollouts of a service, and whether it is: a release that was made, where its
// traffic went, steps, what was waited for, what people said, ends, rollbacks and holds.
func History(e imx.Event, service string) (imx.Event, bool) {
	of := ""
	switch b := e.Body.(type) {
	case imx.Applied:
		b.Releases = slices.DeleteFunc(slices.Clone(b.Releases), func(r imx.Release) bool { return r.Service != service })
		b.Replicas = nil
		e.Body = b
		return e, len(b.Releases) > 0
	case imx.TrafficMoved:
		of = b.Service
	case imx.RolloutStepped:
		of = b.Service
	case imx.RolloutWaits:
		of = b.Service
	case imx.RolloutPaused:
		of = b.Service
	case imx.RolloutPromoted:
		of = b.Service
	case imx.RolloutFinished:
		of = b.Service
	case imx.RolloutFailed:
		of = b.Service
	case imx.RolledBack:
		of = b.Service
	case imx.TurnedBad:
		of = b.Service
	case imx.HoldEnded:
		of = b.Service
	case imx.Destroyed:
		of = b.Service
	}
	return e, of == service
}
