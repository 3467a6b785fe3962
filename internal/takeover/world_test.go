package takeover_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/admission"
	"imx/internal/archive"
	"imx/internal/blob"
	"imx/internal/build"
	"imx/internal/control"
	"imx/internal/eventlog"
	"imx/internal/evidence"
	"imx/internal/gc"
	"imx/internal/pipeline"
	"imx/internal/provenance"
	"imx/internal/registry"
	"imx/internal/replicate"
	"imx/internal/sign"
	"imx/internal/statement"
	"imx/internal/takeover"
	"imx/internal/template"
	"imx/internal/trial"
)

const staging = "staging"

// server is one with a log, a registry, a builder and keys, all real. Only its engine, its policy and its tests are played.
type server struct {
	*pipeline.Pipeline
	control  *control.Control
	blobs    *blob.Store
	registry *registry.Registry
	evidence *evidence.Store
	keys     map[imx.Role]crypto.Signer
	built    int // images that it built
	tested   int // runs of tests
}

func newServer(t *testing.T) *server {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s := &server{keys: map[imx.Role]crypto.Signer{}}
	log, _, err := eventlog.Open(eventlog.Config{Dir: filepath.Join(dir, "log"), Now: time.Now})
	must(err)
	t.Cleanup(func() { _ = log.Close() })
	ids := 0
	s.control, err = control.Open(control.Config{
		Log: log, Now: time.Now, NewID: func() string { ids++; return fmt.Sprint("id", ids) }, Network: netip.MustParsePrefix("10.0.0.0/24"),
	})
	must(err)
	s.blobs, err = blob.Open(filepath.Join(dir, "blobs"))
	must(err)
	s.registry, err = registry.New(registry.Config{Dir: filepath.Join(dir, "registry"), Blobs: s.blobs})
	must(err)
	debs, err := archive.New(archive.Config{Dir: filepath.Join(dir, "archive"), Blobs: s.blobs})
	must(err)
	builder, err := build.New(build.Config{Dir: filepath.Join(dir, "build"), Blobs: s.blobs})
	must(err)
	s.evidence = evidence.New(evidence.Config{
		Blobs: s.blobs, Keys: func() map[string]imx.Key { return s.control.State().Keys }, Sign: s.sign,
		Refer: func(ctx context.Context, repository string, manifest []byte) error {
			_, err := s.registry.Put(ctx, repository, "", manifest, v1.MediaTypeImageManifest)
			return err
		},
	})
	s.Pipeline = pipeline.New(pipeline.Config{
		Control: s.control, Archive: debs, Builder: builder, Blobs: s.blobs, Architecture: "amd64", Now: time.Now, Judge: yes{},
		Stores: []func() gc.Store{s.registry.Things, builder.Things, s.blobs.Things},
		Publish: func(ctx context.Context, repository, tag string, r build.Result) error {
			_, err := s.registry.Put(ctx, repository, tag, r.Manifest, r.MediaType)
			return err
		},
		Attest: func(context.Context, imx.Principal, provenance.Build, imx.Report) error { s.built++; return nil },
		Test: func(context.Context, imx.Principal, trial.Run, imx.Report) ([]imx.TestResult, error) {
			s.tested++
			return nil, nil
		},
		Tested: func(image, _ imx.Digest) (bool, error) {
			return s.control.State().Evidence[image][imx.PredicateTest].Statement != "", nil
		},
		Scan:    func(context.Context, imx.Principal, imx.Image, imx.Report) {},
		Checked: func(context.Context, imx.Principal, imx.Image, imx.PlanResult) error { return nil },
		Check:   func(context.Context, imx.Template) ([]imx.Finding, error) { return nil, nil },
		Doubted: func(imx.Digest) error { return nil }, Admit: func(context.Context, imx.Release) error { return nil },
	})
	for _, r := range []imx.Role{imx.RoleBuilder, imx.RoleTester, imx.RoleReleaser} {
		s.key(t, r)
	}
	return s
}

