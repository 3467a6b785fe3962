package offer

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
)

// The bounds of what is read: a plan's and a manifest's bytes. A plan of 100 images has some 2 MB.
const (
	maxPlan     = 64 << 20
	maxManifest = 4 << 20
)

// Config is what a Maker needs. Kept things are by their digest.
type Config struct {
	State func() *imx.State
	Read  func(d imx.Digest, most int64) ([]byte, error)
	Size  func(d imx.Digest) (int64, error)
	Keep  func(b []byte) (imx.Digest, error)
	// Refer puts a manifest whose blobs are kept into a repository of the registry. What is there stays.
	Refer func(ctx context.Context, repository string, manifest []byte) error
	Sign  func(predicateType string, payload []byte) (bundle []byte, signer string, err error)
	// Enter keeps what is found from being collected until leave is called.
	Enter func(ctx context.Context) (leave func(), err error)
	Now   func() time.Time
}

// Maker makes offers. Its methods may be called from several goroutines at once.
type Maker struct {
	cfg Config
}

// New returns a Maker. It starts nothing.
func New(cfg Config) *Maker { return &Maker{cfg} }

// Query asks for an offer.
type Query struct {
	Service string // whose plan is meant; "" means the one that there is
	Asked   string // what who asks made up: CheckAsked
	// May reports whether who asks may pull from a repository; nil means from all.
	May func(repository string) bool
}

// May reports whether somebody may take over anything of what runs, as far as that is known without reading plans.
func (m *Maker) May(may func(repository string) bool) bool {
	s := m.cfg.State()
	return len(visible(s, may)) > 0
}

// Offer returns a signed statement of what runs, a sigstore bundle, and what it says. The plan, what it was made of and the inventories are in the registry
// then, beside each of the images.
// Errors: Invalid for a query that is none; Refused where who asks may not pull all images of the plan, NotFound and Conflict as Choose.
func (m *Maker) Offer(ctx context.Context, q Query) ([]byte, imx.Offer, error) {
	if err := CheckAsked(q.Asked); err != nil {
		return nil, imx.Offer{}, err
	}
	leave, err := m.cfg.Enter(ctx)
	if err != nil {
		return nil, imx.Offer{}, err
	}
	defer leave()
	s, at := m.cfg.State(), m.cfg.Now().UTC() // what is stated holds then; what is to be pushed first may take a while
	made, all, err := m.made(s, q.May)
	if err != nil {
		return nil, imx.Offer{}, err
	}
	if unseen := len(all) < len(visible(s, nil)); q.May != nil && (len(all) == 0 || unseen && q.Service != "" && !slices.Contains(all, q.Service)) {
		return nil, imx.Offer{}, errHidden(q.Service)
	}
	o, err := Choose(s, made, q.Service, all)
	if err != nil {
		return nil, imx.Offer{}, err
	}
	if _, err := m.cfg.Keep(ocispec.DescriptorEmptyJSON.Data); err != nil { // the artifacts' configuration
		return nil, imx.Offer{}, err
	}
	for i := range o.Images {
		if o.Images[i].Artifact, err = m.artifact(ctx, o, o.Images[i].Image); err != nil {
			return nil, imx.Offer{}, err
		}
	}
	o.Asked, o.At = q.Asked, at
	raw, err := payload(o)
	if err != nil {
		return nil, imx.Offer{}, err
	}
	bundle, _, err := m.cfg.Sign(imx.PredicateOffer, raw)
	return bundle, o, err
}

// errHidden tells nobody what runs here that they may not have, nor whether it does.
func errHidden(service string) error {
	what := "what runs here"
	if service != "" {
		what = "service " + service
	}
	return imx.Errorf(imx.Refused, "%s isn't offered to you: you may not pull all images of its plan, or there is none", what).
		WithHint("imx registry token create makes a token that may pull them, on the server that is asked; imx registry token list shows what a token may")
}

