package candidate_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/candidate"
	"imx/internal/control"
	"imx/internal/eventlog"
	"imx/internal/evidence"
	"imx/internal/review"
	"imx/internal/sign"
)

// world has a log and a desk; what the pipeline, the scanner and the store would know is played.
type world struct {
	*candidate.Desk
	control  *control.Control
	key      ed25519.PrivateKey
	kept     []string
	conflict error
	unknown  error // of images and scans
	blobs    map[imx.Digest][]byte
	files    []imx.Change // of the candidate
}

func (w *world) Kept(d imx.Digest, most int64) ([]byte, error) {
	b, ok := w.blobs[d]
	if !ok || int64(len(b)) > most {
		return nil, imx.Errorf(imx.NotFound, "there is no blob %s of at most %d bytes", d, most)
	}
	return b, nil
}

func (w *world) Keep(b []byte) (imx.Digest, error) {
	w.blobs[imx.DigestBytes(b)] = b
	return imx.DigestBytes(b), nil
}

func (w *world) Changes(imx.Candidate) (imx.Plan, []imx.Change, error) {
	return imx.Plan{}, append([]imx.Change{{Kind: "service", Subject: "service.web"}}, w.files...), w.conflict
}

func (w *world) Drafts(c imx.Candidate) ([]imx.Release, error) {
	return []imx.Release{{Service: "web", Plan: c.Plan, Image: c.Images[0], Address: netip.MustParseAddr("10.0.0.1")}}, nil
}

func (w *world) Verdicts(_ context.Context, _ imx.Candidate, drafts []imx.Release) ([]imx.Verdict, error) {
	var all []imx.Verdict
	for _, r := range drafts {
		all = append(all, imx.Verdict{Service: r.Service})
	}
	return all, nil
}

func (w *world) Image(_ context.Context, wanted string) (imx.ImageDetail, error) {
	return imx.ImageDetail{Inventory: imx.Inventory{Packages: []imx.InventoryPackage{{Package: imx.Package{Name: wanted, Version: "1"}}}}}, w.unknown
}

func (w *world) Enter(context.Context) (func(), error) { return func() {}, nil }

