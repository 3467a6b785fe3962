// These tests are here because the host's apt configuration also lists other vendors' archives:
// imx must take Debian's part of it, whatever the form, never leave a part of it out silently, and
// bother no other vendor whose key is named.

package archive_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"

	"imx"
	"imx/internal/archive"
	"imx/internal/archive/archivetest"
	"imx/internal/deb"
)

// hostFetcher has apt sources of its own, and the archive's keyring as Debian's. In the sources, MAIN stands for the
// archive's URL and KEYRING for the keyring file.
func hostFetcher(t *testing.T, made *archivetest.Archive, files map[string]string) fetcher {
	t.Helper()
	apt := t.TempDir()
	keyring := filepath.Join(apt, "debian.gpg")
	write(t, keyring, made.Keyring())
	replace := strings.NewReplacer("MAIN", "file://"+made.Dir, "KEYRING", keyring, "APT", apt)
	for name, text := range files {
		write(t, filepath.Join(apt, name), []byte(replace.Replace(text)))
	}
	return newFetcher(t, func(c *archive.Config) { c.AptDir, c.Keyring = apt, keyring })
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func host() imx.Archive { return imx.Archive{Name: imx.HostArchive} }

func TestTheHostsSourcesAreReadInBothForms(t *testing.T) {
	made := archivetest.New(t, hello())
	var key bytes.Buffer
	w, err := armor.Encode(&key, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(made.Keyring())
	_ = w.Close()
	embedded := " " + strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(key.String()), "\n\n", "\n.\n"), "\n", "\n ")

	for name, files := range map[string]map[string]string{
		"one line":         {"sources.list": "# a comment\ndeb MAIN bookworm main # the rest\n"},
		"with options":     {"sources.list.d/a.list": "deb [arch=amd64 signed-by=KEYRING] MAIN/ bookworm main contrib\n"},
		"deb822":           {"sources.list.d/a.sources": "# a comment\nTypes: deb deb-src\n# another\nURIs: MAIN\nSuites: bookworm\nComponents: main\nSigned-By: KEYRING\n"},
		"an embedded key":  {"sources.list.d/a.sources": "Types: deb\nURIs: MAIN\nSuites: bookworm\nComponents: main\nSigned-By:\n" + embedded + "\n"},
		"listed twice":     {"sources.list": "deb MAIN bookworm main\n", "sources.list.d/a.list": "deb MAIN bookworm contrib\n"},
		"and disabled too": {"sources.list": "deb MAIN bookworm main\n", "sources.list.d/b.sources": "Enabled: no\nTypes: deb\nURIs: http://127.0.0.1:1\nSuites: bookworm-other\n"},
		"a source package": {"sources.list": "deb MAIN bookworm main\ndeb-src http://127.0.0.1:1 sid main\n"},
		"another's arch":   {"sources.list": "deb MAIN bookworm main\ndeb [arch=s390x] http://127.0.0.1:1 sid main\n"},
		"a saved copy":     {"sources.list": "deb MAIN bookworm main\n", "sources.list.d/a.list.save": "nonsense"},
	} {
		f := hostFetcher(t, made, files)
		snapshot, err := f.fetch(t, host())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, ok := snapshot.Index.Newest("hello", archivetest.Architecture); !ok || len(snapshot.Suites) != 1 || len(snapshot.Notices) != 0 {
			t.Errorf("%s: suites = %+v, notices = %+v", name, snapshot.Suites, snapshot.Notices)
		}
		if err := f.packages(t, host(), made.Pin(imx.HostArchive, "hello")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOtherVendorsSourcesAreLeftOutWithANotice(t *testing.T) {
	made := archivetest.New(t, hello())
	vendor := archivetest.New(t, archivetest.Package{Name: "product"})
	vendor.Suite = "vendor"
	vendor.Publish()
	keyring := filepath.Join(t.TempDir(), "vendor.gpg")
	write(t, keyring, vendor.Keyring())
	for name, test := range map[string]struct{ line, reason string }{
		"another keyring":     {"deb [signed-by=" + keyring + "] http://127.0.0.1:1 vendor main", "its Signed-By names other keys than the archive's keyring"},
		"another fingerprint": {"deb [signed-by=0123456789ABCDEF0123456789ABCDEF01234567] http://127.0.0.1:1 vendor main", "its Signed-By names other keys than the archive's keyring"},
		"a missing keyring":   {"deb [signed-by=/nowhere/key.gpg] http://127.0.0.1:1 vendor main", "its Signed-By names other keys than the archive's keyring"},
		"another signature":   {"deb file://" + vendor.Dir + " vendor main", "which the archive's keyring doesn't have"},
		"not reachable":       {"deb http://127.0.0.1:1 cloud-bookworm main", "the mirror can't be reached"},
		"a flat folder":       {"deb http://127.0.0.1:1 ./", "it has no suites, but one flat folder"},
		"a CD":                {"deb cdrom:[Debian]/ vendor main", "it is no http, https or file URL"},
	} {
		f := hostFetcher(t, made, map[string]string{"sources.list": "deb MAIN bookworm main\n", "sources.list.d/vendor.list": "\n" + test.line + "\n"})
		snapshot, err := f.fetch(t, host())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(snapshot.Notices) != 1 {
			t.Errorf("%s: notices = %+v", name, snapshot.Notices)
			continue
		}
		n := snapshot.Notices[0]
		if diff := cmp.Diff(imx.Pos{File: "sources.list.d/vendor.list", Line: 2}, n.At); diff != "" {
			t.Errorf("%s: place (-want +got):\n%s", name, diff)
		}
		if n.Severity != imx.SeverityNotice || !strings.Contains(n.Summary, test.reason) || strings.Contains(n.Summary, "127.0.0.1") {
			t.Errorf("%s: notice %q, want %q", name, n.Summary, test.reason)
		}
	}
}

func TestAPartOfTheArchiveIsNeverLeftOutBecauseItFails(t *testing.T) {
	made := archivetest.New(t, hello())
	for name, test := range map[string]struct {
		line  string
		decl  imx.Archive
		known []imx.LockedSuite
	}{
		"its name says so":     {line: "deb http://127.0.0.1:1 bookworm-security main", decl: host()},
		"by its old name":      {line: "deb http://127.0.0.1:1 bookworm/updates main", decl: host()},
		"as a suite":           {line: "deb http://127.0.0.1:1 stable-security main", decl: host()},
		"Signed-By says so":    {line: "deb [signed-by=KEYRING] http://127.0.0.1:1 sid main", decl: host()},
		"the template says so": {line: "deb http://127.0.0.1:1 extra main", decl: imx.Archive{Name: "own", Suites: []string{"bookworm", "extra"}}},
		"it was seen before": {
			line: "deb http://127.0.0.1:1 extra main", decl: host(),
			known: []imx.LockedSuite{{Archive: imx.HostArchive, Suite: "extra"}},
		},
	} {
		f := hostFetcher(t, made, map[string]string{"sources.list": "deb MAIN bookworm main\n" + test.line + "\n"})
		_, err := f.fetch(t, test.decl, test.known...)
		if imx.KindOf(err) != imx.Unavailable {
			t.Errorf("%s: err = %v, want Unavailable", name, err)
		}
	}
}

// Who stands on the way to a mirror can take a signature off, or put his own there: that mustn't
// make a suite another vendor's.
func TestAPartOfTheArchiveIsNeverLeftOutBecauseOfItsSignature(t *testing.T) {
	made := archivetest.New(t, hello())
	seen := func(suite string) []imx.LockedSuite {
		return []imx.LockedSuite{{Archive: imx.HostArchive, Suite: suite}}
	}
	for name, test := range map[string]struct {
		suite string
		keys  []*openpgp.Entity
		dir   string // "" means a mirror of its own
		known []imx.LockedSuite
		want  string
	}{
		"taken off":                         {suite: "bookworm-security", want: "isn't signed"},
		"taken off, named as a suite":       {suite: "stable-security", want: "isn't signed"},
		"taken off, of a suite seen before": {suite: "extra", known: seen("extra"), want: "isn't signed"},
		"taken off, of any suite":           {suite: "vendor", want: "isn't signed"},
		"replaced":                          {suite: "bookworm-security", keys: otherKeys(t), want: "is signed by key"},
		"replaced, named as a suite":        {suite: "stable-security", keys: otherKeys(t), want: "is signed by key"},
		"replaced, of a suite seen before":  {suite: "extra", keys: otherKeys(t), known: seen("extra"), want: "is signed by key"},
		"replaced, on the archive's mirror": {suite: "sid", keys: otherKeys(t), dir: made.Dir, want: "is signed by key"},
	} {
		t.Run(name, func(t *testing.T) {
			harmed := archivetest.New(t, base())
			harmed.Suite, harmed.Keys = test.suite, test.keys
			if test.dir != "" {
				harmed.Dir = test.dir
			}
			harmed.Publish()
			f := hostFetcher(t, made, map[string]string{
				"sources.list": "deb MAIN bookworm main\ndeb file://" + harmed.Dir + " " + test.suite + " main\n",
			})
			snapshot, err := f.fetch(t, host(), test.known...)
			if err == nil {
				t.Fatalf("it was left out: %+v", snapshot.Notices)
			}
			wantError(t, err, imx.Refused, `suite "`+test.suite+`"`, test.want)
			if hint := imx.AsError(err).Hint; !strings.Contains(hint, "Signed-By") || !strings.Contains(hint, "sources.list:2") {
				t.Errorf("hint %q doesn't say how to tell another vendor's source", hint)
			}
		})
	}
}

func otherKeys(t *testing.T) []*openpgp.Entity {
	t.Helper()
	return []*openpgp.Entity{archivetest.NewKey(t, "other")}
}

// Docker's source, for one, has Debian's codename as its suite, with a component of its own: its
// host isn't asked for Debian's files, even when Debian's mirror fails.
func TestASourceWithoutAComponentThatIsWantedIsNotAsked(t *testing.T) {
	made := archivetest.New(t, hello())
	vendor := archivetest.New(t, archivetest.Package{Name: "product"})
	asked := false
	url := vendor.Serve("vendor", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked = true; next.ServeHTTP(w, r) })
	}).Mirror
	f := hostFetcher(t, made, map[string]string{"sources.list": "deb " + url + " bookworm stable\ndeb MAIN bookworm main\ndeb MAIN bookworm contrib\n"})
	snapshot, err := f.fetch(t, host())
	if err != nil {
		t.Fatal(err)
	}
	if asked || len(snapshot.Suites) != 1 {
		t.Errorf("asked = %t, suites = %+v", asked, snapshot.Suites)
	}
	if len(snapshot.Notices) != 1 || snapshot.Notices[0].At.Line != 1 || !strings.Contains(snapshot.Notices[0].Summary, `none of its components "stable" is wanted here`) {
		t.Errorf("notices = %+v, want one of the vendor's line", snapshot.Notices)
	}
}

