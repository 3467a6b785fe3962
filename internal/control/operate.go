package control

import (
	"maps"
	"slices"
	"strings"

	"imx"
)

// Rollback makes an earlier good release the service's target again: the newest one before the
// current, or the one numbered to if it isn't 0. It returns that release. The other services of its group go back with it, each to
// what it was at when that release was made; all of them are held there.
// Errors: NotFound for an unknown service or release; Conflict where there is nothing to go back to,
// or where a release publishes a port that another service has now, or connects to a service that
// was destroyed.
func (c *Control) Rollback(by imx.Principal, name string, to int) (imx.Release, error) {
	return decide(c, by, func(s *imx.State) (imx.Release, []imx.Body, error) {
		v, err := service(s, name)
		if err != nil {
			return imx.Release{}, nil, err
		}
		r, err := Destination(v, to)
		if err != nil || r.Number == v.Target {
			return r, nil, err
		}
		going := append([]imx.Release{r}, companions(s, v, r)...)
		coming := map[string]imx.Spec{}
		for _, g := range going {
			coming[g.Service] = g.Spec
		}
		if err := ports(s, coming); err != nil {
			return r, nil, err
		}
		// An ingress that isn't there any more keeps nobody from going back: requests come by it again once it is.
		if err := clashes(s, coming); err != nil {
			return r, nil, err
		}
		var bodies []imx.Body
		for _, g := range going {
			if err := connections(s, g); err != nil {
				return r, nil, err
			}
			bodies = append(bodies, imx.RolledBack{Service: g.Service, From: s.Services[g.Service].Target, To: g.Number})
		}
		return r, bodies, nil
	})
}

// companions are the releases that the other services of a service's group go back to with it: of each the newest good one
// that was made with r or before it. Those that are at it already stay.
func companions(s *imx.State, v imx.Service, r imx.Release) []imx.Release {
	target, _ := v.Release(v.Target)
	group := target.Spec.How().Group
	if group == "" {
		return nil
	}
	var list []imx.Release
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		other := s.Services[name]
		at, _ := other.Release(other.Target)
		if name == v.Name || other.Destroyed || at.Spec.How().Group != group {
			continue
		}
		for _, was := range slices.Backward(other.Releases) {
			if was.State != imx.ReleaseGood || was.Apply != r.Apply && was.Made.After(r.Made) {
				continue
			}
			if was.Number != other.Target {
				list = append(list, was)
			}
			break
		}
	}
	return list
}

// Destination is the release that a rollback goes to: the one with the number or, for 0, what has the traffic while something else
// is rolled out, else the good one before. Errors: NotFound; Conflict for one that never was good, or if there is none.
func Destination(v imx.Service, to int) (imx.Release, error) {
	if to != 0 {
		r, ok := v.Release(to)
		switch {
		case !ok:
			return r, imx.Errorf(imx.NotFound, "service %s has no release %d", v.Name, to).
				WithHint("imx releases %s lists them", v.Name)
		case r.State != imx.ReleaseGood:
			return r, imx.Errorf(imx.Conflict, "release %d of service %s is %s: only a release that was good can be gone back to", to, v.Name, r.State).
				WithHint("imx releases %s lists them", v.Name)
		}
		return r, nil
	}
	if v.Target != v.Current { // a rollout is under way: back means back to what has the traffic
		if r, ok := v.Release(v.Current); ok {
			return r, nil
		}
	}
	r, ok := v.Previous()
	if !ok {
		return r, imx.Errorf(imx.Conflict, "service %s has no earlier good release to go back to", v.Name).
			WithHint("imx releases %s lists what there is", v.Name)
	}
	return r, nil
}

// connections refuses a release that connects to a service that isn't there any more.
func connections(s *imx.State, r imx.Release) error {
	for _, p := range r.Spec.Connect {
		if _, err := service(s, p.Service); err != nil {
			return imx.Errorf(imx.Conflict, "release %d of service %s connects to service %s, which was destroyed", r.Number, r.Service, p.Service).
				WithHint("apply a template that has service %s first", p.Service)
		}
	}
	return nil
}

