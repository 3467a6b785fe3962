// Package offer states what a server runs for the server of the next environment, which may take it over: which plan, since when, as which images, and
// what is known of these. What it states is signed anew each time, for whoever asks. It decides from values, and asks whoever made it for all else; whether
// to believe an offer is said here too, by Verify.
package offer

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/sign"
)

// Made is a plan that a release was made of which has the traffic of its service.
type Made struct {
	Plan    imx.Plan
	Digest  imx.Digest // of the plan
	Proof   imx.Digest // imx.Release.Proof
	Request imx.Digest // imx.Release.Request
	At      time.Time  // when the newest of these releases was made
}

// Choose returns which of some plans is offered, the newest of those that run: of the plans that have a service or, for "", all of the services. all are the
// services that whoever asks may know of. Errors: NotFound for a service that isn't one of them; Conflict where what runs can't be offered, naming the
// service and why.
func Choose(s *imx.State, made []Made, service string, all []string) (imx.Offer, error) {
	wanted := all
	if service != "" {
		if !slices.Contains(all, service) {
			return imx.Offer{}, imx.Errorf(imx.NotFound, "there is no service %q here that is offered", service).WithHint("imx status lists the services, on the server that is asked")
		}
		wanted = []string{service}
	}
	if len(wanted) == 0 {
		return imx.Offer{}, imx.Errorf(imx.Conflict, "nothing runs here that could be taken over").WithHint("imx apply releases something, on the server that is asked")
	}
	for _, name := range wanted {
		if err := plain(s, name); err != nil {
			return imx.Offer{}, err
		}
	}
	lacks := func(m Made) bool {
		return slices.ContainsFunc(wanted, func(name string) bool { return !slices.Contains(m.Plan.Names(), name) })
	}
	made = slices.DeleteFunc(slices.Clone(made), lacks)
	slices.SortFunc(made, func(a, b Made) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Digest, b.Digest)) })
	var first error
	for _, m := range made {
		o, err := runs(s, m)
		if err == nil {
			return o, nil
		}
		first = cmp.Or(first, err)
	}
	if first == nil {
		first = imx.Errorf(imx.Conflict, "what runs here comes from several plans: services %s", enumerated(wanted)).
			WithHint("name one of the services, whose plan is meant then: imx promote SERVICE")
	}
	return imx.Offer{}, first
}

// plain refuses a service whose plan isn't known. Errors: Conflict.
func plain(s *imx.State, name string) error {
	v := s.Services[name]
	r, ok := v.Release(v.Current)
	switch {
	case !ok:
		return conflict(name, "no release of it was good yet").WithHint("imx status tells how far it is, on the server that is asked")
	case r.Request == "":
		return conflict(name, "its release %d was made before servers kept what releases are made of", r.Number).
			WithHint("its next release can be taken over, on the server that is asked: imx apply")
	}
	return nil
}

// runs returns what is offered of a plan, if it runs. Errors: Conflict.
func runs(s *imx.State, m Made) (imx.Offer, error) {
	o := imx.Offer{Environment: s.Environment, Plan: m.Digest, Proof: m.Proof, Request: m.Request}
	images := map[string]imx.Image{}
	for _, spec := range m.Plan.Services {
		r, err := serves(s, m.Plan, spec)
		if err != nil {
			return imx.Offer{}, err
		}
		if other, ok := images[spec.Image]; ok && other.Digest != r.Image.Digest {
			return imx.Offer{}, conflict(spec.Name, "its release %d has the image %s, and another service of its plan %s", r.Number, r.Image.Digest.Short(), other.Digest.Short()).
				WithHint("imx apply releases both anew, on the server that is asked")
		}
		images[spec.Image] = r.Image
		o.Services = append(o.Services, imx.Serving{Service: spec.Name, Release: r.Number, Image: r.Image.Digest, Since: s.Services[spec.Name].Finished})
	}
	slices.SortFunc(o.Services, func(a, b imx.Serving) int { return cmp.Compare(a.Service, b.Service) })
	for _, ip := range m.Plan.Images {
		im, ok := images[ip.Spec.Name]
		if !ok { // no service has it
			im, ok = s.Images[ip.Digest()]
		}
		if !ok {
			return imx.Offer{}, imx.Errorf(imx.Conflict, "image %s of the plan %s isn't here any more", ip.Spec.Name, m.Digest.Short()).
				WithHint("imx build makes it again, on the server that is asked")
		}
		o.Images = append(o.Images, imx.Offering{Image: im, Evidence: counted(s, im.Digest)})
	}
	return o, nil
}