// key makes a key of a role for the server.
func (s *server) key(t *testing.T, r imx.Role) imx.Key {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := sign.PublicOf(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	k := imx.Key{ID: public.ID, Public: public.Line, Owner: imx.Server, Role: r}
	s.keys[r] = private
	if err := s.control.Record(imx.Server, imx.KeyAdded{Key: k}); err != nil {
		t.Fatal(err)
	}
	return k
}

// sign signs as the server's keeper of keys does.
func (s *server) sign(predicateType string, payload []byte) (bundle []byte, signer string, err error) {
	private := s.keys[imx.RoleOf(predicateType)]
	public, err := sign.PublicOf(private.Public())
	if err != nil {
		return nil, "", err
	}
	bundle, err = sign.Seal(payload, private)
	return bundle, public.ID, err
}

// knows makes another server's keys of some roles known as an upstream's.
func (s *server) knows(t *testing.T, other *server, roles ...imx.Role) {
	t.Helper()
	u := imx.Upstream{Environment: staging, Address: "http://127.0.0.1:1"}
	var bodies []imx.Body
	for _, k := range other.control.State().Keys {
		for _, r := range roles {
			if k.Role == r {
				k.Environment = staging
				u.Keys, bodies = append(u.Keys, k.ID), append(bodies, imx.KeyAdded{Key: k})
			}
		}
	}
	if err := s.control.Record("root", append(bodies, imx.UpstreamSet{Upstream: u})...); err != nil {
		t.Fatal(err)
	}
}

// yes lets everything through.
type yes struct{}

func (yes) Environment() string { return "production" }

func (yes) Allowed(_ context.Context, _ imx.Principal, drafts []imx.Release, _ []imx.Exception) ([]imx.Verdict, error) {
	all := make([]imx.Verdict, 0, len(drafts))
	for _, r := range drafts {
		all = append(all, imx.Verdict{Service: r.Service, Image: r.Image.Digest, Allowed: true})
	}
	return all, nil
}

func (yes) Release(_ context.Context, r imx.Release, _ ...imx.Exception) (imx.Verdict, error) {
	return imx.Verdict{Service: r.Service, Allowed: true}, nil
}

func (yes) Made(*imx.State, []imx.Release, []imx.Verdict, []imx.Exception) ([]imx.Body, error) {
	return nil, nil
}

func (yes) Pass(context.Context, imx.Release) (admission.Pass, error) { return admission.Pass{}, nil }

const web = `
image "web" {
  command = ["/x"]
  file "/x" {
    content = "x"
    mode    = "0755"
  }
}
service "web" {
  image = image.web
}`

// world has a server of staging that built and offers a plan, and one of production that takes it over.
type world struct {
	there, here *server
	*takeover.Taker
	offer  imx.Offer
	spoil  func(o *imx.Offer)                // changes what is signed
	front  func(h http.Handler) http.Handler // stands before staging's registry
	signer imx.Role
	nonce  string // of the last question
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		there: newServer(t), here: newServer(t), spoil: func(*imx.Offer) {}, front: func(h http.Handler) http.Handler { return h }, signer: imx.RoleReleaser,
	}
	w.here.knows(t, w.there, imx.RoleBuilder, imx.RoleTester, imx.RoleReleaser)
	w.offers(t)
	open := w.there.registry.Behind(registry.Door{
		Tokens: func() map[string]imx.RegistryToken { return nil }, Anonymous: []imx.RegistryRight{imx.Pull}, Now: time.Now,
		Known: func(context.Context) (imx.Principal, bool) { return "", false },
	})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.front(open).ServeHTTP(rw, r) }))
	t.Cleanup(server.Close)
	w.Taker = takeover.New(takeover.Config{
		Control: w.here.control, Pipeline: w.here.Pipeline, Environment: "production", Now: time.Now, Sound: w.here.evidence.Check,
		Ask: w.ask,
		Open: func(imx.Upstream) (from, here replicate.Side, err error) {
			from, err = replicate.Open(server.URL, "", nil)
			return from, replicate.Side{Interface: w.here.registry.Interface(), Name: "of this server"}, err
		},
	})
	go w.rollOut(t.Context())
	return w
}

