package verdict_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/attest"
	"imx/internal/blob"
	"imx/internal/check"
	"imx/internal/control"
	"imx/internal/eventlog"
	"imx/internal/provenance"
	"imx/internal/sign"
	"imx/internal/statement"
	"imx/internal/verdict"
	"imx/internal/vuln"
)

// world has a log, a blob store and keys, all real; what is stated of images is sealed as the server seals it.
type world struct {
	*verdict.Judge
	t       testing.TB
	control *control.Control
	blobs   *blob.Store
	now     time.Time
	drafts  func(c imx.Candidate) []imx.Release // what a candidate would release; nil if it can't be
	keys    map[imx.Principal]crypto.Signer     // of roles and people
}

// staging asks for all but reviews.
const staging = "staging"

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{t: tb, now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), keys: map[imx.Principal]crypto.Signer{}}
	log, _, err := eventlog.Open(eventlog.Config{Dir: filepath.Join(tb.TempDir(), "log"), Now: w.clock})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = log.Close() })
	ids := 0
	w.control, err = control.Open(control.Config{
		Log: log, Now: w.clock, NewID: func() string { ids++; return fmt.Sprintf("id%d", ids) }, Network: netip.MustParsePrefix("10.0.0.0/24"),
	})
	if err == nil {
		w.blobs, err = blob.Open(filepath.Join(tb.TempDir(), "blobs"))
	}
	if err != nil {
		tb.Fatal(err)
	}
	for _, r := range []imx.Role{imx.RoleBuilder, imx.RoleScanner, imx.RoleTester, imx.RoleReleaser} {
		w.key(imx.Principal(r), imx.Key{Owner: imx.Server, Role: r})
	}
	w.Judge = w.judge(staging)
	return w
}

func (w *world) clock() time.Time { return w.now }