func TestOfSeveralMirrorsTheWorstFailureIsTold(t *testing.T) {
	made := archivetest.New(t, hello())
	pin := made.Pin(imx.HostArchive, "hello")
	bad := archivetest.New(t, hello())
	bad.Change("dists/*/InRelease", func(b []byte) []byte { return append(b, "Codename: evil\n"...) })
	bad.Change(pin.Path, func(b []byte) []byte { b[100] ^= 1; return b })
	empty := t.TempDir()
	lines := []string{"deb http://127.0.0.1:1 bookworm main", "deb file://" + bad.Dir + " bookworm main", "deb file://" + empty + " bookworm main"}
	for range lines {
		lines = append(lines[1:], lines[0]) // in any order
		f := hostFetcher(t, made, map[string]string{"sources.list": strings.Join(lines, "\n") + "\n"})
		_, err := f.fetch(t, host())
		wantError(t, err, imx.Refused, "has text outside its signature")
		wantError(t, f.packages(t, host(), pin), imx.Refused, "the bytes have digest")
	}
	f := hostFetcher(t, made, map[string]string{"sources.list": lines[0] + "\n" + lines[2] + "\n"})
	wantError(t, f.packages(t, host(), pin), imx.Unavailable, "can't be reached") // it may have what the other lacks
}

