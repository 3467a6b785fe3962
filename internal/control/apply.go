package control

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"imx"
)

// Begin opens an apply and returns its id. Only one is open at a time: a second gets a Conflict
// that names who holds it and since when.
func (c *Control) Begin(by imx.Principal, plan imx.Digest, source imx.Source) (string, error) {
	return decide(c, by, func(s *imx.State) (string, []imx.Body, error) {
		if a := s.Apply; a != nil {
			return "", nil, imx.Errorf(imx.Conflict, "apply %s, begun by %s at %s, isn't finished",
				a.Apply, s.ApplyBy, s.ApplyAt.Format(time.RFC3339)).
				WithHint("wait for it, or end it where it runs; imx log -f shows how far it is")
		}
		id, err := c.newID(s)
		return id, []imx.Body{imx.ApplyStarted{Apply: id, Plan: plan, Source: source}}, err
	})
}

// newID returns an id that no release was made by: `imx why` finds a release's apply by it.
func (c *Control) newID(s *imx.State) (string, error) {
	used := map[string]bool{}
	for _, v := range s.Services {
		for _, r := range v.Releases {
			used[r.Apply] = true
		}
	}
	const tries = 100
	for range tries {
		if id := c.cfg.NewID(); !used[id] {
			return id, nil
		}
	}
	return "", imx.Errorf(imx.Internal, "no new id for an apply was found in %d tries", tries)
}

// Fail closes an apply that released nothing.
func (c *Control) Fail(by imx.Principal, apply string, cause error) error {
	e := imx.AsError(cause)
	if errors.Is(cause, context.Canceled) {
		e = imx.Errorf(imx.Unavailable, "%s went away before anything was released", by).WithHint("apply again: what was built is kept")
	}
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
	Proof      imx.Digest // imx.Release.Proof
	Request    imx.Digest // imx.Release.Request
	Source     imx.Source
	Candidates []Candidate
	Ingresses  []imx.Ingress
	Expect     imx.Digest // the Base that the plan was shown with; "" expects nothing
	// For is who brought the plan, where that isn't who releases it: a candidate's. "" means who releases it.
	For imx.Principal
	// Candidate is the id of what is released, which must still be open; "" for what doesn't wait.
	Candidate string
	// Origin is imx.Release.Origin: what was planned elsewhere keeps the number of instances that services have here.
	Origin *imx.Origin
	// Judged says whether what was judged is still what is released, in the state of the moment in which that is, and returns the
	// events that tell by which verdicts. Without it Promote makes no release. It must not ask the Control anything.
	Judged func(s *imx.State, releases []imx.Release) ([]imx.Body, error)
}

// names are those of the services that the promotion is about.
func (p Promotion) names() []string {
	names := make([]string, 0, len(p.Candidates))
	for _, cand := range p.Candidates {
		names = append(names, cand.Spec.Name)
	}
	return names
}

// Expect returns a Conflict if services no longer stand where they did when a plan was shown with
// a Base. An empty one expects nothing.
func Expect(s *imx.State, services []string, base imx.Digest) error {
	if base == "" || s.Base(services) == base {
		return nil
	}
	return errMoved()
}

func errMoved() error {
	return imx.Errorf(imx.Conflict, "what runs has changed since this plan was made: somebody applied, scaled, rolled back or destroyed in between, or a rollout failed").
		WithHint("plan again: imx apply shows what would change now")
}

// Draft returns the releases that Promote would make now, without making them: those of
// services where anything but the number of instances changes.
func (c *Control) Draft(by imx.Principal, p Promotion) ([]imx.Release, error) {
	s := c.State()
	body, err := c.promotion(s, by, p)
	return body.Releases, err
}

// Promote closes an apply: all its releases come into being in one event.
// Errors: Conflict where a release would be made that wasn't judged, or of a service that is held, where two services would publish one port, or where services no longer stand as
// expected; Exhausted without addresses left.
func (c *Control) Promote(by imx.Principal, p Promotion) ([]imx.Release, error) {
	return decide(c, by, func(s *imx.State) ([]imx.Release, []imx.Body, error) {
		body, err := c.promotion(s, by, p)
		if err != nil {
			return nil, nil, err
		}
		if p.Candidate != "" {
			if _, err := OpenCandidate(s, p.Candidate); err != nil {
				return nil, nil, err
			}
		}
		var verdicts []imx.Body
		if len(body.Releases) > 0 {
			if p.Judged == nil {
				return nil, nil, imx.Errorf(imx.Refused, "nothing is released that wasn't judged")
			}
			if verdicts, err = p.Judged(s, body.Releases); err != nil {
				return nil, nil, err
			}
		}
		return body.Releases, slices.Concat([]imx.Body{body}, verdicts, settled(s, p, body)), nil
	})
}

