package control

import (
	"maps"
	"slices"

	"imx"
	"imx/internal/ingress"
)

// withIngresses are the ingresses of a state with some that are new or otherwise.
func withIngresses(s *imx.State, coming []imx.Ingress) map[string]imx.Ingress {
	all := maps.Clone(s.Ingresses)
	if all == nil {
		all = map[string]imx.Ingress{}
	}
	for _, in := range coming {
		all[in.Name] = in
	}
	return all
}

// otherIngresses are those that the state doesn't have, or otherwise.
func otherIngresses(s *imx.State, all []imx.Ingress) []imx.Ingress {
	var changed []imx.Ingress
	for _, in := range all {
		if old, ok := s.Ingresses[in.Name]; !ok || imx.DigestJSON(old) != imx.DigestJSON(in) {
			changed = append(changed, in)
		}
	}
	return changed
}

// listeners are the ports of ingresses, by port. Errors: Conflict where two would have one.
func listeners(s *imx.State, coming []imx.Ingress) (map[int]string, error) {
	owner := map[int]string{}
	all := withIngresses(s, coming)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, port := range all[name].Ports() {
			if other, taken := owner[port]; taken {
				return nil, imx.Errorf(imx.Conflict, "ingresses %s and %s would both listen on port %d", other, name, port).
					WithHint("give one of them another port, or remove the one that is no longer wanted: imx ingress remove %s", other)
			}
			owner[port] = name
		}
	}
	return owner, nil
}

// entrances refuses a route of an ingress that isn't there, and what clashes, with some services about to get new targets.
func entrances(s *imx.State, coming map[string]imx.Spec, ingresses ...imx.Ingress) error {
	there := withIngresses(s, ingresses)
	for _, name := range slices.Sorted(maps.Keys(coming)) {
		for _, r := range coming[name].Routes {
			if _, ok := there[r.Ingress]; !ok {
				return imx.Errorf(imx.Conflict, "service %s has a route %s of ingress %s, which isn't there", name, shown(r), r.Ingress).
					WithHint("apply a template that has ingress %q", r.Ingress)
			}
		}
	}
	return clashes(s, coming)
}

// clashes refuses a route of which another service has the same, with some services about to get new targets: it could never
// be told which one a request is for. Like ports, those of the current release count beside those of the target.
func clashes(s *imx.State, coming map[string]imx.Spec) error {
	all := routes(s, coming)
	names := slices.Sorted(maps.Keys(all))
	for i, name := range names {
		for _, r := range all[name] {
			for _, other := range names[:i] {
				if slices.ContainsFunc(all[other], func(o imx.Route) bool { return ingress.Conflict(r, o) }) {
					return imx.Errorf(imx.Conflict, "services %s and %s would both have the route %s of ingress %s", other, name, shown(r), r.Ingress).
						WithHint("give one of them another host or path; to move the route, first apply without it in the one, then with it in the other")
				}
			}
		}
	}
	return nil
}

func shown(r imx.Route) string { return r.Host + r.Prefix() + "/" }

// routes are those of every service: of its target and of its current release, as publishers has it with ports.
func routes(s *imx.State, coming map[string]imx.Spec) map[string][]imx.Route {
	list := map[string][]imx.Route{}
	for name, v := range s.Services {
		if v.Destroyed {
			continue
		}
		current, _ := v.Release(v.Current)
		list[name] = slices.Clone(current.Spec.Routes)
		if _, replaced := coming[name]; !replaced {
			target, _ := v.Release(v.Target)
			list[name] = append(list[name], target.Spec.Routes...)
		}
	}
	for name, spec := range coming {
		list[name] = append(list[name], spec.Routes...)
	}
	return list
}

// RemoveIngress takes an ingress down. Errors: NotFound; Conflict while a service's current or target release has a route of it.
func (c *Control) RemoveIngress(by imx.Principal, name string) error {
	_, err := decide(c, by, func(s *imx.State) (struct{}, []imx.Body, error) {
		if _, ok := s.Ingresses[name]; !ok {
			return struct{}{}, nil, imx.Errorf(imx.NotFound, "there is no ingress %q", name).WithHint("imx ingress lists those that there are")
		}
		all := routes(s, nil)
		for _, service := range slices.Sorted(maps.Keys(all)) {
			for _, r := range all[service] {
				if r.Ingress == name {
					return struct{}{}, nil, imx.Errorf(imx.Conflict, "service %s has the route %s of ingress %s", service, shown(r), name).
						WithHint("apply a template in which it has no such route, or destroy the service")
				}
			}
		}
		return struct{}{}, []imx.Body{imx.IngressRemoved{Ingress: name}}, nil
	})
	return err
}