// rollOut plays the loop that finishes rollouts.
func (w *world) rollOut(ctx context.Context) {
	for {
		changed := w.here.control.Changed()
		for _, v := range w.here.control.State().Services {
			if v.Target != v.Current {
				_ = w.here.control.Record("imx", imx.RolloutFinished{Service: v.Name, Release: v.Target})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// offers builds the plan in staging, and keeps what is stated of it and what goes with its offer.
func (w *world) offers(t *testing.T) {
	t.Helper()
	tmpl, ds := template.Parse(fstest.MapFS{"t.imx.hcl": {Data: []byte(web)}})
	if err := ds.Err(); err != nil {
		t.Fatal(err)
	}
	result, err := w.there.Build(t.Context(), "ada", imx.PlanRequest{Template: tmpl}, func(imx.Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	request, err := json.Marshal(imx.PlanRequest{Template: tmpl, Lock: &result.Plan.Lock, SkipTests: "in a hurry"})
	if err != nil {
		t.Fatal(err)
	}
	im := result.Images[0]
	w.offer = imx.Offer{
		Environment: staging, Plan: result.Plan.Digest, Request: imx.DigestBytes(request),
		Services: []imx.Serving{{Service: "web", Release: 3, Image: im.Digest, Since: time.Now().Add(-time.Hour).UTC()}},
	}
	planned, err := json.Marshal(result.Plan.Plan)
	if err != nil {
		t.Fatal(err)
	}
	inventory, err := w.there.blobs.ReadAll(im.Inventory, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	offering := imx.Offering{Image: im, Artifact: w.there.artifact(t, im, map[string][]byte{
		imx.MediaPlan: planned, imx.MediaRequest: request, imx.MediaInventory: inventory,
	})}
	for _, kind := range slices.Sorted(slices.Values([]string{imx.PredicateProvenance, imx.PredicateSPDX, imx.PredicateCycloneDX, imx.PredicateTest})) {
		offering.Evidence = append(offering.Evidence, w.there.states(t, im, kind))
	}
	w.offer.Images = []imx.Offering{offering}
}

// artifact keeps documents beside an image.
func (s *server) artifact(t *testing.T, im imx.Image, documents map[string][]byte) imx.Digest {
	t.Helper()
	put := func(mediaType string, b []byte) v1.Descriptor {
		d, _, err := s.blobs.Put(bytes.NewReader(b), "")
		if err != nil {
			t.Fatal(err)
		}
		return v1.Descriptor{MediaType: mediaType, Digest: digest.Digest(d), Size: int64(len(b))}
	}
	raw, err := s.blobs.ReadAll(im.Digest, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	subject := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.Digest(im.Digest), Size: int64(len(raw))}
	m := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, ArtifactType: imx.ArtifactPlan,
		Config: put(v1.MediaTypeEmptyJSON, []byte("{}")), Subject: &subject,
	}
	for _, mediaType := range []string{imx.MediaPlan, imx.MediaRequest, imx.MediaInventory, "text/plain"} {
		if b, ok := documents[mediaType]; ok {
			m.Layers = append(m.Layers, put(mediaType, b))
		}
	}
	raw, err = json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.registry.Put(t.Context(), im.Name, "", raw, v1.MediaTypeImageManifest)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// states keeps a statement about an image.
func (s *server) states(t *testing.T, im imx.Image, kind string) imx.Evidence {
	t.Helper()
	st, err := statement.Make(im.Name, im.Digest, kind, map[string]string{"says": kind})
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.evidence.Keep(t.Context(), im.Name, im.Digest, st)
	if err == nil {
		e.Summary = "says " + imx.PredicateNames()[kind]
		e, err = s.control.AddEvidence("root", e)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// ask answers as staging does, with what is spoiled of it signed as well.
func (w *world) ask(_ context.Context, _ imx.Upstream, _, nonce string) ([]byte, error) {
	o := w.offer
	o.Asked, o.At, w.nonce = nonce, time.Now().UTC(), nonce
	w.spoil(&o)
	predicate, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	st := imx.Statement{Type: imx.StatementType, PredicateType: imx.PredicateOffer, Predicate: predicate}
	st.Subject = append(st.Subject, imx.Subject{Name: "plan", Digest: map[string]string{"sha256": o.Plan.Hex()}})
	for _, im := range o.Images {
		st.Subject = append(st.Subject, imx.Subject{Name: im.Image.Name, Digest: map[string]string{"sha256": im.Image.Digest.Hex()}})
	}
	raw, err := json.Marshal(st)
	if err != nil {
		return nil, err
	}
	return sign.Seal(raw, w.there.keys[w.signer])
}

func (w *world) take(t *testing.T) (imx.ApplyResult, error) {
	t.Helper()
	return w.Take(t.Context(), "bob", imx.TakeoverRequest{Services: []string{"web"}}, func(imx.Progress) {})
}
