package review_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/review"
	"imx/internal/sign"
)

// world has people with keys, and a candidate that ann brought and eve wrote.
type world struct {
	t         *testing.T
	state     *imx.State
	keys      map[imx.Principal]crypto.Signer
	candidate imx.Candidate
	now       time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, keys: map[imx.Principal]crypto.Signer{}, now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC),
		state: &imx.State{Keys: map[string]imx.Key{}, People: map[imx.Principal]imx.Person{}},
		candidate: imx.Candidate{
			ID: "c1", Plan: imx.DigestBytes([]byte("plan")), Environment: "production", By: "ann", State: imx.CandidateOpen,
			Images: []imx.Image{{Name: "web", Digest: imx.DigestBytes([]byte("image"))}},
			Commit: &imx.Commit{People: []imx.Principal{"eve"}, Emails: []string{"fay@example.com"}, Signer: "gus"},
		},
	}
	for _, name := range []imx.Principal{"ann", "bob", "cat", "eve", "gus"} {
		w.state.People[name] = imx.Person{Name: name, Roles: []imx.Role{imx.RoleReviewer}}
		w.key(name, imx.Key{Owner: name})
	}
	w.key("builder", imx.Key{Owner: imx.Server, Role: imx.RoleBuilder})
	return w
}

func (w *world) key(whose imx.Principal, k imx.Key) {
	w.t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := sign.PublicOf(private.Public())
	if err != nil {
		w.t.Fatal(err)
	}
	k.ID, k.Public, k.From = p.ID, p.Line, w.now.Add(-time.Hour)
	w.keys[whose], w.state.Keys[k.ID] = private, k
}

// endKey changes somebody's key.
func (w *world) endKey(whose imx.Principal, change func(*imx.Key)) {
	for id, k := range w.state.Keys {
		if k.Owner == whose {
			change(&k)
			w.state.Keys[id] = k
		}
	}
}

// seal signs an answer to a candidate.
func (w *world) seal(by imx.Principal, c imx.Candidate, change func(*imx.ReviewPredicate)) []byte {
	w.t.Helper()
	p := review.Answer(c, w.now)
	p.Approves = true
	if change != nil {
		change(&p)
	}
	payload, err := review.Statement(c, p)
	if err != nil {
		w.t.Fatal(err)
	}
	bundle, err := sign.Seal(payload, w.keys[by])
	if err != nil {
		w.t.Fatal(err)
	}
	return bundle
}

func TestAnAnswerOfAReviewerIsTaken(t *testing.T) {
	w := newWorld(t)
	raw := w.seal("bob", w.candidate, nil)
	r, err := review.Accept(w.state, w.candidate, raw, w.now)
	want := imx.Review{By: "bob", Approves: true, Plan: w.candidate.Plan, Key: r.Key, Bundle: imx.DigestBytes(raw), Made: w.now, Signed: w.now}
	if diff := cmp.Diff(want, r); err != nil || diff != "" || w.state.Keys[r.Key].Owner != "bob" {
		t.Errorf("%v\n%s", err, diff)
	}
	w.candidate.Reviews = []imx.Review{r}
	before := w.seal("bob", w.candidate, func(p *imx.ReviewPredicate) { p.Approves, p.Reason = false, "too soon" })
	if _, err := review.Accept(w.state, w.candidate, before, w.now); imx.KindOf(err) != imx.Conflict || !strings.Contains(err.Error(), "before the one that counts") {
		t.Errorf("another answer that isn't newer: %v", err)
	}
	w.now = w.now.Add(time.Millisecond)
	no := w.seal("bob", w.candidate, func(p *imx.ReviewPredicate) { p.Approves, p.Reason = false, "too soon" })
	if r, err := review.Accept(w.state, w.candidate, no, w.now); err != nil || r.Approves || r.Reason != "too soon" {
		t.Errorf("a change of mind: %+v, %v", r, err)
	}
	if _, err := review.Accept(w.state, w.candidate, w.seal("ann", w.candidate, func(p *imx.ReviewPredicate) { p.Approves, p.Reason = false, "mine" }), w.now); err != nil {
		t.Errorf("an author who says no: %v", err)
	}
}

