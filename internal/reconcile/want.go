package reconcile

import (
	"cmp"
	"slices"
	"time"

	"imx"
	"imx/internal/rollout"
)

// wanted is what a service should come to, beside the others of its group in a state.
func wanted(v imx.Service, m *moment) rollout.Wanted {
	w := rollout.Wanted{
		Service: v.Name, Replicas: v.Replicas, CurrentReplicas: v.CurrentReplicas,
		Since: v.Since, Moved: v.Moved, Destroyed: v.Destroyed, Extra: v.Releases,
		Rollout: v.Rollout, Finished: v.Finished, Way: v.WayBack, Held: v.Hold != nil,
	}
	w.Target, _ = v.Release(v.Target)
	w.Current, _ = v.Release(v.Current)
	w.Back, _ = v.Previous()
	if m != nil && !v.Destroyed {
		w.Peers = peers(w.Target, m)
	}
	return w
}

// peers are the other services that a release's group releases with it: by the same apply.
func peers(r imx.Release, m *moment) []rollout.Peer {
	group := r.Spec.How().Group
	if group == "" {
		return nil
	}
	var list []rollout.Peer
	for _, name := range m.groups[group] {
		other := m.state.Services[name]
		i := slices.IndexFunc(other.Releases, func(o imx.Release) bool { return o.Apply == r.Apply && o.Spec.How().Group == group })
		if i < 0 || name == r.Service || other.Destroyed {
			continue
		}
		p := rollout.Peer{Service: name}
		switch o := other.Releases[i]; {
		case o.State == imx.ReleaseFailed:
			p.Failed = cmp.Or(o.Reason, "it failed")
		case other.Current == o.Number:
			p.Ready = true
		case other.Target == o.Number:
			p.Ready = rollout.Ready(wanted(other, nil), told(name, m))
		default:
			continue // something else took its place: it is no part of this any more
		}
		list = append(list, p)
	}
	return list
}

// told are a service's instances as the log has them, which is as they were seen.
func told(service string, m *moment) []imx.Instance {
	var list []imx.Instance
	for _, in := range m.of[service].live {
		if known, ok := m.state.Instances[in.ID]; ok {
			list = append(list, known)
		}
	}
	return list
}

// present is what there is of a service: its live instances and routes as the engine sees them,
// its ended instances as the log remembers them.
func (l *Loop) present(v imx.Service, w rollout.Wanted, m *moment) rollout.Seen {
	of := m.of[v.Name]
	p := rollout.Seen{Routes: m.seen.Routes[v.Name], Preview: m.seen.Previews[v.Name], Ended: of.ended, Kept: of.kept}
	for _, seen := range of.live {
		in := *seen
		if in.Changed.IsZero() { // an engine need not know: the log does
			in.Changed = m.state.Instances[in.ID].Changed
		}
		in.Taint = m.state.Instances[in.ID].Taint
		p.Instances = append(p.Instances, in)
	}
	if err := l.trouble[v.Name]; err != nil {
		p.Trouble = err.Error()
	}
	if l.cfg.Count != nil && !v.Destroyed {
		p.Counted = l.cfg.Count(v)
	}
	p.Proved, p.Tried = l.proof(v, w, p.Instances)
	return p
}

// proof is when an instance of a way back was last healthy, and last asked for. It isn't on the log: after a new start the
// way back is proved anew.
type proof struct {
	release       int
	proved, tried time.Time
}

func (l *Loop) proof(v imx.Service, w rollout.Wanted, instances []imx.Instance) (proved, tried time.Time) {
	known := l.proofs[v.Name]
	if known.release != w.Back.Number {
		known = proof{release: w.Back.Number}
	}
	if rollout.Proves(w, instances) {
		known.proved = l.cfg.Now().UTC()
	}
	l.proofs[v.Name] = known
	if v.Destroyed {
		delete(l.proofs, v.Name)
	}
	return known.proved, known.tried
}

func (l *Loop) tried(v imx.Service, back imx.Release) {
	known := l.proofs[v.Name]
	known.release, known.tried = back.Number, l.cfg.Now().UTC()
	l.proofs[v.Name] = known
}