func (c *Control) promotion(s *imx.State, by imx.Principal, p Promotion) (imx.Applied, error) {
	body := imx.Applied{Apply: p.Apply, Replicas: map[string]int{}}
	if err := Expect(s, p.names(), p.Expect); err != nil {
		return body, err
	}
	coming := map[string]imx.Spec{}
	for _, cand := range p.Candidates {
		coming[cand.Spec.Name] = cand.Spec
	}
	if err := ports(s, coming, p.Ingresses...); err != nil {
		return body, err
	}
	if err := entrances(s, coming, p.Ingresses...); err != nil {
		return body, err
	}
	body.Ingresses = otherIngresses(s, p.Ingresses)
	addresses, err := addresses(s, c.cfg.Network, p.Candidates)
	if err != nil {
		return body, err
	}
	for _, cand := range p.Candidates {
		v := s.Services[cand.Spec.Name]
		if p.Origin != nil {
			cand.Spec = v.Keeping(cand.Spec)
		}
		r := imx.Release{
			Service: cand.Spec.Name, Number: len(v.Releases) + 1, Image: cand.Image, Config: cand.Config,
			Spec: cand.Spec, Address: addresses[cand.Spec.Name], Hosts: cand.Spec.Hosts(addresses),
			Plan: p.Plan, Proof: p.Proof, Request: p.Request, Source: p.Source, Candidate: p.Candidate, Origin: p.Origin, Apply: p.Apply, By: cmp.Or(p.For, by), Made: c.cfg.Now().UTC(), State: imx.ReleasePending,
		}
		if n := len(v.Releases); n > 0 {
			r.Number = v.Releases[n-1].Number + 1
		}
		current, ok := v.Release(v.Target)
		another := v.Destroyed || !ok || content(current) != content(r)
		if n := v.ReplicasBy(cand.Spec, another); v.Replicas != n || v.Destroyed {
			body.Replicas[cand.Spec.Name] = n
		}
		if another {
			if err := held(v, r); err != nil {
				return body, err
			}
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

// CheckPorts says whether services and ingresses like these could get their ports and routes, as far as other
// services and ingresses are concerned. Errors: Conflict naming both, and the port or the route.
func (c *Control) CheckPorts(specs []imx.Spec, ingresses []imx.Ingress) error {
	coming, s := map[string]imx.Spec{}, c.State()
	for _, spec := range specs {
		coming[spec.Name] = spec
	}
	if err := ports(s, coming, ingresses...); err != nil {
		return err
	}
	return entrances(s, coming, ingresses...)
}

// ports refuses a port of the machine that two services would publish, or an ingress too, with some services about
// to get new targets, and some ingresses to be otherwise.
func ports(s *imx.State, coming map[string]imx.Spec, ingresses ...imx.Ingress) error {
	specs := publishers(s, coming)
	owner := map[int]string{}
	doors, err := listeners(s, ingresses)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		for _, p := range specs[name] {
			if p.Publish == 0 {
				continue
			}
			if in, taken := doors[p.Publish]; taken {
				return imx.Errorf(imx.Conflict, "service %s would publish port %d, on which ingress %s listens", name, p.Publish, in).
					WithHint("leave publish out and give the service a route of that ingress, or give one of them another port")
			}
			if other, taken := owner[p.Publish]; taken && other != name {
				return imx.Errorf(imx.Conflict, "services %s and %s would both publish port %d", other, name, p.Publish).
					WithHint("give one of them another publish port, or destroy the one that is no longer wanted; " +
						"to move the port, first apply without it in the one, then with it in the other")
			}
			owner[p.Publish] = name
		}
	}
	return nil
}

// publishers returns the ports of every service, with its preview's: those of its target and those of its current
// release, which it goes back to if the target fails.
func publishers(s *imx.State, coming map[string]imx.Spec) map[string][]imx.Port {
	list := map[string][]imx.Port{}
	for name, v := range s.Services {
		if v.Destroyed {
			continue
		}
		current, _ := v.Release(v.Current)
		list[name] = outside(current.Spec)
		if _, replaced := coming[name]; !replaced {
			target, _ := v.Release(v.Target)
			list[name] = append(list[name], outside(target.Spec)...)
		}
	}
	for name, spec := range coming {
		list[name] = append(list[name], outside(spec)...)
	}
	return list
}

// outside are a service's ports, and that of its preview.
func outside(s imx.Spec) []imx.Port {
	list := slices.Clone(s.Ports)
	if preview := s.How().Preview; preview != 0 {
		list = append(list, imx.Port{Name: "preview", Publish: preview})
	}
	return list
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