// Scale sets how many instances a service has. Errors: NotFound; Invalid for a number below 0,
// above 1000, or above 1 for a service whose volume has one holder, now or when a rollout that is
// under way has ended either way.
func (c *Control) Scale(by imx.Principal, name string, replicas int) (imx.Service, error) {
	return decide(c, by, func(s *imx.State) (imx.Service, []imx.Body, error) {
		v, err := service(s, name)
		if err != nil {
			return v, nil, err
		}
		if replicas < 0 || replicas > maxReplicas {
			return v, nil, imx.Errorf(imx.Invalid, "service %s can't have %d instances: 0 to %d are possible", name, replicas, maxReplicas)
		}
		for _, number := range []int{v.Target, v.Current} {
			if r, _ := v.Release(number); r.Spec.Exclusive() && replicas > 1 {
				return v, nil, imx.Errorf(imx.Invalid, "service %s can't have %d instances: its volume %q has one holder at a time",
					name, replicas, r.Spec.Volumes[0].Name)
			}
		}
		if v.Replicas == replicas && v.CurrentReplicas == replicas && v.Stopped == nil && !v.SizesItself() {
			return v, nil, nil
		}
		fixes := v.SizesItself() || v.Sizing.Fixed != ""
		v.Replicas, v.CurrentReplicas, v.Stopped = replicas, replicas, nil
		if r, _ := v.Release(v.Target); fixes && (replicas > 0 || !r.Spec.Sleeps()) {
			v.Sizing.Fixed = by
		}
		return v, []imx.Body{imx.Scaled{Service: name, Replicas: replicas}}, nil
	})
}

// Unfix gives the number of a service's instances back to its scale block. Errors: NotFound; Conflict where nobody has fixed it.
func (c *Control) Unfix(by imx.Principal, name string) (imx.Service, error) {
	return decide(c, by, func(s *imx.State) (imx.Service, []imx.Body, error) {
		v, err := service(s, name)
		if err != nil {
			return v, nil, err
		}
		switch r, _ := v.Release(v.Target); {
		case r.Spec.Scale == nil:
			return v, nil, imx.Errorf(imx.Conflict, "nothing sets the number of instances of service %s but people: it has no scale block", name).
				WithHint("imx scale %s=N sets it; docs/scaling.md has the block", name)
		case v.Sizing.Fixed == "":
			return v, nil, nil
		}
		v.Sizing.Fixed = ""
		return v, []imx.Body{imx.SizeFreed{Service: name}}, nil
	})
}

// Size sets how many instances a service has that sizes itself, for a reason, unless something of it has changed since it
// was as v has it.
func (c *Control) Size(v imx.Service, replicas int, reason string) error {
	_, err := decide(c, imx.Server, func(s *imx.State) (struct{}, []imx.Body, error) {
		now, err := service(s, v.Name)
		if err != nil || !now.SizesItself() || now.Replicas != v.Replicas || now.Target != v.Target || now.Current != v.Current {
			return struct{}{}, nil, err
		}
		return struct{}{}, []imx.Body{imx.Scaled{Service: v.Name, Replicas: replicas, Reason: reason}}, nil
	})
	return err
}

// maxReplicas bounds what one machine is asked for, far above what it can run.
const maxReplicas = 1000

// Destroy takes services down, with their volumes if volumes says so; one that is named twice once. Errors: NotFound; Conflict
// where another service's current or target release connects to it.
func (c *Control) Destroy(by imx.Principal, volumes Volumes, names ...string) error {
	_, err := decide(c, by, func(s *imx.State) (struct{}, []imx.Body, error) {
		var bodies []imx.Body
		for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
			if _, err := service(s, name); err != nil {
				return struct{}{}, nil, err
			}
			if user := connected(s, name, names); user != "" {
				return struct{}{}, nil, imx.Errorf(imx.Conflict, "service %s connects to service %s", user, name).
					WithHint("destroy both: imx destroy %s %s", user, name)
			}
			bodies = append(bodies, imx.Destroyed{Service: name, Volumes: bool(volumes)})
		}
		return struct{}{}, bodies, nil
	})
	return err
}

// Volumes says what happens to a destroyed service's volumes.
type Volumes bool

// What happens to the volumes.
const (
	KeepVolumes   Volumes = false
	RemoveVolumes Volumes = true
)

// connected returns a service, not among the leaving, whose live releases connect to name.
func connected(s *imx.State, name string, leaving []string) string {
	for _, other := range slices.Sorted(maps.Keys(s.Services)) {
		v := s.Services[other]
		if v.Destroyed || slices.Contains(leaving, other) {
			continue
		}
		for _, number := range []int{v.Current, v.Target} {
			r, _ := v.Release(number)
			if slices.ContainsFunc(r.Spec.Connect, func(p imx.PortRef) bool { return p.Service == name }) {
				return other
			}
		}
	}
	return ""
}

// running lists the services that aren't destroyed, for a person.
func running(s *imx.State) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		if !s.Services[name].Destroyed {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
