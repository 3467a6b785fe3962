package source

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"imx"
)

// looks remember when each source was looked at last, and which are to be looked at right away.
type looks struct {
	last  map[string]time.Time
	woken map[string]bool
}

// due returns which sources are to be looked at now, the one that waits longest first, and for how long there will be none
// after that. A clock that jumped back makes none wait longer than its interval.
func due(sources map[string]imx.GitSource, l looks, now time.Time) (names []string, wait time.Duration) {
	wait = time.Hour
	for name, src := range sources {
		since := now.Sub(l.last[name])
		if l.woken[name] || l.last[name].IsZero() || since < 0 || since >= time.Duration(src.Every) {
			names = append(names, name)
			wait = min(wait, time.Duration(src.Every))
			continue
		}
		wait = min(wait, time.Duration(src.Every)-since)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(l.last[a].Compare(l.last[b]), cmp.Compare(a, b)) })
	return names, wait
}

// ready returns the open candidates of sources that release by themselves, without those that were tried in vain. What was tried
// while a service was held is tried again once another is, or none.
func ready(s *imx.State, tried map[string]string) []imx.GitSource {
	var found []imx.GitSource
	for _, name := range slices.Sorted(maps.Keys(s.Sources)) {
		src := s.Sources[name]
		c := s.Candidates[src.Candidate]
		under, was := tried[c.ID]
		if src.Release && c.State == imx.CandidateOpen && (!was || under != holds(s, c)) {
			found = append(found, src)
		}
	}
	return found
}

// holds tells which of a candidate's services are held, and since when; "" for none.
func holds(s *imx.State, c imx.Candidate) string {
	var list []string
	for _, name := range c.Services {
		if h := s.Services[name].Hold; h != nil {
			list = append(list, name+" "+h.Since.String())
		}
	}
	return strings.Join(list, ", ")
}

// base is where a service stands: at the commit of its running release. Without one, all is new to it.
type base struct {
	service, commit string
}

// bases says where services stand, each by what it runs now, in their order.
func bases(s *imx.State, services []string) []base {
	var found []base
	for _, name := range services {
		b := base{service: name}
		v := s.Services[name]
		if r, ok := v.Release(v.Current); ok && !v.Destroyed && !r.Source.Dirty {
			b.commit = r.Source.Commit
		}
		found = append(found, b)
	}
	return found
}