// serves returns the release of a service that runs what a plan says of it, and is good. Errors: Conflict.
func serves(s *imx.State, p imx.Plan, spec imx.Spec) (imx.Release, error) {
	v, ok := s.Services[spec.Name]
	r, has := v.Release(v.Current)
	ip, _ := p.Image(spec.Image)
	switch {
	case !ok || v.Destroyed:
		return r, conflict(spec.Name, "it was destroyed").WithHint("imx apply brings it back, or releases the others without it, on the server that is asked")
	case v.Target != v.Current:
		return r, conflict(spec.Name, "its release %d is being rolled out", v.Target).WithHint("wait until it is good: imx status tells, on the server that is asked")
	case !has:
		return r, conflict(spec.Name, "no release of it was good yet").WithHint("imx status tells how far it is, on the server that is asked")
	case r.State != imx.ReleaseGood:
		return r, conflict(spec.Name, "its release %d is %s", r.Number, r.State).WithHint("imx releases %s tells why, on the server that is asked", spec.Name)
	case r.Reason != "":
		return r, conflict(spec.Name, "its release %d wasn't tried: %s", r.Number, r.Reason).WithHint("imx scale %s=1 on the server that is asked, then imx apply", spec.Name)
	case r.Image.Plan != ip.Digest() || imx.DigestJSON(r.Config) != imx.DigestJSON(ip.Spec) || otherwise(r.Spec, spec):
		return r, conflict(spec.Name, "its release %d runs something else than the plan %s says", r.Number, p.Digest().Short()).
			WithHint("what it runs comes from another plan: imx apply releases one plan as a whole, on the server that is asked")
	case v.Finished.IsZero():
		return r, conflict(spec.Name, "it isn't known since when its release %d has the traffic", r.Number).WithHint("its next release can be taken over, on the server that is asked: imx apply")
	}
	if v.Replicas == 0 {
		return r, conflict(spec.Name, "none of its instances is wanted").WithHint("imx scale %s=1, on the server that is asked; a connection or a request wakes one that sleeps", spec.Name)
	}
	if healthy := healthyOf(s, r); healthy < v.Replicas {
		return r, conflict(spec.Name, "%d of %d instances are healthy", healthy, v.Replicas).WithHint("imx ps %s tells how they are, on the server that is asked", spec.Name)
	}
	return r, nil
}

// otherwise reports whether two services differ in more than their number of instances.
func otherwise(a, b imx.Spec) bool {
	a.Replicas, b.Replicas = 0, 0
	return imx.DigestJSON(a) != imx.DigestJSON(b)
}

func healthyOf(s *imx.State, r imx.Release) int {
	n := 0
	for _, in := range s.Instances {
		if in.Service == r.Service && in.Release == r.Number && in.Phase == imx.Healthy {
			n++
		}
	}
	return n
}

// counted is what builders and testers state of an image that counts here, the newest of each type, sorted by it.
func counted(s *imx.State, image imx.Digest) []imx.Evidence {
	list := []imx.Evidence{}
	for predicate, e := range s.Evidence[image] {
		if stated(predicate) && sign.Signer(e, s.Keys) == nil {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b imx.Evidence) int { return cmp.Compare(a.PredicateType, b.PredicateType) })
	return list
}

// stated reports whether what is stated in a type of statements goes along with an offer.
func stated(predicate string) bool {
	return slices.Contains(slices.Concat(imx.RoleBuilder.Abroad(), imx.RoleTester.Abroad()), predicate)
}

func conflict(service, format string, args ...any) *imx.Error {
	return imx.Errorf(imx.Conflict, "service %s can't be taken over: %w", service, imx.Errorf(imx.Conflict, format, args...))
}

// enumerated lists names, a number of them.
func enumerated(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + " and more"
	}
	return strings.Join(names, ", ")
}
