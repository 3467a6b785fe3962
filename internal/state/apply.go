package state

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"imx"
)

func foldApply(s *imx.State, e imx.Event) error {
	switch b := e.Body.(type) {
	case imx.ApplyStarted:
		if s.Apply != nil {
			return misfit(e, "apply %q is still open", s.Apply.Apply)
		}
		s.Apply, s.ApplyBy, s.ApplyAt = &b, e.By, e.Time
	case imx.Applied:
		services, err := applied(s, e, b)
		if err != nil {
			return err
		}
		s.Services = services
		for _, in := range b.Ingresses {
			put(&s.Ingresses, in.Name, in)
		}
		closeApply(s)
	case imx.ApplyFailed:
		if err := isOpen(s, e, b.Apply); err != nil {
			return err
		}
		closeApply(s)
	}
	return nil
}

func isOpen(s *imx.State, e imx.Event, apply string) error {
	if s.Apply == nil || s.Apply.Apply != apply {
		return misfit(e, "apply %q isn't open", apply)
	}
	return nil
}

func closeApply(s *imx.State) { s.Apply, s.ApplyBy, s.ApplyAt = nil, "", time.Time{} }

// applied returns the services after an apply. What its releases don't mention stays; those that they do are held no longer.
func applied(s *imx.State, e imx.Event, b imx.Applied) (map[string]imx.Service, error) {
	if err := isOpen(s, e, b.Apply); err != nil {
		return nil, err
	}
	services := make(map[string]imx.Service, len(s.Services)+len(b.Releases))
	maps.Copy(services, s.Services)
	for _, r := range b.Releases {
		v, err := released(services[r.Service], e, r)
		if err != nil {
			return nil, err
		}
		services[r.Service] = v
	}
	for _, name := range slices.Sorted(maps.Keys(b.Replicas)) {
		v, ok := services[name]
		if !ok || v.Destroyed {
			return nil, misfit(e, "there is no service %q to scale", name)
		}
		v.Replicas, v.Stopped = b.Replicas[name], nil
		if v.Target == v.Current { // otherwise the number comes with the release that is rolled out
			v.CurrentReplicas = v.Replicas
		}
		services[name] = v
	}
	return services, nil
}

// released gives a service, the zero one if it is new, its next release as its target. The
// replicas of a service that wasn't there are those that the release was made with.
func released(v imx.Service, e imx.Event, r imx.Release) (imx.Service, error) {
	next := 1
	if n := len(v.Releases); n > 0 {
		next = v.Releases[n-1].Number + 1
	}
	if r.Service == "" || r.Number != next {
		return v, misfit(e, "release %d of service %q should be number %d", r.Number, r.Service, next)
	}
	if v.Name == "" {
		v.Name, v.Address = r.Service, r.Address
	}
	if v.Address != r.Address {
		return v, misfit(e, "release %d of service %q has address %s and not the service's, %s", r.Number, r.Service, r.Address, v.Address)
	}
	if len(v.Releases) == 0 || v.Destroyed {
		v.Replicas = r.Spec.Replicas
	}
	if err := supersede(&v, e, fmt.Sprintf("release %d took its place before it was judged", r.Number)); err != nil {
		return v, err
	}
	r.State, r.Reason = imx.ReleasePending, ""
	v.Releases = append(slices.Clip(v.Releases), r)
	v.Target, v.Since, v.Rollout, v.Hold, v.Sizing.Fixed = r.Number, e.Time, imx.Rollout{}, nil, ""
	v.Destroyed, v.VolumesToo, v.Removed = false, false, false
	return v, nil
}