func newWorld(t *testing.T) (*world, imx.Candidate) {
	t.Helper()
	w := &world{blobs: map[imx.Digest][]byte{}}
	log, _, err := eventlog.Open(eventlog.Config{Dir: filepath.Join(t.TempDir(), "log"), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	ids := 0
	w.control, err = control.Open(control.Config{
		Log: log, Now: time.Now, NewID: func() string { ids++; return fmt.Sprint("c", ids) }, Network: netip.MustParsePrefix("10.0.0.0/24"),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Desk = candidate.New(candidate.Config{
		Control: w.control, Pipeline: w, Now: time.Now,
		Scan: func(context.Context, string) ([]imx.Vulnerability, error) {
			return []imx.Vulnerability{{ID: "CVE-1"}}, w.unknown
		},
		Keep: func(_ context.Context, repository string, image imx.Digest, by evidence.Signed) (imx.Evidence, error) {
			w.kept = append(w.kept, repository)
			return imx.Evidence{
				Image: image, PredicateType: imx.PredicateReview, Bundle: imx.DigestBytes(by.Bundle), Signer: by.Signer, Statement: imx.DigestBytes(nil),
			}, nil
		},
	})
	var public ed25519.PublicKey
	if public, w.key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	p, err := sign.PublicOf(public)
	if err != nil {
		t.Fatal(err)
	}
	err = w.control.Record("root", imx.PersonSet{Person: imx.Person{Name: "bob", Roles: []imx.Role{imx.RoleReviewer}}},
		imx.KeyAdded{Key: imx.Key{ID: p.ID, Owner: "bob", Public: p.Line}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.control.Propose("ann", imx.Candidate{
		Plan: imx.DigestBytes([]byte("plan")), Request: imx.DigestBytes([]byte("request")), Environment: "production", By: "ann", Services: []string{"web"},
		Images: []imx.Image{{Name: "web", Digest: imx.DigestBytes([]byte("a"))}, {Name: "job", Digest: imx.DigestBytes([]byte("b"))}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, c
}

func (w *world) seal(t *testing.T, c imx.Candidate, reason string) imx.ReviewRequest {
	t.Helper()
	p := review.Answer(c, time.Now())
	p.Approves, p.Reason = reason == "", reason
	payload, err := review.Statement(c, p)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := sign.Seal(payload, w.key)
	if err != nil {
		t.Fatal(err)
	}
	return imx.ReviewRequest{Bundle: bundle}
}

func TestAnAnswerIsKeptAsEvidenceOfEachImageAndOnTheLog(t *testing.T) {
	w, c := newWorld(t)
	yes := w.seal(t, c, "")
	got, err := w.Review(t.Context(), "root", c.ID, yes)
	if err != nil || len(got.Reviews) != 1 || got.Reviews[0].By != "bob" || got.State != imx.CandidateOpen {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, im := range c.Images {
		e := w.control.State().Evidence[im.Digest][imx.PredicateReview]
		if e.Passed == nil || !*e.Passed || e.Summary != "approved by bob, as candidate c1" || e.Bundle != imx.DigestBytes(yes.Bundle) {
			t.Errorf("evidence of %s: %+v", im.Name, e)
		}
	}
	before := w.control.State().Next
	if _, err := w.Review(t.Context(), "root", c.ID, yes); imx.KindOf(err) != imx.Conflict || w.control.State().Next != before || len(w.kept) != 2 {
		t.Errorf("again: %v, %d events, kept %v", err, w.control.State().Next-before, w.kept)
	}
	if _, err := w.Review(t.Context(), "root", c.ID, imx.ReviewRequest{Bundle: bytes.ToUpper(yes.Bundle)}); imx.KindOf(err) != imx.Refused {
		t.Errorf("other bytes: %v", err)
	}
	if got, err = w.Review(t.Context(), "root", c.ID, w.seal(t, c, "too soon")); err != nil || got.State != imx.CandidateRejected || got.Why != "bob: too soon" {
		t.Errorf("a no: %+v, %v", got, err)
	}
	if _, err := w.Review(t.Context(), "root", c.ID, yes); imx.KindOf(err) != imx.Conflict {
		t.Errorf("the yes from before the no: %v", err)
	}
	w.conflict = imx.Errorf(imx.NotFound, "the blob is gone")
	if _, err := w.Review(t.Context(), "root", c.ID, w.seal(t, c, "")); imx.KindOf(err) != imx.NotFound {
		t.Errorf("what was rejected and isn't kept: %v", err)
	}
	w.conflict = nil
	if got, err = w.Review(t.Context(), "root", c.ID, w.seal(t, c, "")); err != nil || got.State != imx.CandidateOpen || got.Why != "" {
		t.Errorf("a change of mind: %+v, %v", got, err)
	}
	if _, err := w.Review(t.Context(), "root", "c9", yes); imx.KindOf(err) != imx.NotFound {
		t.Errorf("what isn't there: %v", err)
	}
}

func TestACandidateIsShownWithWhatItWouldChange(t *testing.T) {
	w, c := newWorld(t)
	v, err := w.Candidate(t.Context(), c.ID)
	if err != nil || len(v.Changes) != 1 || len(v.Diff) != 1 || len(v.Diff[0].Gained) != 1 || len(v.Diff[0].Packages) != 1 || len(v.Verdicts) != 1 || v.Conflict != "" {
		t.Fatalf("%+v, %v", v, err)
	}
	w.unknown = imx.Errorf(imx.Refused, "its bytes were changed")
	if v, err = w.Candidate(t.Context(), c.ID); err != nil || len(v.Notices) != 2 {
		t.Errorf("what can't be compared: %v, %v", v.Notices, err)
	}
	w.conflict = imx.Errorf(imx.Conflict, "what runs has changed")
	if v, err = w.Candidate(t.Context(), c.ID); err != nil || v.Conflict != "what runs has changed" || len(v.Diff) != 0 {
		t.Errorf("what can't be released: %+v, %v", v, err)
	}
	if list, err := w.Candidates(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

// file is a change of a file from one content to another; "" is that there is none.
func (w *world) file(t *testing.T, path, before, after string) {
	t.Helper()
	c := imx.Change{Kind: "file", Subject: "image.web", Name: path}
	for text, side := range map[string]*string{before: &c.Before, after: &c.After} {
		if text != "" {
			d, err := w.Keep([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			*side = string(d)
		}
	}
	w.files = append(w.files, c)
}

func TestChangedFilesAreShownLineByLine(t *testing.T) {
	w, c := newWorld(t)
	w.file(t, "/etc/motd", "hello\nworld\n", "hello\nmoon\n")
	w.file(t, "/etc/new", "", "fresh\n")
	w.file(t, "/bin/x", "\x00\x01", "\x00\x02\x03")
	w.file(t, "/large", "x\n", strings.Repeat("another line\n", 10_000))
	w.file(t, "/huge", "x\n", strings.Repeat("another line\n", 100_000))
	w.files = append(w.files, imx.Change{Kind: "file", Name: "/mode", Before: "0644 root", After: "0755 root"},
		imx.Change{Kind: "file", Name: "/gone", Before: string(imx.DigestBytes([]byte("collected")))})
	v, err := w.Candidate(t.Context(), c.ID)
	if err != nil || len(v.Texts) != 6 {
		t.Fatalf("%+v, %v", v.Texts, err)
	}
	for i, want := range []struct{ diff, note string }{
		{"-world\n+moon\n", ""}, {"+fresh\n", ""}, {"", "it isn't text: 2 B → 3 B"}, {"", "more lines differ than are shown"}, {"", "there is no blob"}, {"", "there is no blob"},
	} {
		if got := v.Texts[i]; !strings.Contains(got.Diff, want.diff) || (got.Diff == "") != (want.diff == "") || !strings.Contains(got.Note, want.note) || (got.Note == "") != (want.note == "") {
			t.Errorf("%s: %q, %q", got.Path, got.Diff, got.Note)
		}
	}
}

// An auditor sees what was approved, when nothing of the candidate is kept any more.
func TestWhatHasEndedIsShownAsWhoAnsweredItSawIt(t *testing.T) {
	w, c := newWorld(t)
	w.file(t, "/etc/motd", "hello\n", "goodbye\n")
	if _, err := w.Review(t.Context(), "root", c.ID, w.seal(t, c, "")); err != nil {
		t.Fatal(err)
	}
	if err := w.control.Record("root", imx.CandidateEnded{Candidate: c.ID, State: imx.CandidateReleased, Why: "apply x"}); err != nil {
		t.Fatal(err)
	}
	w.conflict = imx.Errorf(imx.NotFound, "the blob is gone")
	v, err := w.Candidate(t.Context(), c.ID)
	if err != nil || v.State != imx.CandidateReleased || len(v.Changes) != 2 || len(v.Diff) != 1 || len(v.Texts) != 1 || !v.Seen.Equal(v.Reviews[0].Made) || v.By != "ann" {
		t.Errorf("%+v, %v", v, err)
	}
	w.blobs = nil
	if _, err := w.Candidate(t.Context(), c.ID); imx.KindOf(err) != imx.NotFound {
		t.Errorf("what isn't kept: %v", err)
	}
}

func TestAnswersThatDontCountAnyMoreAreMarked(t *testing.T) {
	w, c := newWorld(t)
	got, err := w.Review(t.Context(), "root", c.ID, w.seal(t, c, ""))
	if err != nil || got.Reviews[0].Void != "" {
		t.Fatalf("%+v, %v", got, err)
	}
	key := got.Reviews[0].Key
	if err := w.control.Record("root", imx.KeyEnded{Key: key, Until: time.Now(), Compromised: true, Reason: "stolen"}); err != nil {
		t.Fatal(err)
	}
	v, err := w.Candidate(t.Context(), c.ID)
	if err != nil || v.Reviews[0].Void != "its key is compromised: stolen" {
		t.Errorf("%+v, %v", v.Reviews, err)
	}
	list, err := w.Candidates(t.Context())
	if err != nil || list[0].Reviews[0].Void == "" || w.control.State().Candidates[c.ID].Reviews[0].Void != "" {
		t.Errorf("%+v, %v", list, err)
	}
}
