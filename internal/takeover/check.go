package takeover

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cuelabs.dev/go/oci/ociregistry"

	"imx"
	"imx/internal/pipeline"
	"imx/internal/sign"
)

// What is taken over at most: more than a plan, and what belongs to it, ever has.
const (
	maxImages    = 200
	maxLayers    = 500
	maxImage     = 64 << 30  // bytes of an image's layers
	maxEvidence  = 32        // of one image
	maxPlan      = 64 << 20  // bytes
	maxRequest   = 64 << 20  // bytes; as of a kept request
	maxInventory = 256 << 20 // bytes; as of one that is read
	maxConfig    = 4 << 20   // bytes of an image's configuration
)

// document is what of a manifest is asked for here.
type document struct {
	ArtifactType string                   `json:"artifactType"`
	Config       ociregistry.Descriptor   `json:"config"`
	Layers       []ociregistry.Descriptor `json:"layers"`
	Subject      *ociregistry.Descriptor  `json:"subject"`
}

// lacking is the error of what comes and isn't what the signed offer says.
func lacking(o imx.Offer, format string, args ...any) error {
	return imx.Errorf(imx.Refused, "%s offers what doesn't fit together: %s", o.Environment, fmt.Sprintf(format, args...)).
		WithHint("nothing of it was released; both servers need the same version of imx: imx version. imx registry fsck looks for damage there")
}

// Covers says what is wrong with an offer that counts: that it isn't of all of some services, or of more than is taken over. Errors: Conflict; Refused.
func Covers(o imx.Offer, services []string) error {
	for _, im := range o.Images {
		if len(im.Evidence) > maxEvidence {
			return lacking(o, "%d statements about the image %s", len(im.Evidence), im.Image.Name)
		}
	}
	if len(o.Images) > maxImages {
		return lacking(o, "%d images", len(o.Images))
	}
	var has []string
	for _, s := range o.Services {
		has = append(has, s.Service)
	}
	for _, name := range services {
		if !slices.Contains(has, name) {
			return imx.Errorf(imx.Conflict, "service %s isn't of the plan that %s offers with %s", name, o.Environment, services[0]).
				WithHint("that plan has %s: what was planned together is promoted together; promote %s by itself", strings.Join(has, ", "), name)
		}
	}
	return nil
}

// image says what is wrong with an image's manifest, whose bytes are those of its digest.
func image(o imx.Offer, im imx.Image, raw []byte) error {
	d, err := read(o, im.Name, raw)
	if err != nil {
		return err
	}
	var size int64
	for _, l := range d.Layers {
		if l.Size < 0 || l.Size > int64(im.Size) {
			return lacking(o, "the image %s has a layer of %d bytes, and %d in all", im.Name, l.Size, int64(im.Size))
		}
		size += l.Size
	}
	switch {
	case len(d.Layers) == 0 || len(d.Layers) > maxLayers || size > maxImage:
		return lacking(o, "the image %s has %d layers of %d bytes", im.Name, len(d.Layers), size)
	case size != int64(im.Size):
		return lacking(o, "the image %s has %d bytes, and its manifest says %d", im.Name, int64(im.Size), size)
	case d.Config.Size < 0 || d.Config.Size > maxConfig:
		return lacking(o, "the image %s has a configuration of %d bytes", im.Name, d.Config.Size)
	case d.Subject != nil:
		return lacking(o, "%s is no image: it says something of another", im.Name)
	}
	return nil
}

// parts are where the documents of a plan are.
type parts struct {
	plan, request ociregistry.Descriptor
}

// artifact says where an image's plan and request are. It has nothing else than the image's inventory, and all are those of the signed offer.
func artifact(o imx.Offer, offering imx.Offering, raw []byte) (parts, error) {
	var found parts
	im := offering.Image
	d, err := read(o, "the plan's artifact of "+im.Name, raw)
	if err != nil {
		return found, err
	}
	if d.ArtifactType != imx.ArtifactPlan || d.Subject == nil || imx.Digest(d.Subject.Digest) != im.Digest {
		return found, lacking(o, "%s isn't the artifact that has the plan of the image %s", offering.Artifact, im.Name)
	}
	want := map[string]struct {
		digest imx.Digest
		most   int64
		into   *ociregistry.Descriptor
	}{
		imx.MediaPlan: {o.Plan, maxPlan, &found.plan}, imx.MediaRequest: {o.Request, maxRequest, &found.request},
	}
	if im.Inventory != "" {
		want[imx.MediaInventory] = struct {
			digest imx.Digest
			most   int64
			into   *ociregistry.Descriptor
		}{im.Inventory, maxInventory, new(ociregistry.Descriptor)}
	}
	for _, l := range d.Layers {
		w, ok := want[l.MediaType]
		switch {
		case !ok:
			return found, lacking(o, "the artifact of the image %s has a layer of type %.80q too much", im.Name, l.MediaType)
		case imx.Digest(l.Digest) != w.digest:
			return found, lacking(o, "the artifact of the image %s has %s as %s, and the offer says %s", im.Name, l.Digest, l.MediaType, w.digest)
		case l.Size <= 0 || l.Size > w.most:
			return found, lacking(o, "the artifact of the image %s has %d bytes as %s", im.Name, l.Size, l.MediaType)
		}
		*w.into = l
		delete(want, l.MediaType)
	}
	if len(want) > 0 || d.Config.Size < 0 || d.Config.Size > maxConfig {
		return found, lacking(o, "the artifact of the image %s doesn't have all of plan, request and inventory", im.Name)
	}
	return found, nil
}