func TestASecondMirrorOfASuiteIsTriedWhenTheFirstFails(t *testing.T) {
	made := archivetest.New(t, hello())
	f := hostFetcher(t, made, map[string]string{"sources.list": "deb http://127.0.0.1:1 bookworm main\ndeb MAIN bookworm main\n"})
	snapshot, err := f.fetch(t, host())
	if err != nil || len(snapshot.Suites) != 1 {
		t.Fatalf("suites = %+v, %v", snapshot.Suites, err)
	}
	if err := f.packages(t, host(), made.Pin(imx.HostArchive, "hello")); err != nil {
		t.Error(err)
	}
}

func TestAHostWithoutTheSuiteSaysSo(t *testing.T) {
	made := archivetest.New(t, hello())
	f := hostFetcher(t, made, map[string]string{"sources.list": "deb MAIN bookworm main\n"})
	_, err := f.fetch(t, imx.Archive{Name: "own", Suites: []string{"trixie"}})
	wantError(t, err, imx.NotFound, `archive "own": none of this machine's apt sources has the suite "trixie"`)
	_, err = hostFetcher(t, made, nil).fetch(t, host())
	wantError(t, err, imx.NotFound, "none of this machine's apt sources is signed by Debian's keyring")
	pin := made.Pin(imx.HostArchive, "hello")
	pin.Suite = "trixie"
	wantError(t, f.packages(t, host(), pin), imx.NotFound, `archive "host" has no suite "trixie", which package hello_1.0_amd64 is from`)
	pin.Archive = "gone"
	wantError(t, f.packages(t, host(), pin), imx.NotFound, `there is no archive "gone"`)
}

