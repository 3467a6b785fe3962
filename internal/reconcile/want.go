package reconcile

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"imx"
	"imx/internal/rollout"
)

// wanted is what a service should come to, beside the others of its group in a state.
func wanted(v imx.Service, s *imx.State) rollout.Wanted {
	w := rollout.Wanted{
		Service: v.Name, Replicas: v.Replicas, CurrentReplicas: v.CurrentReplicas,
		Since: v.Since, Moved: v.Moved, Destroyed: v.Destroyed, Extra: v.Releases,
		Rollout: v.Rollout, Finished: v.Finished, Way: v.WayBack, Held: v.Hold != nil,
	}
	w.Target, _ = v.Release(v.Target)
	w.Current, _ = v.Release(v.Current)
	w.Back, _ = v.Previous()
	if s != nil && !v.Destroyed {
		w.Peers = peers(w.Target, s)
	}
	return w
}

// peers are the other services that a release's group releases with it: by the same apply.
func peers(r imx.Release, s *imx.State) []rollout.Peer {
	group := r.Spec.How().Group
	if group == "" {
		return nil
	}
	var list []rollout.Peer
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		other := s.Services[name]
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
			p.Ready = rollout.Ready(wanted(other, nil), instances(name, s))
		default:
			continue // something else took its place: it is no part of this any more
		}
		list = append(list, p)
	}
	return list
}

func instances(service string, s *imx.State) []imx.Instance {
	var list []imx.Instance
	for _, in := range s.Instances {
		if in.Service == service && in.Phase != imx.Ended {
			list = append(list, in)
		}
	}
	return list
}

// present is what there is of a service: its live instances and routes as the engine sees them,
// its ended instances as the log remembers them.
func (l *Loop) present(v imx.Service, w rollout.Wanted, s *imx.State, seen imx.Seen) rollout.Seen {
	p := rollout.Seen{Routes: seen.Routes[v.Name], Preview: seen.Previews[v.Name]}
	for _, in := range seen.Instances {
		if in.Service == v.Name && in.Phase != imx.Ended {
			if in.Changed.IsZero() { // an engine need not know: the log does
				in.Changed = s.Instances[in.ID].Changed
			}
			in.Taint = s.Instances[in.ID].Taint
			p.Instances = append(p.Instances, in)
		}
	}
	for _, in := range s.Instances {
		if in.Service == v.Name && in.Phase == imx.Ended {
			p.Ended = append(p.Ended, in)
		}
	}
	for _, k := range seen.Kept {
		if k.Service == v.Name {
			p.Kept = append(p.Kept, k)
		}
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
