// These tests are here because production believes an offer: that staging never states what doesn't run there, tells nobody what they may not
// have, and that nothing but what staging just signed counts.
package offer_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/blob"
	"imx/internal/grant"
	"imx/internal/offer"
	"imx/internal/registry"
	"imx/internal/sign"
	"imx/internal/statement"
)

const asked = "0123456789abcdef0123456789abcdef"

func noon() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// world is a server of staging that runs web and db of one plan since an hour before noon, with a real registry.
type world struct {
	state    *imx.State
	plan     imx.Plan
	blobs    *blob.Store
	registry *registry.Registry
	pushed   []imx.ManifestPushed
	private  map[imx.Role]*ecdsa.PrivateKey
	tokens   map[string]imx.RegistryToken
	notes    []imx.RegistryPull
	*offer.Maker
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{private: map[imx.Role]*ecdsa.PrivateKey{}, tokens: map[string]imx.RegistryToken{}}
	w.blobs = must(blob.Open(filepath.Join(t.TempDir(), "blobs")))(t)
	w.registry = must(registry.New(registry.Config{Dir: t.TempDir(), Blobs: w.blobs, Pushed: func(_ context.Context, p imx.ManifestPushed) error {
		w.pushed = append(w.pushed, p)
		return nil
	}}))(t)
	w.state = &imx.State{
		Environment: "staging", Services: map[string]imx.Service{}, Instances: map[string]imx.Instance{}, Keys: map[string]imx.Key{},
		Images: map[imx.Digest]imx.Image{}, Evidence: map[imx.Digest]map[string]imx.Evidence{},
	}
	for _, role := range []imx.Role{imx.RoleBuilder, imx.RoleScanner, imx.RoleTester, imx.RoleReleaser} {
		w.private[role] = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
		p := must(sign.PublicOf(w.private[role].Public()))(t)
		w.state.Keys[p.ID] = imx.Key{ID: p.ID, Owner: imx.Server, Role: role, Public: p.Line, From: noon().Add(-24 * time.Hour)}
	}
	w.plan = imx.Plan{
		Images:   []imx.ImagePlan{{Spec: imx.ImageSpec{Name: "web"}}, {Spec: imx.ImageSpec{Name: "team/db"}}},
		Services: []imx.Spec{{Name: "web", Image: "web", Replicas: 2}, {Name: "db", Image: "team/db", Replicas: 1}},
	}
	w.release(t, w.plan)
	w.Maker = offer.New(offer.Config{
		State: func() *imx.State { return w.state }, Read: w.blobs.ReadAll, Size: w.blobs.Size, Keep: w.keep, Sign: w.sign, Now: noon,
		Refer: func(ctx context.Context, repository string, manifest []byte) error {
			_, err := w.registry.Put(ctx, repository, "", manifest, ocispec.MediaTypeImageManifest)
			return err
		},
		Enter: func(context.Context) (func(), error) { return func() {}, nil },
	})
	return w
}

func (w *world) keep(b []byte) (imx.Digest, error) {
	d, _, err := w.blobs.Put(bytes.NewReader(b), imx.DigestBytes(b))
	return d, err
}

func (w *world) sign(predicateType string, payload []byte) ([]byte, string, error) {
	key := w.private[imx.RoleOf(predicateType)]
	p, err := sign.PublicOf(key.Public())
	if err != nil {
		return nil, "", err
	}
	bundle, err := sign.Seal(payload, key)
	return bundle, p.ID, err
}

