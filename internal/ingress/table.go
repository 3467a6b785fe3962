package ingress

import (
	"cmp"
	"slices"
	"strings"

	"imx"
)

// Table finds the route of a request.
type Table struct {
	exact map[key][]Route // each list in the order in which paths are tried: the longest first
	wild  map[key][]Route // by what follows "*."; "" is any host
}

type key struct{ ingress, host string }

// NewTable arranges routes. Where two are for the same host and path, the first by service has it.
func NewTable(routes []Route) *Table {
	t := &Table{exact: map[key][]Route{}, wild: map[key][]Route{}}
	for _, r := range routes {
		host, into := r.Host, t.exact
		if suffix, ok := strings.CutPrefix(host, "*"); ok {
			host, into = strings.TrimPrefix(suffix, "."), t.wild
		}
		k := key{r.Ingress, host}
		into[k] = append(into[k], r)
	}
	for _, lists := range []map[key][]Route{t.exact, t.wild} {
		for _, list := range lists {
			slices.SortStableFunc(list, func(a, b Route) int {
				return cmp.Or(len(b.Prefix())-len(a.Prefix()), cmp.Compare(a.Service, b.Service))
			})
		}
	}
	return t
}

// Match returns the route of a request for a host, as imx.HostName has it, and a decoded path: of the most exact host that
// has one for the path at all, that with the longest path.
func (t *Table) Match(ingress, host, path string) (Route, bool) {
	_, rest, found := strings.Cut(host, ".")
	lists := [][]Route{t.exact[key{ingress, host}]}
	if found && rest != "" {
		lists = append(lists, t.wild[key{ingress, rest}])
	}
	for _, list := range append(lists, t.wild[key{ingress, ""}]) {
		for _, r := range list {
			if within(path, r.Prefix()) {
				return r, true
			}
		}
	}
	return Route{}, false
}

// Knows reports whether any route is for the host.
func (t *Table) Knows(ingress, host string) bool {
	_, rest, found := strings.Cut(host, ".")
	return len(t.exact[key{ingress, host}]) > 0 || found && rest != "" && len(t.wild[key{ingress, rest}]) > 0 || len(t.wild[key{ingress, ""}]) > 0
}

// within reports whether a path is a prefix, which doesn't end with a slash, or below it.
func within(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// Clean reports whether a decoded path means the same to everybody who reads it: it begins with a slash and goes nowhere up.
// What isn't could be routed as one path and answered as another.
func Clean(path string) bool {
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "\\\x00") {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// Conflict is about two routes of which only one could ever be taken.
func Conflict(a, b imx.Route) bool {
	return a.Ingress == b.Ingress && a.Host == b.Host && a.Prefix() == b.Prefix()
}