func TestWhoseKeyWasStolenAnswersAgainWithAnotherOne(t *testing.T) {
	w := newWorld(t)
	r, err := review.Accept(w.state, w.candidate, w.seal("bob", w.candidate, nil), w.now)
	if err != nil {
		t.Fatal(err)
	}
	w.candidate.Reviews = []imx.Review{r}
	w.endKey("bob", func(k *imx.Key) { k.Compromised, k.Reason = true, "stolen" })
	if got := review.Marked(w.state, w.candidate); got[0].Void != "its key is compromised: stolen" || w.candidate.Reviews[0].Void != "" {
		t.Errorf("%+v", got)
	}
	if _, err := review.Accept(w.state, w.candidate, w.seal("bob", w.candidate, nil), w.now); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "the review of plan") ||
		!strings.Contains(imx.AsError(err).Hint, "answer with another key") {
		t.Errorf("with the same key: %v", err)
	}
	w.key("bob", imx.Key{Owner: "bob"})
	if again, err := review.Accept(w.state, w.candidate, w.seal("bob", w.candidate, nil), w.now); err != nil || again.Key == r.Key {
		t.Errorf("with another: %+v, %v", again, err)
	}
}

// An account's name is no person's: whose login it is, is said of each person.
func TestANamesakeOfAnAccountHasNoHandInWhatItBrought(t *testing.T) {
	w := newWorld(t)
	w.candidate.By, w.candidate.Account = imx.AccountPrincipal("bob"), "bob"
	if _, err := review.Accept(w.state, w.candidate, w.seal("bob", w.candidate, nil), w.now); err != nil {
		t.Error(err)
	}
}