// stated says what is wrong with the manifest of a statement about an image.
func stated(o imx.Offer, im imx.Image, e imx.Evidence, raw []byte) error {
	d, err := read(o, "what is stated of "+im.Name, raw)
	switch {
	case err != nil:
		return err
	case e.Image != im.Digest || d.Subject == nil || imx.Digest(d.Subject.Digest) != im.Digest:
		return lacking(o, "the statement %s isn't about the image %s", e.Statement.Short(), im.Name)
	case len(d.Layers) != 1 || imx.Digest(d.Layers[0].Digest) != e.Bundle || d.Layers[0].Size < 0 || d.Layers[0].Size > sign.MaxBundle ||
		d.Config.Size < 0 || d.Config.Size > maxConfig:
		return lacking(o, "the statement %s about the image %s doesn't have the bytes that the offer names", e.Statement.Short(), im.Name)
	}
	return nil
}

func read(o imx.Offer, what string, raw []byte) (document, error) {
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		return d, lacking(o, "the manifest of %s can't be read: %v", what, err)
	}
	return d, nil
}

// Plan reads an offer's plan, whose bytes are those of its digest, and returns it with its images, in its order. Errors: Refused where it isn't the plan of
// the offer's services and images.
func Plan(o imx.Offer, raw []byte) (imx.Plan, []imx.Image, error) {
	var p imx.Plan
	if err := json.Unmarshal(raw, &p); err != nil {
		return p, nil, lacking(o, "its plan can't be read: %v", err)
	}
	if p.Digest() != o.Plan {
		return p, nil, lacking(o, "its plan has what this imx doesn't know")
	}
	if len(p.Images) != len(o.Images) || len(p.Services) != len(o.Services) {
		return p, nil, lacking(o, "its plan has %d images and %d services, and the offer %d and %d", len(p.Images), len(p.Services), len(o.Images), len(o.Services))
	}
	images := make([]imx.Image, 0, len(p.Images))
	for i, ip := range p.Images {
		im := o.Images[i].Image
		if im.Name != ip.Spec.Name || im.Plan != ip.Digest() {
			return p, nil, lacking(o, "image %d is %s of the plan %s, and in the plan %s of %s", i+1, im.Name, im.Plan.Short(), ip.Spec.Name, ip.Digest().Short())
		}
		images = append(images, im)
	}
	for _, s := range o.Services {
		if err := serves(o, p, s); err != nil {
			return p, nil, err
		}
	}
	return p, images, nil
}

// serves makes sure that a service runs the image that the plan gives it.
func serves(o imx.Offer, p imx.Plan, s imx.Serving) error {
	i := slices.IndexFunc(p.Services, func(spec imx.Spec) bool { return spec.Name == s.Service })
	if i < 0 {
		return lacking(o, "service %s isn't in its plan", s.Service)
	}
	for _, im := range o.Images {
		if im.Image.Name == p.Services[i].Image && im.Image.Digest == s.Image {
			return nil
		}
	}
	return lacking(o, "service %s runs %s, and not the image %s of its plan", s.Service, s.Image, p.Services[i].Image)
}

// Request reads what an offer's plan was made of, as it is asked for here. Errors: Refused.
func Request(o imx.Offer, raw []byte) (imx.PlanRequest, error) {
	req, err := pipeline.UnpackRequest(raw)
	if err != nil {
		return req, lacking(o, "what its plan was made of can't be read: %v", err)
	}
	if req.Lock == nil {
		return req, lacking(o, "what its plan was made of has no lock")
	}
	req.Expect, req.SkipTests, req.Update = "", "", false
	return req, nil
}

// vouched are the types of statements that count here though another server made them: how an image came to be, what is in it, and how its tests went.
func vouched(predicateType string) bool {
	return slices.Contains(slices.Concat(imx.RoleBuilder.Abroad(), imx.RoleTester.Abroad()), predicateType)
}
