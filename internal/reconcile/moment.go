package reconcile

import (
	"maps"
	"slices"

	"imx"
)

// moment is what is wanted and what is seen in one step, by service: each is decided on from its own part.
type moment struct {
	state  *imx.State
	seen   imx.Seen
	names  []string            // of all services, sorted
	groups map[string][]string // the services with a release of a group, by its name; sorted
	of     map[string]part
}

// part is what there is of one service.
type part struct {
	live  []*imx.Instance // as seen, those that haven't ended; they are the moment's
	ended []imx.Instance  // as the log has them
	kept  []imx.Kept
}

func newMoment(s *imx.State, seen imx.Seen) *moment {
	m := &moment{state: s, seen: seen, names: slices.Sorted(maps.Keys(s.Services)), groups: map[string][]string{}, of: make(map[string]part, len(s.Services))}
	for i := range seen.Instances {
		if in := &seen.Instances[i]; in.Phase != imx.Ended {
			m.change(in.Service, func(p *part) { p.live = append(p.live, in) })
		}
	}
	for _, in := range s.Instances {
		if in.Phase == imx.Ended {
			m.change(in.Service, func(p *part) { p.ended = append(p.ended, in) })
		}
	}
	for _, k := range seen.Kept {
		m.change(k.Service, func(p *part) { p.kept = append(p.kept, k) })
	}
	for _, name := range m.names {
		m.join(name)
	}
	return m
}

func (m *moment) change(service string, edit func(*part)) {
	p := m.of[service]
	edit(&p)
	m.of[service] = p
}

// join enters a service under the groups of its releases.
func (m *moment) join(name string) {
	for _, r := range m.state.Services[name].Releases {
		if r.Spec.Deploy == nil || r.Spec.Deploy.Group == "" {
			continue
		}
		if list := m.groups[r.Spec.Deploy.Group]; !slices.Contains(list, name) {
			m.groups[r.Spec.Deploy.Group] = append(list, name)
		}
	}
}