func TestAMalformedSourceIsNamedByItsLine(t *testing.T) {
	made := archivetest.New(t, hello())
	f := hostFetcher(t, made, map[string]string{"sources.list": "deb MAIN bookworm main\ndeb half\n"})
	_, err := f.fetch(t, host())
	wantError(t, err, imx.Invalid, "sources.list:2: this is no apt source")
}

func TestBothWaysToDecompressGiveTheSameBytes(t *testing.T) {
	text := bytes.Repeat([]byte("Package: some\n"), 100_000)
	var packed bytes.Buffer
	w, err := xz.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	full := errors.New("the disk is full")
	for name, unpack := range archive.UnpackersOfXZ() {
		err := unpack(t.Context(), bytes.NewReader(packed.Bytes()), func(r io.Reader) error {
			got, err := io.ReadAll(r)
			if !bytes.Equal(got, text) {
				t.Errorf("%s: %d bytes, want %d", name, len(got), len(text))
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		cut := packed.Bytes()[:packed.Len()/2]
		if err := unpack(t.Context(), bytes.NewReader(cut), func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }); err == nil {
			t.Errorf("%s: half of a file was taken for whole", name)
		}
		if err := unpack(t.Context(), bytes.NewReader(packed.Bytes()), func(io.Reader) error { return full }); !errors.Is(err, full) {
			t.Errorf("%s: err = %v, want the user's own", name, err)
		}
	}
}

// A template may want another release of Debian than the machine's own: it is on the same mirror,
// and its security suite where the machine's own security suite is.
func TestASuiteThatTheHostLacksIsLookedForWhereItsKinIs(t *testing.T) {
	made := archivetest.New(t, hello())
	made.Suite, made.Fields = "trixie", map[string]string{"NotAutomatic": "yes", "ButAutomaticUpgrades": "yes"}
	made.Publish()
	signed := "deb [signed-by=KEYRING] MAIN bookworm main\n"
	for name, c := range map[string]struct {
		sources string
		suites  []string
		kind    imx.Kind
	}{
		"beside the host's own": {signed, []string{"bookworm", "trixie"}, ""},
		"alone":                 {signed, []string{"trixie"}, ""},
		"not on the mirror":     {signed, []string{"sid"}, imx.NotFound},
		"no mirror of security": {signed, []string{"trixie-security"}, imx.NotFound},
		"a key that isn't told": {"deb MAIN bookworm main\n", []string{"trixie"}, imx.NotFound},
		"another vendor's key":  {"deb [signed-by=/nowhere] MAIN bookworm main\n", []string{"trixie"}, imx.NotFound},
	} {
		decl := imx.Archive{Name: "debian", Suites: c.suites}
		snapshot, err := hostFetcher(t, made, map[string]string{"sources.list": c.sources}).fetch(t, decl)
		if c.kind != "" {
			if imx.KindOf(err) != c.kind {
				t.Errorf("%s: err = %v, want kind %s", name, err, c.kind)
			}
			continue
		}
		if err != nil || len(snapshot.Suites) != len(c.suites) || snapshot.Priorities["trixie"] != deb.PriorityLow {
			t.Errorf("%s: suites = %+v, priorities = %v, err = %v", name, snapshot.Suites, snapshot.Priorities, err)
		}
	}
}

// This one test asks the network: the security suite of the host's own Debian mirror, whose
// index is small, signed anew every few hours, and has a Valid-Until.
func TestTheHostsOwnSecuritySuiteVerifies(t *testing.T) {
	if testing.Short() {
		t.Skip("it asks the network")
	}
	release, err := exec.CommandContext(t.Context(), "sh", "-c", ". /etc/os-release && echo $ID $VERSION_CODENAME").Output()
	name, isDebian := strings.CutPrefix(strings.TrimSpace(string(release)), "debian ")
	if err != nil || !isDebian {
		t.Skip("this isn't Debian")
	}
	f := newFetcher(t, func(c *archive.Config) { c.AptDir = "" })
	began := time.Now()
	snapshot, err := f.fetch(t, imx.Archive{Name: imx.HostArchive, Suites: []string{name + "-security"}})
	if kind := imx.KindOf(err); kind == imx.Unavailable || kind == imx.NotFound {
		t.Skipf("no mirror to ask: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if snapshot.Index.Len() < 100 {
		t.Errorf("%d packages", snapshot.Index.Len())
	}
	t.Logf("%d packages of %s in %s", snapshot.Index.Len(), snapshot.Suites[0].Suite, time.Since(began))
}

func FuzzSources(f *testing.F) {
	f.Add("deb [arch=amd64 signed-by=/k.gpg] http://example.org/debian bookworm main # x\n")
	f.Add("Types: deb\nURIs: http://example.org\nSuites: a b\nComponents: main\nSigned-By:\n -----BEGIN\n .\n x\n\nEnabled: no\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, name := range []string{"x.list", "x.sources"} {
			suites, err := archive.ParseSources(name, []byte(text))
			if err != nil && (imx.KindOf(err) != imx.Invalid || !strings.HasPrefix(err.Error(), name)) {
				t.Errorf("%s: err = %v (%s)", name, err, imx.KindOf(err))
			}
			for _, s := range suites {
				if s == "" || strings.ContainsAny(s, " \n\t") {
					t.Errorf("suite %q", s)
				}
			}
		}
	})
}

// Nothing that the fuzzer makes can be signed by the key, so nothing may be opened but the seed itself.
func FuzzOpenSigned(f *testing.F) {
	made := archivetest.New(f, archivetest.Package{Name: "hello"})
	good, err := os.ReadFile(filepath.Join(made.Dir, "dists", made.Suite, "InRelease"))
	if err != nil {
		f.Fatal(err)
	}
	now := time.Now()
	want, err := archive.OpenSigned(good, made.Keys, now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := archive.OpenSigned(raw, made.Keys, now)
		if err == nil && !bytes.Equal(bytes.TrimSpace(got), bytes.TrimSpace(want)) {
			t.Errorf("opened %q", got)
		}
	})
}