func TestAnswersThatArentTakenSayWhy(t *testing.T) {
	by := func(name imx.Principal) func(*world) []byte {
		return func(w *world) []byte { return w.seal(name, w.candidate, nil) }
	}
	of := func(change func(*imx.Candidate)) func(*world) []byte {
		return func(w *world) []byte {
			other := w.candidate
			change(&other)
			return w.seal("bob", other, nil)
		}
	}
	for what, c := range map[string]struct {
		make func(*world) []byte
		kind imx.Kind
		says string
	}{
		"one's own change, as who brought it": {by("ann"), imx.Refused, "ann had a hand in candidate c1"},
		"one's own change, as who wrote it":   {by("eve"), imx.Refused, "eve had a hand in"},
		"one's own change, as who is known since": {func(w *world) []byte {
			w.state.People["bob"] = imx.Person{Name: "bob", Roles: []imx.Role{imx.RoleReviewer}, Emails: []string{"Fay@Example.com"}}
			return w.seal("bob", w.candidate, nil)
		}, imx.Refused, "bob had a hand in"},
		"one's own change, as who signed it": {by("gus"), imx.Refused, "gus had a hand in"},
		"one's own change, from an account that became known as theirs afterwards": {func(w *world) []byte {
			w.candidate.By, w.candidate.Account = imx.AccountPrincipal("b"), "b"
			w.state.People["bob"] = imx.Person{Name: "bob", Roles: []imx.Role{imx.RoleReviewer}, Logins: []string{"b"}}
			return w.seal("bob", w.candidate, nil)
		}, imx.Refused, "bob had a hand in candidate c1"},
		"one's own change, under the name that one had then": {func(w *world) []byte {
			w.candidate.Account = "a"
			w.state.People["bob"] = imx.Person{Name: "bob", Roles: []imx.Role{imx.RoleReviewer}, Logins: []string{"a"}}
			return w.seal("bob", w.candidate, nil)
		}, imx.Refused, "bob had a hand in candidate c1"},
		"approving twice": {func(w *world) []byte {
			r, err := review.Accept(w.state, w.candidate, w.seal("bob", w.candidate, nil), w.now)
			if err != nil {
				t.Fatal(err)
			}
			w.candidate.Reviews = []imx.Review{r}
			return w.seal("bob", w.candidate, nil)
		}, imx.Conflict, "bob has answered candidate c1 so already"},
		"somebody without the role": {func(w *world) []byte {
			w.state.People["bob"] = imx.Person{Name: "bob", Roles: []imx.Role{imx.RoleAuthor}}
			return w.seal("bob", w.candidate, nil)
		}, imx.Refused, "bob is no reviewer"},
		"a plan that changed by one byte": {of(func(c *imx.Candidate) { c.Plan = imx.DigestBytes([]byte("plan.")) }), imx.Refused, "it is for the plan"},
		"replayed from another candidate": {of(func(c *imx.Candidate) { c.ID = "c0" }), imx.Refused, "it is for the candidate c0"},
		"for other tests of the plan":     {of(func(c *imx.Candidate) { c.Proof = imx.DigestBytes([]byte("other")) }), imx.Refused, "it is for other tests and waivers"},
		"for another environment":         {of(func(c *imx.Candidate) { c.Environment = "staging" }), imx.Refused, "it is for the environment staging"},
		"about other images": {of(func(c *imx.Candidate) {
			c.Images = []imx.Image{{Name: "web", Digest: imx.DigestBytes([]byte("other"))}}
		}), imx.Refused, "isn't about the images"},
		"about fewer images": {of(func(c *imx.Candidate) { c.Images = nil }), imx.Refused, "isn't about the images"},
		"an unknown key": {func(w *world) []byte {
			raw := w.seal("bob", w.candidate, nil)
			for id, k := range w.state.Keys {
				if k.Owner == "bob" {
					delete(w.state.Keys, id)
				}
			}
			return raw
		}, imx.Refused, "nobody's whom imx knows"},
		"an ended key": {func(w *world) []byte {
			w.endKey("bob", func(k *imx.Key) { k.Until = w.now.Add(-time.Second) })
			return w.seal("bob", w.candidate, nil)
		}, imx.Refused, "an ended key"},
		"a compromised key": {func(w *world) []byte {
			w.endKey("bob", func(k *imx.Key) { k.Compromised, k.Reason = true, "stolen" })
			return w.seal("bob", w.candidate, nil)
		}, imx.Refused, "a compromised key"},
		"a key of the server's": {by("builder"), imx.Refused, "nobody's whom imx knows"},
		"a bit flipped": {func(w *world) []byte {
			raw := w.seal("bob", w.candidate, nil)
			raw[len(raw)/2] ^= 1
			return raw
		}, imx.Refused, ""},
		"another key in the bundle": {func(w *world) []byte {
			bob, err := sign.Open(w.seal("bob", w.candidate, nil))
			if err != nil {
				w.t.Fatal(err)
			}
			cat, err := sign.Open(w.seal("cat", w.candidate, nil))
			if err != nil {
				w.t.Fatal(err)
			}
			bob.Hint = cat.Hint
			raw, err := bob.JSON()
			if err != nil {
				w.t.Fatal(err)
			}
			return raw
		}, imx.Refused, "the signature doesn't fit"},
		"no reason": {func(w *world) []byte {
			return w.seal("bob", w.candidate, func(p *imx.ReviewPredicate) { p.Approves = false })
		}, imx.Invalid, "without a reason"},
		"a reason without end": {func(w *world) []byte {
			return w.seal("bob", w.candidate, func(p *imx.ReviewPredicate) { p.Reason = strings.Repeat("x", 5000) })
		}, imx.Invalid, "the reason has 5000 bytes"},
		"nothing": {func(*world) []byte { return nil }, imx.Refused, "no signed statement"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			_, err := review.Accept(w.state, w.candidate, c.make(w), w.now)
			if imx.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("want %s %q, got %v", c.kind, c.says, err)
			}
		})
	}
}

func side(change func(*review.Side)) review.Side {
	s := review.Side{
		Release: imx.Release{
			Service: "web", Number: 3, Address: netip.MustParseAddr("10.0.0.1"), Config: imx.ImageSpec{User: "65534"},
			Image: imx.Image{Name: "web", Size: 1 << 20},
			Spec:  imx.Spec{Name: "web", Ports: []imx.Port{{Name: "http", Container: 8000, Publish: 80}}, Tmpfs: []imx.Tmpfs{{Path: "/tmp"}}},
		},
		Inventory:       imx.Inventory{Packages: []imx.InventoryPackage{{Package: imx.Package{Name: "a", Version: "1"}}}},
		Vulnerabilities: []imx.Vulnerability{{ID: "CVE-1", Package: imx.Affected{Name: "a"}}},
	}
	db := imx.Release{
		Service: "db", Number: 1, Address: netip.MustParseAddr("10.0.0.2"),
		Spec: imx.Spec{Name: "db", Ports: []imx.Port{{Name: "pg", Container: 5432}}},
	}
	if change != nil {
		change(&s)
	}
	s.Beside = []imx.Release{s.Release, db}
	return s
}