// visible are the services that somebody may know of, sorted: the images of which they may pull.
func visible(s *imx.State, may func(repository string) bool) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		v := s.Services[name]
		if v.Destroyed {
			continue
		}
		r, ok := v.Release(v.Current)
		if !ok {
			r, ok = v.Release(v.Target)
		}
		if ok && (may == nil || may(r.Image.Name)) {
			names = append(names, name)
		}
	}
	return names
}

// made reads the plans of the releases that have the traffic, and names the services that somebody may know of: of whose plans they may pull all images.
func (m *Maker) made(s *imx.State, may func(repository string) bool) ([]Made, []string, error) {
	byPlan := map[imx.Digest]Made{}
	var all []string
	for _, name := range visible(s, may) {
		v := s.Services[name]
		r, ok := v.Release(v.Current)
		if !ok || r.Request == "" {
			all = append(all, name)
			continue
		}
		known, ok := byPlan[r.Plan]
		if !ok {
			known.Digest = r.Plan
			if err := m.read(r.Plan, &known.Plan); err != nil {
				return nil, nil, err
			}
		}
		if r.Made.After(known.At) {
			known.Proof, known.Request, known.At = r.Proof, r.Request, r.Made
		}
		byPlan[r.Plan] = known
		if mayAll(known.Plan, may) {
			all = append(all, name)
		}
	}
	made := slices.DeleteFunc(slices.Collect(maps.Values(byPlan)), func(m Made) bool { return !mayAll(m.Plan, may) })
	return made, all, nil
}

func mayAll(p imx.Plan, may func(repository string) bool) bool {
	return may == nil || !slices.ContainsFunc(p.Images, func(ip imx.ImagePlan) bool { return !may(ip.Spec.Name) })
}

// read reads a plan that is kept.
func (m *Maker) read(d imx.Digest, p *imx.Plan) error {
	raw, err := m.cfg.Read(d, maxPlan)
	if err == nil {
		err = json.Unmarshal(raw, p)
	}
	if err != nil {
		return imx.Errorf(imx.KindOf(err), "the plan %s, of which something runs, can't be read: %w", d.Short(), err).
			WithHint("imx registry fsck finds what is damaged; the next release can be taken over: imx apply")
	}
	return nil
}

// artifact puts the plan, what it was made of and an image's inventory beside the image, and returns the digest of the manifest that has them: the same
// for the same ones, so that they are pushed once.
func (m *Maker) artifact(ctx context.Context, o imx.Offer, im imx.Image) (imx.Digest, error) {
	raw, err := m.cfg.Read(im.Digest, maxManifest)
	if err != nil {
		return "", err
	}
	subject := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(im.Digest), Size: int64(len(raw))}
	var said struct {
		MediaType string `json:"mediaType"`
	}
	if err := json.Unmarshal(raw, &said); err != nil {
		return "", imx.Errorf(imx.Internal, "%s is not the manifest of an image: %w", im.Digest, err)
	}
	if said.MediaType != "" {
		subject.MediaType = said.MediaType
	}
	var layers []ocispec.Descriptor
	for _, l := range []struct {
		media string
		d     imx.Digest
	}{{imx.MediaPlan, o.Plan}, {imx.MediaRequest, o.Request}, {imx.MediaInventory, im.Inventory}} {
		if l.d == "" {
			continue // of an image that has no inventory
		}
		size, err := m.cfg.Size(l.d)
		if err != nil {
			return "", err
		}
		layers = append(layers, ocispec.Descriptor{MediaType: l.media, Digest: digest.Digest(l.d), Size: size})
	}
	config := ocispec.DescriptorEmptyJSON
	config.Data = nil
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: imx.ArtifactPlan,
		Config: config, Layers: layers, Subject: &subject,
	})
	if err != nil {
		return "", err
	}
	return imx.DigestBytes(manifest), m.cfg.Refer(ctx, im.Name, manifest)
}