func (w *world) judge(environment string) *verdict.Judge {
	w.t.Helper()
	j, err := verdict.New(verdict.Config{
		Control: w.control, Environment: environment, Now: w.clock, Log: slog.New(slog.DiscardHandler), State: w.state,
		Bundle: func(d imx.Digest) ([]byte, error) { return w.blobs.ReadAll(d, 1<<30) },
		Drafts: func(c imx.Candidate) ([]imx.Release, error) {
			if w.drafts == nil {
				return nil, imx.Errorf(imx.Conflict, "candidate %s can't be released any more", c.ID)
			}
			return w.drafts(c), nil
		},
		Find: func(_ context.Context, wanted string) (imx.ImageView, error) {
			if wanted == "image.web" {
				return imx.ImageView{Image: image()}, nil
			}
			return imx.ImageView{}, imx.Errorf(imx.NotFound, "there is no image %q", wanted)
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

func (w *world) record(bodies ...imx.Body) {
	w.t.Helper()
	if err := w.control.Record("root", bodies...); err != nil {
		w.t.Fatal(err)
	}
}

// key makes a key for somebody known.
func (w *world) key(whose imx.Principal, k imx.Key) imx.Key {
	w.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := sign.PublicOf(private.Public())
	if err != nil {
		w.t.Fatal(err)
	}
	k.ID, k.Public = p.ID, p.Line
	w.keys[whose] = private
	w.record(imx.KeyAdded{Key: k})
	return k
}

func (w *world) person(name imx.Principal, roles ...imx.Role) {
	w.t.Helper()
	w.record(imx.PersonSet{Person: imx.Person{Name: name, Roles: roles}})
	w.key(name, imx.Key{Owner: name})
}

// seal signs a statement and keeps it: the evidence of it, not yet on the log.
func (w *world) seal(whose imx.Principal, subject imx.Digest, predicateType string, predicate any, also ...imx.Digest) imx.Evidence {
	w.t.Helper()
	st, err := statement.Make("web", subject, predicateType, predicate)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range also {
		st.Subject = append(st.Subject, imx.Subject{Digest: map[string]string{"sha256": d.Hex()}})
	}
	raw, err := json.Marshal(st)
	if err != nil {
		w.t.Fatal(err)
	}
	bundle, err := sign.Seal(raw, w.keys[whose])
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := sign.PublicOf(w.keys[whose].Public())
	if err != nil {
		w.t.Fatal(err)
	}
	d, _, err := w.blobs.Put(bytes.NewReader(bundle), "")
	if err != nil {
		w.t.Fatal(err)
	}
	return imx.Evidence{
		Image: subject, PredicateType: predicateType, Statement: imx.DigestBytes(raw), Manifest: imx.DigestBytes([]byte(d)), Made: w.now,
		Bundle: d, Signer: p.ID, Summary: "says " + imx.PredicateNames()[predicateType],
	}
}

// state keeps a claim as the server's attester does.
func (w *world) state(_ context.Context, by imx.Principal, c attest.Claim) (imx.Evidence, error) {
	e := w.seal(imx.Principal(imx.RoleOf(c.PredicateType)), c.Image, c.PredicateType, c.Predicate)
	e.Summary, e.Passed = c.Summary, c.Passed
	return e, w.control.Record(by, imx.EvidenceAdded{Evidence: e})
}

func image() imx.Image {
	return imx.Image{Name: "web", Digest: imx.DigestBytes([]byte("image")), Plan: imx.DigestBytes([]byte("image plan"))}
}

func release() imx.Release {
	return imx.Release{
		Service: "web", Number: 1, Image: image(), Spec: imx.Spec{Name: "web", Image: "web", Replicas: 1}, Plan: imx.DigestBytes([]byte("plan")),
		Source: imx.Source{Commit: strings.Repeat("a1", 20)}, Candidate: "c1", By: "ann",
	}
}

// predicate is what is said of an image that is as it should be.
func (w *world) predicate(predicateType string) any {
	r := release()
	switch predicateType {
	case imx.PredicateProvenance:
		p := provenance.Of(provenance.Build{Image: r.Image, Whole: r.Plan, Source: r.Source, Version: "1"})
		p.Definition.Internal.ImagePlan = r.Image.Plan
		return p
	case imx.PredicateTest:
		return map[string]any{
			"result": "PASSED", "configuration": []any{map[string]any{"name": "plan", "digest": map[string]string{"sha256": r.Plan.Hex()}}},
		}
	case imx.PredicateScan:
		raw, err := vuln.Predicate(imx.ImageScan{Image: r.Image.Digest, Name: "web"}, nil, "1", w.now)
		if err != nil {
			w.t.Fatal(err)
		}
		return raw
	case imx.PredicateCheck:
		raw, _, _ := check.Attest(check.Predicate{Checker: "imx 1", Refuse: imx.Critical}, nil)
		return raw
	case imx.PredicateVEX:
		doc, err := vuln.State(nil, "web", r.Image.Digest, vuln.Reason{IDs: []string{"CVE-2026-0001"}, Justification: "component_not_present", By: "ann", Time: w.now})
		if err != nil {
			w.t.Fatal(err)
		}
		return doc
	}
	return map[string]string{"spdxVersion": "SPDX-2.3"}
}

// kinds are the types of evidence that the conditions of staging stand on.
func kinds() []string {
	return []string{
		imx.PredicateProvenance, imx.PredicateSPDX, imx.PredicateCycloneDX, imx.PredicateScan, imx.PredicateTest, imx.PredicateCheck,
	}
}

// stateAll states all that staging asks for.
func (w *world) stateAll() {
	w.t.Helper()
	for _, kind := range kinds() {
		w.record(imx.EvidenceAdded{Evidence: w.good(kind)})
	}
}

// good is evidence of a kind that counts.
func (w *world) good(kind string) imx.Evidence {
	w.t.Helper()
	return w.seal(imx.Principal(imx.RoleOf(kind)), image().Digest, kind, w.predicate(kind))
}

func (w *world) verdict(purpose imx.Purpose, r imx.Release) imx.Verdict {
	w.t.Helper()
	if purpose == imx.ForRelease {
		v, err := w.Release(w.t.Context(), r)
		if err != nil {
			w.t.Fatal(err)
		}
		return v
	}
	if _, ok := w.control.State().Services["web"]; !ok {
		w.apply(r)
	}
	found, err := w.Verify(w.t.Context(), imx.VerifyQuery{Subject: "web", Purpose: purpose})
	if err != nil {
		w.t.Fatal(err)
	}
	return found.Verdict
}

func condition(tb testing.TB, v imx.Verdict, id string) imx.Condition {
	tb.Helper()
	i := slices.IndexFunc(v.Conditions, func(c imx.Condition) bool { return c.ID == id })
	if i < 0 {
		tb.Fatalf("the verdict has no condition %s", id)
	}
	return v.Conditions[i]
}

// apply makes the release without asking anybody, and says that it is good.
func (w *world) apply(r imx.Release) imx.Release {
	w.t.Helper()
	id, err := w.control.Begin("ann", r.Plan, r.Source)
	if err != nil {
		w.t.Fatal(err)
	}
	waits := "" // an apply of what waits is the candidate's
	if c := w.control.State().Candidates[r.Candidate]; c.State == imx.CandidateOpen {
		waits = c.ID
	}
	rs, err := w.control.Promote("ann", control.Promotion{
		Apply: id, Candidate: waits, Plan: r.Plan, Source: r.Source, Judged: func(*imx.State, []imx.Release) ([]imx.Body, error) { return nil, nil },
		Candidates: []control.Candidate{{Spec: r.Spec, Image: r.Image, Config: r.Config}},
	})
	if err != nil || len(rs) != 1 {
		w.t.Fatalf("%+v, %v", rs, err)
	}
	w.record(imx.RolloutFinished{Service: r.Service, Release: rs[0].Number})
	return rs[0]
}

// flip changes one bit of a blob on the disk.
func (w *world) flip(d imx.Digest) {
	w.t.Helper()
	path := w.blobs.Path(d)
	raw, err := os.ReadFile(path)
	if err == nil {
		raw[len(raw)/2] ^= 1
		err = os.Remove(path)
	}
	if err == nil {
		err = os.WriteFile(path, raw, 0o400)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}
