package rollout

import (
	"fmt"

	"imx"
)

// holdup says which service of the group isn't ready yet, or "": no traffic moves before all of them are.
func (d *decider) holdup() string {
	for _, p := range d.want.Peers {
		if !p.Ready {
			return fmt.Sprintf("service %s of its group isn't ready", p.Service)
		}
	}
	return ""
}

// peerFailed says which service of the group was given up: all of them go back then.
func (d *decider) peerFailed() string {
	for _, p := range d.want.Peers {
		if p.Failed != "" {
			return quote(fmt.Sprintf("service %s of its group went back", p.Service), p.Failed)
		}
	}
	return ""
}

// Ready reports whether a service's target has the healthy instances that the others of its group wait for: all of them, or
// where they come in batches the first.
func Ready(w Wanted, instances []imx.Instance) bool {
	d := &decider{want: w, by: tally(instances)}
	n := d.replicas(w.Target.Number)
	if d.rolls() {
		n = min(n, d.atATime())
	}
	return d.by[w.Target.Number].healthy >= n
}