// release has all services of a plan released anew by it and become good, half an hour after their releases before.
func (w *world) release(t *testing.T, p imx.Plan) {
	t.Helper()
	planned := must(w.keep(must(json.Marshal(p))(t)))(t)
	request := must(w.keep(must(json.Marshal(imx.PlanRequest{Lock: &imx.Lock{}, SkipTests: string(planned)}))(t)))(t)
	for _, spec := range p.Services {
		ip, _ := p.Image(spec.Image)
		v := w.state.Services[spec.Name]
		n := len(v.Releases) + 1
		made := noon().Add(-time.Hour + time.Duration(n-1)*10*time.Minute)
		r := imx.Release{
			Service: spec.Name, Number: n, Image: w.built(t, ip), Config: ip.Spec, Spec: spec, Plan: planned, Request: request,
			Proof: imx.DigestBytes([]byte("proof")), State: imx.ReleaseGood, Made: made,
		}
		v.Name, v.Releases, v.Current, v.Target, v.Replicas, v.Finished = spec.Name, append(v.Releases, r), n, n, spec.Replicas, made
		w.state.Services[spec.Name] = v
		for i := range spec.Replicas {
			id := fmt.Sprintf("%s-%d-%d", spec.Name, n, i)
			w.state.Instances[id] = imx.Instance{ID: id, Service: spec.Name, Release: n, Phase: imx.Healthy}
		}
	}
}

// built is an image of a plan in the registry, with an inventory, and what is stated of it.
func (w *world) built(t *testing.T, ip imx.ImagePlan) imx.Image {
	t.Helper()
	if im, ok := w.state.Images[ip.Digest()]; ok {
		return im
	}
	config := must(w.keep([]byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)))(t)
	raw := must(json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{},
		Config:      ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.Digest(config), Size: must(w.blobs.Size(config))(t)},
		Annotations: map[string]string{"plan": string(ip.Digest())},
	}))(t)
	im := imx.Image{
		Name: ip.Spec.Name, Plan: ip.Digest(), Root: imx.DigestBytes([]byte("root")), Inventory: must(w.keep([]byte("inventory of " + ip.Spec.Name)))(t),
		Digest: must(w.registry.Put(t.Context(), ip.Spec.Name, "", raw, ocispec.MediaTypeImageManifest))(t),
	}
	w.state.Images[im.Plan] = im
	for _, predicateType := range []string{imx.PredicateProvenance, imx.PredicateSPDX, imx.PredicateTest, imx.PredicateScan, imx.PredicateVerdict} {
		w.stated(t, im, predicateType)
	}
	return im
}

func (w *world) stated(t *testing.T, im imx.Image, predicateType string) {
	t.Helper()
	st := must(statement.Make(im.Name, im.Digest, predicateType, map[string]string{"of": im.Name}))(t)
	raw := must(json.Marshal(st))(t)
	bundle, signer, err := w.sign(predicateType, raw)
	if err != nil {
		t.Fatal(err)
	}
	if w.state.Evidence[im.Digest] == nil {
		w.state.Evidence[im.Digest] = map[string]imx.Evidence{}
	}
	w.state.Evidence[im.Digest][predicateType] = imx.Evidence{
		Image: im.Digest, PredicateType: predicateType, Statement: imx.DigestBytes(raw), Manifest: imx.DigestBytes([]byte("manifest" + predicateType)),
		Bundle: imx.DigestBytes(bundle), Signer: signer, Made: noon().Add(-time.Hour),
	}
}

// exported are the keys as production knows them.
func (w *world) exported() map[string]imx.Key {
	keys := map[string]imx.Key{}
	for id, k := range w.state.Keys {
		if len(k.Role.Abroad()) > 0 {
			k.Environment = "staging"
			keys[id] = k
		}
	}
	return keys
}

// token makes a token of the registry's for pulls from some repositories, and returns its secret.
func (w *world) token(t *testing.T, id string, repositories ...string) string {
	t.Helper()
	random := make([]byte, 20)
	_, _ = rand.Read(random)
	made := must(grant.Make(imx.TokenRequest{
		Owner: imx.Principal(id), Rights: []imx.RegistryRight{imx.Pull}, Repositories: repositories, Lasts: imx.Duration(time.Hour),
	}, id, noon(), random))(t)
	w.tokens[id] = made.RegistryToken
	return made.Secret
}
