// These tests are here because what imx states counts only while the log and the keys agree: at the first start, after a
// crash in the middle of a rotation, and when something was lost.
package trust_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"imx"
	"imx/internal/control"
	"imx/internal/eventlog"
	"imx/internal/keyring"
	"imx/internal/sign"
	"imx/internal/statement"
	"imx/internal/trust"
)

// world is a registrar on a real log and real files.
type world struct {
	*trust.Registrar

	dir     string
	control *control.Control
	store   *keyring.Files
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	log, _, err := eventlog.Open(eventlog.Config{Dir: filepath.Join(w.dir, "log"), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	w.control, err = control.Open(control.Config{Log: log, Now: time.Now, NewID: func() string { return "a" }, Network: netip.MustParsePrefix("10.0.0.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	return w
}

// start opens the keys as a server does when it starts.
func (w *world) start() (err error) {
	if w.store, err = keyring.OpenFiles(filepath.Join(w.dir, "keys"), filepath.Join(w.dir, "identity")); err != nil {
		return err
	}
	w.Registrar, err = trust.Open(trust.Config{Control: w.control, Store: w.store, Now: time.Now})
	return err
}

// states signs a statement of a type, writes it down, and returns it.
func (w *world) states(t *testing.T, predicateType string) (imx.Evidence, []byte) {
	t.Helper()
	image := imx.DigestBytes([]byte("web"))
	st, err := statement.Make("web", image, predicateType, map[string]int{})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	bundle, signer, err := w.Sign(predicateType, raw)
	if err != nil {
		t.Fatal(err)
	}
	e, err := w.control.AddEvidence("imx", imx.Evidence{
		Image: image, PredicateType: predicateType, Statement: imx.DigestBytes(raw), Bundle: imx.DigestBytes(bundle), Signer: signer,
	})
	if err != nil {
		t.Fatal(err)
	}
	return e, bundle
}

func (w *world) counts(e imx.Evidence, bundle []byte) error {
	_, err := sign.Counts(e, bundle, w.Known())
	return err
}

func TestEveryTypeOfImxsOwnIsSignedFromTheFirstStartOn(t *testing.T) {
	w := newWorld(t)
	for predicateType, name := range imx.PredicateNames() {
		if predicateType == imx.PredicateReview {
			continue
		}
		e, bundle := w.states(t, predicateType)
		if err := w.counts(e, bundle); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := w.Sign(imx.PredicateReview, nil); imx.KindOf(err) != imx.Refused {
		t.Errorf("imx signs reviews: err = %v", err)
	}
	before := w.control.State().Next
	if err := w.start(); err != nil || w.control.State().Next != before {
		t.Errorf("another start: %v, %d more events", err, w.control.State().Next-before)
	}
}

func TestARotationKeepsWhatWasSignedAndChangesWhoSigns(t *testing.T) {
	w := newWorld(t)
	old, oldBundle := w.states(t, imx.PredicateProvenance)
	other, otherBundle := w.states(t, imx.PredicateTest)
	k, err := w.Rotate(t.Context(), "root", imx.RotateRequest{Role: imx.RoleBuilder})
	if err != nil || k.Role != imx.RoleBuilder || !k.Until.IsZero() {
		t.Fatalf("%+v, %v", k, err)
	}
	e, bundle := w.states(t, imx.PredicateProvenance)
	if e.Signer != k.ID || e.Signer == old.Signer {
		t.Errorf("signed by %s, and the new key is %s", e.Signer, k.ID)
	}
	for _, err := range []error{w.counts(old, oldBundle), w.counts(other, otherBundle), w.counts(e, bundle)} {
		if err != nil {
			t.Error(err)
		}
	}
	late := old
	late.Made = e.Made
	if err := w.counts(late, oldBundle); err == nil || !strings.Contains(err.Error(), "ended key") {
		t.Errorf("the old key signs on: err = %v", err)
	}
	if _, err := w.Rotate(t.Context(), "root", imx.RotateRequest{Role: imx.RoleReviewer}); imx.KindOf(err) != imx.Invalid {
		t.Errorf("a reviewer's: err = %v", err)
	}
}

// The new key is in its file, and the log doesn't know of it.
func TestARotationThatWasCutOffIsFinishedByTheNextStart(t *testing.T) {
	w := newWorld(t)
	old, oldBundle := w.states(t, imx.PredicateProvenance)
	if _, err := w.store.Make(imx.RoleBuilder); err != nil {
		t.Fatal(err)
	}
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	e, bundle := w.states(t, imx.PredicateProvenance)
	if err := w.counts(e, bundle); err != nil || e.Signer == old.Signer {
		t.Errorf("%v, signed by %s, before by %s", err, e.Signer, old.Signer)
	}
	if err := w.counts(old, oldBundle); err != nil {
		t.Error(err)
	}
}

func TestAStatementThatARotationOvertookIsNotWrittenDown(t *testing.T) {
	w := newWorld(t)
	e, _ := w.states(t, imx.PredicateProvenance)
	if _, err := w.Rotate(t.Context(), "root", imx.RotateRequest{Role: imx.RoleBuilder}); err != nil {
		t.Fatal(err)
	}
	e.Manifest = imx.DigestBytes(nil)
	if _, err := w.control.AddEvidence("imx", e); imx.KindOf(err) != imx.Conflict {
		t.Errorf("err = %v", err)
	}
}

func TestEndingTheKeyThatSignsGivesTheRoleAnother(t *testing.T) {
	w := newWorld(t)
	old, oldBundle := w.states(t, imx.PredicateProvenance)
	k, err := w.EndKey(t.Context(), "root", imx.KeyEndRequest{Key: old.Signer[:15], Compromised: true, Reason: "stolen"})
	if err != nil || k.ID != old.Signer || !k.Compromised {
		t.Fatalf("%+v, %v", k, err)
	}
	if err := w.counts(old, oldBundle); err == nil || !strings.Contains(err.Error(), "compromised key") || !strings.Contains(err.Error(), "stolen") {
		t.Errorf("err = %v", err)
	}
	e, bundle := w.states(t, imx.PredicateProvenance)
	if err := w.counts(e, bundle); err != nil {
		t.Error(err)
	}
	if err := w.start(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		req  imx.KeyEndRequest
		kind imx.Kind
	}{
		{imx.KeyEndRequest{Key: old.Signer, Reason: "again"}, imx.Conflict},
		{imx.KeyEndRequest{Key: e.Signer}, imx.Invalid},
		{imx.KeyEndRequest{Key: "none", Reason: "x"}, imx.NotFound},
		{imx.KeyEndRequest{Key: "SHA256:", Reason: "x"}, imx.Invalid},
	} {
		if _, err := w.EndKey(t.Context(), "root", c.req); imx.KindOf(err) != c.kind {
			t.Errorf("%+v: err = %v", c.req, err)
		}
	}
}

func TestALostKeyIsSaidAndAllLostKeysAreMadeAnew(t *testing.T) {
	w := newWorld(t)
	old, oldBundle := w.states(t, imx.PredicateTest)
	if err := os.Remove(filepath.Join(w.dir, "keys", "tester.age")); err != nil {
		t.Fatal(err)
	}
	if err := w.start(); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), old.Signer) || imx.AsError(err).Hint == "" {
		t.Errorf("one is lost: err = %v", err)
	}
	if err := os.RemoveAll(filepath.Join(w.dir, "keys")); err != nil {
		t.Fatal(err)
	}
	if err := w.start(); err != nil {
		t.Fatalf("all are lost: %v", err)
	}
	e, bundle := w.states(t, imx.PredicateTest)
	if err := w.counts(e, bundle); err != nil || e.Signer == old.Signer {
		t.Errorf("%v, signed by %s", err, e.Signer)
	}
	if err := w.counts(old, oldBundle); err != nil {
		t.Error(err)
	}
}

func sshKey(t *testing.T) string {
	t.Helper()
	key, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p, err := sign.PublicOf(key)
	if err != nil {
		t.Fatal(err)
	}
	return p.Line
}

// pgpKey returns an armored OpenPGP key, and its private form.
func pgpKey(t *testing.T) (public, private string) {
	t.Helper()
	entity, err := openpgp.NewEntity("Ada", "", "ada@example.org", nil)
	if err != nil {
		t.Fatal(err)
	}
	var texts [2]bytes.Buffer
	for i, kind := range []string{openpgp.PublicKeyType, openpgp.PrivateKeyType} {
		out, err := armor.Encode(&texts[i], kind, nil)
		if err != nil {
			t.Fatal(err)
		}
		if kind == openpgp.PublicKeyType {
			err = entity.Serialize(out)
		} else {
			err = entity.SerializePrivate(out, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return texts[0].String(), texts[1].String()
}

func TestPeopleAreKnownWithTheirKeysUntilTheyAreRemoved(t *testing.T) {
	w := newWorld(t)
	line := sshKey(t)
	armored, _ := pgpKey(t)
	ada, err := w.SetPerson(t.Context(), "root", imx.PersonRequest{
		Name: "ada", Roles: []imx.Role{imx.RoleReviewer, imx.RoleAuthor}, Emails: []string{"ada@example.org"}, Keys: []string{line + " ada@laptop\n", armored},
	})
	if err != nil || len(ada.Keys) != 2 || !ada.Has(imx.RoleReviewer) {
		t.Fatalf("%+v, %v", ada, err)
	}
	for _, k := range ada.Keys {
		if pgp := len(k.ID) == 40; k.Owner != "ada" || k.Role != "" || !pgp && k.Public != line || pgp && !strings.HasPrefix(k.Public, "-----BEGIN PGP PUBLIC") {
			t.Errorf("%+v", k)
		}
	}
	before := w.control.State().Next
	again, err := w.SetPerson(t.Context(), "root", imx.PersonRequest{Name: "ada", Keys: []string{line, armored}})
	if err != nil || len(again.Emails) != 1 || w.control.State().Next != before {
		t.Errorf("the same again: %+v, %v, %d more events", again, err, w.control.State().Next-before)
	}
	if _, err := w.SetPerson(t.Context(), "root", imx.PersonRequest{Name: "ben", Roles: []imx.Role{imx.RoleReviewer}, Keys: []string{line}}); imx.KindOf(err) != imx.Conflict {
		t.Errorf("ada's key for ben: err = %v", err)
	}
	if err := w.RemovePerson(t.Context(), "root", "ada", "left"); err != nil {
		t.Fatal(err)
	}
	if people, err := w.People(t.Context()); err != nil || len(people) != 0 {
		t.Errorf("%+v, %v", people, err)
	}
	for _, k := range ada.Keys {
		if w.Known()[k.ID].Until.IsZero() {
			t.Errorf("%s doesn't end", k.ID)
		}
	}
	if _, err := w.SetPerson(t.Context(), "root", imx.PersonRequest{Name: "ada", Roles: []imx.Role{imx.RoleAuthor}, Keys: []string{line}}); imx.KindOf(err) != imx.Conflict {
		t.Errorf("an ended key comes back: err = %v", err)
	}
	if err := w.RemovePerson(t.Context(), "root", "ada", ""); imx.KindOf(err) != imx.NotFound {
		t.Errorf("removed twice: err = %v", err)
	}
}

func TestAnAccountIsOnePersonsLogin(t *testing.T) {
	w := newWorld(t)
	set := func(req imx.PersonRequest) (imx.KnownPerson, error) {
		req.Roles = []imx.Role{imx.RoleReviewer}
		return w.SetPerson(t.Context(), "root", req)
	}
	ada, err := set(imx.PersonRequest{Name: "ada", Logins: []string{"ada", "al", "ada"}})
	if err != nil || !slices.Equal(ada.Logins, []string{"ada", "al"}) {
		t.Fatalf("%+v, %v", ada, err)
	}
	before := w.control.State().Next
	if again, err := set(imx.PersonRequest{Name: "ada"}); err != nil || len(again.Logins) != 2 || w.control.State().Next != before {
		t.Errorf("logins that aren't given stay: %+v, %v", again, err)
	}
	if _, err := set(imx.PersonRequest{Name: "ben", Logins: []string{"ben", "al"}}); imx.KindOf(err) != imx.Conflict || !strings.Contains(err.Error(), "the login al is ada's") {
		t.Errorf("ada's login for ben: %v", err)
	}
	if _, err := set(imx.PersonRequest{Name: "ada", Logins: []string{"ada"}}); err != nil {
		t.Error(err)
	}
	if _, err := set(imx.PersonRequest{Name: "ben", Logins: []string{"al"}}); err != nil {
		t.Errorf("a login that nobody has any more: %v", err)
	}
	for account, want := range map[string]imx.Principal{"al": "ben", "ada": "ada", "ben": "account:ben", "root": "account:root"} {
		if got := imx.Caller(w.control.State().People, account); got != want {
			t.Errorf("%s: got %s, want %s", account, got, want)
		}
	}
	for _, login := range []string{"", "-x", "a b", "a:b", "a/b", "a\n", "\xff", strings.Repeat("a", 256)} {
		if _, err := set(imx.PersonRequest{Name: "cat", Logins: []string{login}}); imx.KindOf(err) != imx.Invalid {
			t.Errorf("login %q: %v", login, err)
		}
	}
	if _, err := set(imx.PersonRequest{Name: "cat", Logins: []string{`CORP\cat`, "cat@corp.example", "Cat$"}}); err != nil {
		t.Errorf("logins of a directory: %v", err)
	}
}

func TestWhoOrWhatCannotBeKnownIsRefused(t *testing.T) {
	w := newWorld(t)
	public, private := pgpKey(t)
	roles := []imx.Role{imx.RoleReviewer}
	for what, c := range map[string]struct {
		req  imx.PersonRequest
		kind imx.Kind
	}{
		"no name":            {imx.PersonRequest{Roles: roles}, imx.Invalid},
		"a strange name":     {imx.PersonRequest{Name: "Ada L", Roles: roles}, imx.Invalid},
		"a long name":        {imx.PersonRequest{Name: imx.Principal(strings.Repeat("a", 33)), Roles: roles}, imx.Invalid},
		"imx itself":         {imx.PersonRequest{Name: imx.Server, Roles: roles}, imx.Invalid},
		"no role":            {imx.PersonRequest{Name: "ada"}, imx.Invalid},
		"a role of imx's":    {imx.PersonRequest{Name: "ada", Roles: []imx.Role{imx.RoleBuilder}}, imx.Invalid},
		"no address":         {imx.PersonRequest{Name: "ada", Roles: roles, Emails: []string{"Ada <ada@example.org>"}}, imx.Invalid},
		"no key":             {imx.PersonRequest{Name: "ada", Roles: roles, Keys: []string{"hello"}}, imx.Invalid},
		"a private PGP key":  {imx.PersonRequest{Name: "ada", Roles: roles, Keys: []string{private}}, imx.Invalid},
		"half a PGP key":     {imx.PersonRequest{Name: "ada", Roles: roles, Keys: []string{public[:len(public)/2]}}, imx.Invalid},
		"a hardware token's": {imx.PersonRequest{Name: "ada", Roles: roles, Keys: []string{"sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnASAAAABHNzaDo="}}, imx.Refused},
	} {
		if _, err := w.SetPerson(t.Context(), "root", c.req); imx.KindOf(err) != c.kind {
			t.Errorf("%s: err = %v", what, err)
		}
	}
}

func TestImxsOwnKeysAreListedFirst(t *testing.T) {
	w := newWorld(t)
	if _, err := w.SetPerson(t.Context(), "root", imx.PersonRequest{Name: "ada", Roles: []imx.Role{imx.RoleAuthor}, Keys: []string{sshKey(t)}}); err != nil {
		t.Fatal(err)
	}
	keys, err := w.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range keys {
		got = append(got, string(k.Owner)+" "+string(k.Role))
	}
	if want := "imx builder,imx scanner,imx tester,imx releaser,ada "; strings.Join(got, ",") != want {
		t.Errorf("%q", got)
	}
}
