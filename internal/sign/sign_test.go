// These tests are here because a verdict stands on what Counts lets through: for every type of statement, whatever
// is missing, changed, replayed or signed by somebody else must be refused, and the reason named.
package sign_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"imx"
	"imx/internal/sign"
	"imx/internal/statement"
)

func noon() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

func p256(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func public(tb testing.TB, key crypto.Signer) sign.Public {
	tb.Helper()
	p, err := sign.PublicOf(key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func payload(tb testing.TB, image imx.Digest, predicateType string) []byte {
	tb.Helper()
	st, err := statement.Make("web", image, predicateType, map[string]string{"says": "<yes>"})
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := json.Marshal(st)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// world has the keys of all roles and of one person, made known at noon.
type world struct {
	private map[imx.Role]*ecdsa.PrivateKey // of the person: RoleReviewer
	known   map[string]imx.Key
	image   imx.Digest
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{private: map[imx.Role]*ecdsa.PrivateKey{}, known: map[string]imx.Key{}, image: imx.DigestBytes([]byte("web"))}
	for _, r := range []imx.Role{imx.RoleBuilder, imx.RoleScanner, imx.RoleTester, imx.RoleReleaser, imx.RoleReviewer} {
		w.private[r] = p256(tb)
		p := public(tb, w.private[r])
		k := imx.Key{ID: p.ID, Owner: imx.Server, Role: r, Public: p.Line, From: noon()}
		if r == imx.RoleReviewer {
			k.Owner, k.Role = "ada", ""
		}
		w.known[p.ID] = k
	}
	return w
}

// stated is evidence of a type as the key of a role makes it, an hour after noon.
func (w *world) stated(tb testing.TB, predicateType string, by imx.Role) (imx.Evidence, []byte) {
	tb.Helper()
	return w.signed(tb, payload(tb, w.image, predicateType), predicateType, w.private[by])
}

func (w *world) signed(tb testing.TB, payload []byte, predicateType string, key crypto.Signer) (imx.Evidence, []byte) {
	tb.Helper()
	bundle, err := sign.Seal(payload, key)
	if err != nil {
		tb.Fatal(err)
	}
	return imx.Evidence{
		Image: w.image, PredicateType: predicateType, Statement: imx.DigestBytes(payload), Made: noon().Add(time.Hour),
		Bundle: imx.DigestBytes(bundle), Signer: public(tb, key).ID,
	}, bundle
}

// failure is one way in which evidence doesn't count.
type failure struct {
	names string // what the error names
	make  func(t *testing.T, w *world, predicateType string) (imx.Evidence, []byte)
}

// after returns a failure of evidence that was good until something was done.
func after(names string, do func(w *world, e *imx.Evidence, bundle *[]byte)) failure {
	return failure{names, func(t *testing.T, w *world, predicateType string) (imx.Evidence, []byte) {
		e, bundle := w.stated(t, predicateType, imx.RoleOf(predicateType))
		do(w, &e, &bundle)
		return e, bundle
	}}
}

// keyIs returns a failure of evidence whose key was changed.
func keyIs(names string, change func(k *imx.Key)) failure {
	return after(names, func(w *world, e *imx.Evidence, _ *[]byte) {
		k := w.known[e.Signer]
		change(&k)
		w.known[e.Signer] = k
	})
}

// rewritten returns evidence of a bundle that somebody made out of a good one, with the log telling of it.
func rewritten(names string, change func(b *sign.Bundle)) failure {
	return after(names, func(_ *world, e *imx.Evidence, bundle *[]byte) {
		b, err := sign.Open(*bundle)
		if err != nil {
			return
		}
		change(&b)
		*bundle, err = b.JSON()
		if err == nil {
			e.Bundle, e.Statement = imx.DigestBytes(*bundle), imx.DigestBytes(b.Payload)
		}
	})
}

func failures() map[string]failure {
	return map[string]failure{
		"unsigned":        after("it is unsigned", func(_ *world, e *imx.Evidence, b *[]byte) { e.Bundle, e.Signer, *b = "", "", nil }),
		"missing":         after("it was changed", func(_ *world, _ *imx.Evidence, b *[]byte) { *b = nil }),
		"an unknown key":  after("an unknown key, SHA256:", func(w *world, e *imx.Evidence, _ *[]byte) { delete(w.known, e.Signer) }),
		"one bit flipped": after("it was changed", func(_ *world, _ *imx.Evidence, b *[]byte) { (*b)[len(*b)/2] ^= 1 }),
		"another statement that the log names": after("the statement in it isn't the one", func(_ *world, e *imx.Evidence, _ *[]byte) {
			e.Statement = imx.DigestBytes(nil)
		}),
		"an ended key":       keyIs("an ended key", func(k *imx.Key) { k.Until = noon().Add(time.Hour) }),
		"a compromised key":  keyIs("a compromised key, SHA256:", func(k *imx.Key) { k.Until, k.Compromised = noon().Add(2*time.Hour), true }),
		"older than its key": keyIs("older than its key", func(k *imx.Key) { k.From = noon().Add(2 * time.Hour) }),
		"a key of another name": keyIs("by the name of another", func(k *imx.Key) {
			k.Public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS"
		}),
		"a key that can't be read": keyIs("can't be read", func(k *imx.Key) { k.Public = "-----BEGIN PGP PUBLIC KEY BLOCK-----" }),
		"a changed statement": rewritten("the signature doesn't fit", func(b *sign.Bundle) {
			b.Payload = bytes.Replace(b.Payload, []byte("yes"), []byte("no"), 1)
		}),
		"a changed signature": rewritten("the signature doesn't fit", func(b *sign.Bundle) { b.Signature[10] ^= 1 }),
		"another hint":        rewritten("signed with another key than", func(b *sign.Bundle) { b.Hint = "x" }),
		"another signer": {"signed with another key than", func(t *testing.T, w *world, predicateType string) (imx.Evidence, []byte) {
			mallory := p256(t)
			e, bundle := w.signed(t, payload(t, w.image, predicateType), predicateType, mallory)
			e.Signer = public(t, w.private[imx.RoleOf(predicateType)]).ID
			return e, bundle
		}},
		"another digest": {"it is for another digest", func(t *testing.T, w *world, predicateType string) (imx.Evidence, []byte) {
			return w.signed(t, payload(t, imx.DigestBytes([]byte("other")), predicateType), predicateType, w.private[imx.RoleOf(predicateType)])
		}},
		"replayed from another image": {"it was changed", func(t *testing.T, w *world, predicateType string) (imx.Evidence, []byte) {
			key := w.private[imx.RoleOf(predicateType)]
			e, _ := w.stated(t, predicateType, imx.RoleOf(predicateType))
			_, other := w.signed(t, payload(t, imx.DigestBytes([]byte("other")), predicateType), predicateType, key)
			return e, other
		}},
		"another predicate type": {"it is of another predicate type", func(t *testing.T, w *world, predicateType string) (imx.Evidence, []byte) {
			other := slices.Sorted(maps.Keys(imx.PredicateNames()))[0]
			if other == predicateType {
				other = imx.PredicateCheck
			}
			return w.signed(t, payload(t, w.image, other), predicateType, w.private[imx.RoleOf(predicateType)])
		}},
	}
}

func TestEveryTypeCountsWhenItsRoleSignedIt(t *testing.T) {
	w := newWorld(t)
	for predicateType, name := range imx.PredicateNames() {
		e, bundle := w.stated(t, predicateType, imx.RoleOf(predicateType))
		st, err := sign.Counts(e, bundle, w.known)
		if err != nil || st.PredicateType != predicateType || string(st.Predicate) != `{"says":"\u003cyes\u003e"}` {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
	}
}

func TestEveryFailureOfEveryTypeIsRefusedAndNamed(t *testing.T) {
	for predicateType, name := range imx.PredicateNames() {
		for what, f := range failures() {
			t.Run(name+"/"+what, func(t *testing.T) {
				w := newWorld(t)
				e, bundle := f.make(t, w, predicateType)
				refused(t, e, bundle, w.known, f.names)
			})
		}
	}
}

func TestWhatAnotherRoleSignedIsRefused(t *testing.T) {
	w := newWorld(t)
	for predicateType := range imx.PredicateNames() {
		for role := range w.private {
			if role != imx.RoleOf(predicateType) {
				e, bundle := w.stated(t, predicateType, role)
				refused(t, e, bundle, w.known, "signed with the wrong role")
			}
		}
	}
}

// abroad makes the key of evidence one of an upstream's.
func (w *world) abroad(e imx.Evidence) {
	k := w.known[e.Signer]
	k.Environment = "staging"
	w.known[e.Signer] = k
}

func TestAnUpstreamsKeyCountsForHowAnImageCameToBeAndWasTestedAlone(t *testing.T) {
	counts := []string{imx.PredicateProvenance, imx.PredicateSPDX, imx.PredicateCycloneDX, imx.PredicateTest, imx.PredicateOffer}
	for _, role := range []imx.Role{imx.RoleBuilder, imx.RoleScanner, imx.RoleTester, imx.RoleReleaser} {
		for _, predicateType := range role.Predicates() {
			w := newWorld(t)
			e, bundle := w.stated(t, predicateType, role)
			w.abroad(e)
			if slices.Contains(counts, predicateType) {
				if _, err := sign.Counts(e, bundle, w.known); err != nil {
					t.Errorf("%s: %v", predicateType, err)
				}
				continue
			}
			refused(t, e, bundle, w.known, "a key of the environment staging, "+e.Signer+", whose word on that doesn't count here")
		}
	}
}

func TestAnUpstreamsKeyHasEndedForWhatWasKeptThereLater(t *testing.T) {
	w := newWorld(t)
	e, bundle := w.stated(t, imx.PredicateTest, imx.RoleTester)
	w.abroad(e)
	k := w.known[e.Signer]
	k.From, k.Until = noon(), noon().Add(time.Minute) // e was kept here an hour after noon
	w.known[e.Signer] = k
	e.There = noon().Add(-time.Hour)
	if _, err := sign.Counts(e, bundle, w.known); err != nil {
		t.Errorf("kept there before the key's end: %v", err)
	}
	e.There = k.Until
	refused(t, e, bundle, w.known, "an ended key")
	k.Environment = ""
	w.known[e.Signer], e.There = k, noon().Add(-time.Hour)
	refused(t, e, bundle, w.known, "an ended key") // of a key of one's own, the own log alone says when
}

func refused(t *testing.T, e imx.Evidence, bundle []byte, keys map[string]imx.Key, names string) {
	t.Helper()
	st, err := sign.Counts(e, bundle, keys)
	if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), names) || len(st.Subject) != 0 {
		t.Errorf("%+v, err = %v, which doesn't name %q", st, err, names)
	}
	about := " of image "
	if e.PredicateType == imx.PredicateReview {
		about = " of plan "
	}
	if want := "the " + imx.PredicateNames()[e.PredicateType] + about + e.Image.Short(); err != nil && !strings.HasPrefix(err.Error(), want) {
		t.Errorf("err = %v doesn't say of what", err)
	}
}

func TestWhatAKeySignedBeforeItsEndCounts(t *testing.T) {
	w := newWorld(t)
	e, bundle := w.stated(t, imx.PredicateTest, imx.RoleTester)
	k := w.known[e.Signer]
	k.Until = e.Made.Add(time.Nanosecond)
	w.known[e.Signer] = k
	if _, err := sign.Counts(e, bundle, w.known); err != nil {
		t.Error(err)
	}
}

func TestWhatTwoReadersCouldTakeForTwoThingsIsRefused(t *testing.T) {
	w := newWorld(t)
	_, good := w.stated(t, imx.PredicateTest, imx.RoleTester)
	for what, change := range map[string][2]string{
		"another media type":       {`bundle.v0.3+json`, `bundle.v0.2+json`},
		"another payload type":     {`vnd.in-toto`, `vnd.out-toto`},
		"two signatures":           {`"signatures":[`, `"signatures":[{"sig":"AAAA"},`},
		"no signature":             {`"sig"`, `"gis"`},
		"a key identifier":         {`{"sig"`, `{"keyid":"x","sig"`},
		"a key twice":              {`"dsseEnvelope":{`, `"dsseEnvelope":{"payload":"e30=",`},
		"an envelope twice":        {`"dsseEnvelope":`, `"dsseEnvelope":{},"dsseEnvelope":`},
		"a key in other letters":   {`"payload":`, `"Payload":`},
		"a message's signature":    {`"dsseEnvelope":`, `"messageSignature":{},"dsseEnvelope":`},
		"a certificate":            {`"publicKey":`, `"certificate":{},"publicKey":`},
		"a transparency log entry": {`"publicKey":`, `"tlogEntries":[{}],"publicKey":`},
		"a space":                  {`"payload":`, `"payload": `},
		"a line end in base64":     {`"payload":"`, `"payload":"\n`},
		"something before it":      {`{"mediaType"`, `null {"mediaType"`},
	} {
		bad := bytes.Replace(good, []byte(change[0]), []byte(change[1]), 1)
		if _, err := sign.Open(bad); imx.KindOf(err) != imx.Refused || bytes.Equal(bad, good) {
			t.Errorf("%s: err = %v", what, err)
		}
	}
	if _, err := sign.Open(append(slices.Clone(good), '\n')); imx.KindOf(err) != imx.Refused {
		t.Errorf("something after it: err = %v", err)
	}
}

// Keys of every kind that people have; each must leave no bit of what it signed free.
func signers(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]crypto.Signer{"ed25519": ed, "rsa": long, "p256": p256(t)}
	for name, curve := range map[string]elliptic.Curve{"p384": elliptic.P384(), "p521": elliptic.P521()} {
		if all[name], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestNoBitOfABundleCanBeFlipped(t *testing.T) {
	for name, key := range signers(t) {
		t.Run(name, func(t *testing.T) {
			good, err := sign.Seal(payload(t, imx.DigestBytes(nil), imx.PredicateReview), key)
			if err != nil {
				t.Fatal(err)
			}
			p := public(t, key)
			if err := verify(good, p); err != nil {
				t.Fatal(err)
			}
			rapid.Check(t, func(t *rapid.T) {
				bad, bit := slices.Clone(good), rapid.IntRange(0, len(good)*8-1).Draw(t, "bit")
				bad[bit/8] ^= 1 << (bit % 8)
				if err := verify(bad, p); imx.KindOf(err) != imx.Refused {
					t.Errorf("bit %d: err = %v", bit, err)
				}
			})
		})
	}
}

func verify(raw []byte, p sign.Public) error {
	b, err := sign.Open(raw)
	if err != nil {
		return err
	}
	return b.Verify(p)
}

func TestAKeyInMemorySignsTheSameTwice(t *testing.T) {
	for name, key := range signers(t) {
		p := payload(t, imx.DigestBytes(nil), imx.PredicateTest)
		first, err := sign.Seal(p, key)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := sign.Seal(p, key); err != nil || !bytes.Equal(first, again) {
			t.Errorf("%s: %v, %s and %s", name, err, first, again)
		}
	}
}

// The example of the specification.
func TestWhatIsSignedIsAsDSSEHasIt(t *testing.T) {
	if got, want := string(sign.PAE("http://example.com/HelloWorld", []byte("hello world"))), "DSSEv1 29 http://example.com/HelloWorld 11 hello world"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzOpen(f *testing.F) {
	good, err := sign.Seal(payload(f, imx.DigestBytes(nil), imx.PredicateTest), p256(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := sign.Open(raw)
		if err != nil {
			if imx.KindOf(err) != imx.Refused {
				t.Errorf("err = %v", err)
			}
			return
		}
		if again, err := b.JSON(); err != nil || !bytes.Equal(again, raw) {
			t.Errorf("read %q, wrote %q, %v", raw, again, err)
		}
	})
}