func TestWhatAReleaseGainsAndLosesIsNamed(t *testing.T) {
	after := side(func(s *review.Side) {
		s.Release.Number, s.Release.Image.Size, s.Release.Config.User = 0, 2<<20, ""
		s.Release.Spec.Connect = []imx.PortRef{{Service: "db", Port: "pg"}}
		s.Release.Spec.Ports[0].Publish = 443
		s.Release.Spec.Volumes = []imx.Volume{{Name: "data", Path: "/data"}}
		s.Inventory.Packages = []imx.InventoryPackage{{Package: imx.Package{Name: "a", Version: "2"}}, {Package: imx.Package{Name: "b", Version: "1"}}}
		s.Inventory.Paths = []imx.InventoryPath{{Path: "/bin/su", Kind: imx.PathFile, Mode: 0o4755}, {Path: "/x", Kind: imx.PathFile, Mode: 0o666}, {Path: "/tmp", Kind: imx.PathDirectory, Mode: 0o1777}}
		s.Vulnerabilities = []imx.Vulnerability{
			{ID: "CVE-2", Package: imx.Affected{Name: "b"}}, {ID: "CVE-3", Package: imx.Affected{Name: "b"}, Excused: &imx.Excuse{}},
		}
	})
	got := review.Compare(side(nil), after)
	want := imx.ServiceChange{
		Service: "web", Running: 3, Before: 1 << 20, After: 2 << 20,
		Packages: []imx.Change{
			{Op: imx.OpUpdate, Kind: "package", Subject: "image", Name: "a", Before: "1", After: "2"},
			{Op: imx.OpAdd, Kind: "package", Subject: "image", Name: "b", After: "1"},
		},
		Gained: []imx.Vulnerability{{ID: "CVE-2", Package: imx.Affected{Name: "b"}}},
		Lost:   []imx.Vulnerability{{ID: "CVE-1", Package: imx.Affected{Name: "a"}}},
		Rights: imx.LineChange{
			Added:   []string{"setuid /bin/su", "user root", "writable /data (volume data)", "writable by all /x"},
			Removed: []string{"user 65534"}, Kept: []string{"writable /tmp (memory)"},
		},
		Firewall: imx.LineChange{
			Added: []string{"port 443 of this machine leads to its port 8000", "web may reach db:5432"}, Removed: []string{"port 80 of this machine leads to its port 8000"},
			Kept: []string{"anybody may reach web:8000 through a published port", "port 8000 of web leads to its port 8000"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	first := review.Compare(review.Side{}, after)
	if first.Running != 0 || len(first.Rights.Removed) != 0 || len(first.Firewall.Kept) != 0 || len(first.Gained) != 1 {
		t.Errorf("the first release: %+v", first)
	}
}

// What is compared with itself gains and loses nothing, and what one way gains the other way loses.
func TestComparingTurnsAround(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) review.Side {
			return side(func(s *review.Side) {
				s.Inventory.Packages = nil
				for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), rapid.ID).Draw(t, label) {
					s.Inventory.Packages = append(s.Inventory.Packages, imx.InventoryPackage{Package: imx.Package{Name: name, Version: rapid.SampledFrom([]string{"1", "2"}).Draw(t, name)}})
					s.Release.Spec.Volumes = append(s.Release.Spec.Volumes, imx.Volume{Name: name, Path: "/" + name})
				}
			})
		}
		a, b := draw("a"), draw("b")
		there, back, same := review.Compare(a, b), review.Compare(b, a), review.Compare(a, a)
		if len(same.Packages)+len(same.Rights.Added)+len(same.Rights.Removed)+len(same.Firewall.Added) != 0 {
			t.Fatalf("with itself: %+v", same)
		}
		if !slices.Equal(there.Rights.Added, back.Rights.Removed) || len(there.Packages) != len(back.Packages) {
			t.Fatalf("%+v, and back %+v", there, back)
		}
	})
}

func FuzzAccept(f *testing.F) {
	c := imx.Candidate{ID: "c1", Plan: imx.DigestBytes(nil), Environment: "production", State: imx.CandidateOpen}
	raw, err := json.Marshal(c)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`))
	s := &imx.State{}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := review.Accept(s, c, raw, time.Unix(0, 0)); imx.KindOf(err) != imx.Refused && imx.KindOf(err) != imx.Invalid {
			t.Errorf("without a key that is known: %v", err)
		}
	})
}
