package control

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"imx"
)

// Begin opens an apply and returns its id. Only one is open at a time: a second gets a Conflict
// that names who holds it and since when.
func (c *Control) Begin(by imx.Principal, plan imx.Digest, source imx.Source) (string, error) {
	return decide(c, func(s *imx.State) (string, []imx.Body, error) {
		if a := s.Apply; a != nil {
			return "", nil, imx.Errorf(imx.Conflict, "apply %s, begun by %s at %s, isn't finished",
				a.Apply, s.ApplyBy, s.ApplyAt.Format(time.RFC3339)).
				WithHint("wait for it, or end it where it runs; imx log -f shows how far it is")
		}
		id := c.cfg.NewID()
		return id, []imx.Body{imx.ApplyStarted{Apply: id, Plan: plan, Source: source}}, nil
	}, by)
}

// Fail closes an apply that released nothing.
func (c *Control) Fail(by imx.Principal, apply string, cause error) error {
	e := imx.AsError(cause)
	e.Diagnostics = nil // they are the caller's to show; the log keeps what happened
	return c.Record(by, imx.ApplyFailed{Apply: apply, Error: e})
}

// Candidate is a planned service with the image that was built for it.
type Candidate struct {
	Spec   imx.Spec
	Image  imx.Image
	Config imx.ImageSpec
}

// Promotion is what an apply would release.
type Promotion struct {
	Apply      string
	Plan       imx.Digest
	Source     imx.Source
	Candidates []Candidate
}

// Draft returns the releases that Promote would make now, without making them: those of
// services where anything but the number of instances changes.
func (c *Control) Draft(by imx.Principal, p Promotion) ([]imx.Release, error) {
	s := c.State()
	body, err := c.promotion(s, by, p)
	return body.Releases, err
}

// Promote closes an apply: all its releases come into being in one event.
// Errors: Conflict where two services would publish one port; Exhausted without addresses left.
func (c *Control) Promote(by imx.Principal, p Promotion) ([]imx.Release, error) {
	return decide(c, func(s *imx.State) ([]imx.Release, []imx.Body, error) {
		body, err := c.promotion(s, by, p)
		if err != nil {
			return nil, nil, err
		}
		return body.Releases, []imx.Body{body}, nil
	}, by)
}

func (c *Control) promotion(s *imx.State, by imx.Principal, p Promotion) (imx.Applied, error) {
	body := imx.Applied{Apply: p.Apply, Replicas: map[string]int{}}
	if err := ports(s, p.Candidates); err != nil {
		return body, err
	}
	addresses, err := addresses(s, c.cfg.Network, p.Candidates)
	if err != nil {
		return body, err
	}
	for _, cand := range p.Candidates {
		v := s.Services[cand.Spec.Name]
		r := imx.Release{
			Service: cand.Spec.Name, Number: len(v.Releases) + 1, Image: cand.Image, Config: cand.Config,
			Spec: cand.Spec, Address: addresses[cand.Spec.Name], Hosts: hosts(cand.Spec, addresses),
			Plan: p.Plan, Source: p.Source, Apply: p.Apply, By: by, Made: c.cfg.Now().UTC(), State: imx.ReleasePending,
		}
		if n := len(v.Releases); n > 0 {
			r.Number = v.Releases[n-1].Number + 1
		}
		if v.Replicas != cand.Spec.Replicas || v.Destroyed {
			body.Replicas[cand.Spec.Name] = cand.Spec.Replicas
		}
		if current, ok := v.Release(v.Target); v.Destroyed || !ok || content(current) != content(r) {
			body.Releases = append(body.Releases, r)
		}
	}
	return body, nil
}

// content names what makes two releases different: all that an instance can notice.
func content(r imx.Release) imx.Digest {
	r.Spec.Replicas = 0
	return imx.DigestJSON(struct {
		Image  imx.Digest
		Config imx.ImageSpec
		Spec   imx.Spec
		Hosts  []imx.Host
	}{r.Image.Digest, r.Config, r.Spec, r.Hosts})
}

// ports refuses a port of the machine that two services would publish.
func ports(s *imx.State, candidates []Candidate) error {
	specs := map[string]imx.Spec{}
	for name, v := range s.Services {
		if r, ok := v.Release(v.Target); ok && !v.Destroyed {
			specs[name] = r.Spec
		}
	}
	for _, cand := range candidates {
		specs[cand.Spec.Name] = cand.Spec
	}
	owner := map[int]string{}
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		for _, p := range specs[name].Ports {
			if p.Publish == 0 {
				continue
			}
			if other, taken := owner[p.Publish]; taken && other != name {
				return imx.Errorf(imx.Conflict, "services %s and %s would both publish port %d", other, name, p.Publish).
					WithHint("give one of them another publish port, or destroy the one that is no longer wanted")
			}
			owner[p.Publish] = name
		}
	}
	return nil
}

// addresses returns the stable address of every service: those that have one keep it, also while
// destroyed, and new ones get the lowest that is free in the network's lower half.
func addresses(s *imx.State, network netip.Prefix, candidates []Candidate) (map[string]netip.Addr, error) {
	result, taken := map[string]netip.Addr{}, map[netip.Addr]bool{}
	for name, v := range s.Services {
		result[name], taken[v.Address] = v.Address, true
	}
	lower := netip.PrefixFrom(network.Masked().Addr(), network.Bits()+1)
	next := lower.Addr().Next() // the first address of a network is best left alone
	for _, cand := range candidates {
		if result[cand.Spec.Name].IsValid() {
			continue
		}
		for taken[next] {
			next = next.Next()
		}
		if !lower.Contains(next) {
			return nil, imx.Errorf(imx.Exhausted, "no service address is left in %s", lower).
				WithHint("start the server with a larger --network")
		}
		result[cand.Spec.Name], taken[next] = next, true
	}
	return result, nil
}

// hosts are the names that a service's instances can use: itself and what it connects to.
func hosts(spec imx.Spec, addresses map[string]netip.Addr) []imx.Host {
	names := []string{spec.Name}
	for _, p := range spec.Connect {
		names = append(names, p.Service)
	}
	slices.Sort(names)
	var list []imx.Host
	for _, name := range slices.Compact(names) {
		if a, ok := addresses[name]; ok {
			list = append(list, imx.Host{Name: name, Address: a})
		}
	}
	return list
}
