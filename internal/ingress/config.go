// Package ingress decides what comes in where: which route a request takes, which instance it goes to, who asks too often, and
// all of it as a value that follows from a State. It opens no socket and answers nobody: front does.
package ingress

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"imx"
)

// Config is all that a front does. The zero Config does nothing.
type Config struct {
	Ingresses    []imx.Ingress       `json:"ingresses,omitempty"` // sorted by name
	Routes       []Route             `json:"routes,omitempty"`
	Pools        map[string]Pool     `json:"pools,omitempty"`        // by Route.Pool
	Certificates []Certificate       `json:"certificates,omitempty"` // of files, as they were read last
	Managed      map[string][]string `json:"managed,omitempty"`      // hosts to get certificates for, by ingress
}

// Route is a route of the release that has a service's traffic.
type Route struct {
	imx.Route

	Service string `json:"service"`
	Release int    `json:"release"`
	Pool    string `json:"pool"`
}

// Pool is what a service's port leads to.
type Pool struct {
	Weights   imx.Weights `json:"weights"`
	Instances []Instance  `json:"instances,omitempty"` // sorted by ID; each of a release with a weight
	// Door is where a connection wakes the service; zero unless it goes to sleep by itself.
	Door netip.AddrPort `json:"door,omitzero"`
	// Fault is why the service, which was woken, has no instance after all; "" where that isn't known, or there is one.
	Fault string `json:"fault,omitempty"`
}

// Instance is one that takes requests.
type Instance struct {
	ID      string         `json:"id"`
	Release int            `json:"release"`
	At      netip.AddrPort `json:"at"`
}

// Certificate is what files on the machine held.
type Certificate struct {
	Ingress string `json:"ingress"`
	Host    string `json:"host"`
	Chain   []byte `json:"chain,omitempty"` // PEM
	Key     []byte `json:"key,omitempty"`   // PEM
	// Fault is why the files couldn't be read; Chain and Key are then those of before. Without these, a front that has any of
	// the host goes on with that.
	Fault string `json:"fault,omitempty"`
}

// From returns what a front does in a state, but for certificates from files. The routes are those of the releases that have
// services' traffic: those that are rolled out get theirs with it.
func From(s *imx.State) Config {
	c := Config{Pools: map[string]Pool{}, Managed: map[string][]string{}}
	for _, name := range slices.Sorted(maps.Keys(s.Ingresses)) {
		c.Ingresses = append(c.Ingresses, s.Ingresses[name])
	}
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		v := s.Services[name]
		current, ok := v.Release(v.Current)
		if !ok || v.Destroyed {
			continue
		}
		for _, r := range current.Spec.Routes {
			in, ok := s.Ingresses[r.Ingress]
			if !ok {
				continue
			}
			key := name + "/" + r.Port
			c.Routes = append(c.Routes, Route{Route: r, Service: name, Release: v.Current, Pool: key})
			c.Pools[key] = pool(s, v, r.Port).asleep(s, v, current, r.Port)
			if in.ACME != nil && !hasFile(in, r.Host) && !slices.Contains(c.Managed[in.Name], r.Host) {
				c.Managed[in.Name] = append(c.Managed[in.Name], r.Host)
			}
		}
	}
	for _, hosts := range c.Managed {
		slices.Sort(hosts)
	}
	return c
}

func hasFile(in imx.Ingress, host string) bool {
	return slices.ContainsFunc(in.Certificates, func(c imx.CertificateFiles) bool { return imx.Covers(c.Host, host) })
}

// pool is what a service's port leads to: the healthy instances of the releases that have traffic or, if there is none, those
// that were healthy once: a failing check must not take the last one away.
func pool(s *imx.State, v imx.Service, port string) Pool {
	p := Pool{Weights: v.Routes}
	for _, phase := range []imx.Phase{imx.Healthy, imx.Unhealthy} {
		for _, in := range s.Instances {
			if in.Service != v.Name || in.Phase != phase || v.Routes[in.Release] <= 0 || !in.Address.IsValid() {
				continue
			}
			r, _ := v.Release(in.Release)
			if n := number(r.Spec, port); n != 0 {
				p.Instances = append(p.Instances, Instance{in.ID, in.Release, netip.AddrPortFrom(in.Address, n)})
			}
		}
		if len(p.Instances) > 0 {
			break
		}
	}
	slices.SortFunc(p.Instances, func(a, b Instance) int { return cmp.Compare(a.ID, b.ID) })
	return p
}

// asleep is a pool of a service, with what wakes that if it goes to sleep by itself.
func (p Pool) asleep(s *imx.State, v imx.Service, current imx.Release, port string) Pool {
	n := number(current.Spec, port)
	if n == 0 || !current.Spec.Sleeps() || !v.SizesItself() || !current.Address.IsValid() {
		return p
	}
	p.Door = netip.AddrPortFrom(current.Address, n)
	if len(p.Instances) > 0 || v.Replicas == 0 {
		return p
	}
	var last imx.Instance
	for _, in := range s.Instances {
		crashed := in.Service == v.Name && in.Release == v.Current && in.Phase == imx.Ended && (in.Exit == nil || !in.Exit.Wanted)
		if crashed && in.Ended.After(v.Sizing.Since) && in.Ended.After(last.Ended) {
			last = in
		}
	}
	if last.ID != "" {
		p.Fault = last.ID + " ended: " + cmp.Or(last.Reason, "nobody knows why")
	}
	return p
}

func number(s imx.Spec, port string) uint16 {
	for _, p := range s.Ports {
		if p.Name == port && p.Container > 0 && p.Container < 1<<16 {
			return uint16(p.Container)
		}
	}
	return 0
}

// Addresses are those of the instances that take requests.
func (c Config) Addresses() map[netip.Addr]int {
	all := map[netip.Addr]int{}
	for _, p := range c.Pools {
		for _, in := range p.Instances {
			all[in.At.Addr()] = 1
		}
	}
	return all
}
