// Package archivetest makes real, small, signed Debian archives for tests: .deb files, Packages,
// InRelease, and the keyring that signs them. What it makes can be broken in every way that a
// mirror or an attacker can break it. Nothing but tests uses it.
package archivetest

import (
	"bytes"
	"crypto"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"imx"
)

// Architecture is the one that archives are made for.
const Architecture = "amd64"

// Archive is one suite, "main" alone, in a folder that is laid out as a mirror is. Change the fields,
// then Publish.
type Archive struct {
	Dir        string    // the mirror's root
	Suite      string    // its folder's name and codename
	Date       time.Time // of the next index
	ValidUntil time.Time // zero: none
	ByHash     bool      // offer the lists by their hashes, too
	Packages   []Package
	// Fields are put into the Release as they are, and win over what is there: {"Codename": "other"}.
	Fields map[string]string
	Keys   []*openpgp.Entity // that sign; empty leaves InRelease unsigned

	tb    testing.TB
	files map[string]imx.Package
}

// New makes an archive of the suite "bookworm" with the packages and publishes it. It is gone when the test ends.
func New(tb testing.TB, packages ...Package) *Archive {
	tb.Helper()
	a := &Archive{
		Dir:      tb.TempDir(),
		Suite:    "bookworm",
		Date:     time.Now().UTC().Add(-time.Hour).Truncate(time.Second),
		ByHash:   true,
		Packages: packages,
		Keys:     []*openpgp.Entity{NewKey(tb, "archive")},
		tb:       tb,
	}
	a.Publish()
	return a
}

// NewKey makes a signing key that has been valid for a year.
func NewKey(tb testing.TB, name string) *openpgp.Entity {
	tb.Helper()
	key, err := openpgp.NewEntity(name, "test", name+"@example.org", &packet.Config{
		Algorithm:   packet.PubKeyAlgoEdDSA,
		DefaultHash: crypto.SHA256,
		Time:        func() time.Time { return time.Now().AddDate(-1, 0, 0) },
	})
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// Keyring returns the public keys that sign.
func (a *Archive) Keyring() []byte {
	a.tb.Helper()
	var b bytes.Buffer
	for _, k := range a.Keys {
		if err := k.Serialize(&b); err != nil {
			a.tb.Fatal(err)
		}
	}
	return b.Bytes()
}

// Declare returns the declaration of the archive under a name, with a file URL.
func (a *Archive) Declare(name string) imx.Archive {
	return imx.Archive{Name: name, Mirror: "file://" + a.Dir, Suites: []string{a.Suite}, Keyring: a.Keyring()}
}

// Serve serves the archive on 127.0.0.1 until the test ends and returns its declaration with that
// address. wrap may stand between, to fail requests; nil means nothing does.
func (a *Archive) Serve(name string, wrap func(http.Handler) http.Handler) imx.Archive {
	a.tb.Helper()
	handler := http.FileServer(http.Dir(a.Dir))
	if wrap != nil {
		handler = wrap(handler)
	}
	server := httptest.NewServer(handler)
	a.tb.Cleanup(server.Close)
	decl := a.Declare(name)
	decl.Mirror = server.URL
	return decl
}

// Pin returns the published package of the name, of the highest place in Packages, as archive name has it.
func (a *Archive) Pin(archive, name string) imx.Package {
	a.tb.Helper()
	p, ok := a.files[name]
	if !ok {
		a.tb.Fatalf("no package %q was published", name)
	}
	p.Archive, p.Suite = archive, a.Suite
	return p
}

// Publish writes what the fields say: a newer index at each call, because Date then moves on by a
// minute. Files of earlier packages stay in the pool.
func (a *Archive) Publish() {
	a.tb.Helper()
	a.files = map[string]imx.Package{}
	var list strings.Builder
	for _, p := range a.Packages {
		p = p.withDefaults()
		content, err := p.Deb()
		if err != nil {
			a.tb.Fatalf("package %s: %v", p.Name, err)
		}
		file := fmt.Sprintf("pool/main/%c/%s/%s_%s_%s.deb", p.Name[0], p.Name, p.Name, strings.ReplaceAll(p.Version, ":", "%3a"), p.Architecture)
		a.Write(file, content)
		pin := imx.Package{
			Name: p.Name, Version: p.Version, Architecture: p.Architecture,
			Path: file, Size: int64(len(content)), Digest: imx.DigestBytes(content),
		}
		a.files[p.Name] = pin
		fmt.Fprintf(&list, "%sFilename: %s\nSize: %d\nSHA256: %s\n\n", p.control(), file, pin.Size, pin.Digest.Hex())
	}
	a.publishList(list.String())
}

// PublishList publishes text as the suite's Packages file, well-formed or not.
func (a *Archive) PublishList(text string) {
	a.tb.Helper()
	a.publishList(text)
}

func (a *Archive) publishList(text string) {
	a.tb.Helper()
	packed, err := pack("xz", []byte(text))
	if err != nil {
		a.tb.Fatal(err)
	}
	folder := "main/binary-" + Architecture + "/"
	plainSum, packedSum := imx.DigestBytes([]byte(text)).Hex(), imx.DigestBytes(packed).Hex()
	// The plain list is named, but offered compressed only, as Debian does.
	a.Write("dists/"+a.Suite+"/"+folder+"Packages.xz", packed)
	if a.ByHash {
		a.Write("dists/"+a.Suite+"/"+folder+"by-hash/SHA256/"+packedSum, packed)
	}
	a.sign(a.releaseText(fmt.Sprintf("\n %s %d %sPackages\n %s %d %sPackages.xz",
		plainSum, len(text), folder, packedSum, len(packed), folder)))
	a.Date = a.Date.Add(time.Minute)
}

func (a *Archive) releaseText(sums string) string {
	fields := map[string]string{
		"Origin": "Test", "Suite": "stable", "Codename": a.Suite, "Date": date(a.Date),
		"Architectures": "all " + Architecture, "Components": "main", "SHA256": sums,
	}
	if !a.ValidUntil.IsZero() {
		fields["Valid-Until"] = date(a.ValidUntil)
	}
	if a.ByHash {
		fields["Acquire-By-Hash"] = "yes"
	}
	maps.Copy(fields, a.Fields)
	return stanza(fields)
}

func (a *Archive) sign(text string) {
	a.tb.Helper()
	file := "dists/" + a.Suite + "/InRelease"
	if len(a.Keys) == 0 {
		a.Write(file, []byte(text))
		return
	}
	var keys []*packet.PrivateKey
	for _, k := range a.Keys {
		keys = append(keys, k.PrivateKey)
	}
	var b bytes.Buffer
	w, err := clearsign.EncodeMulti(&b, keys, &packet.Config{DefaultHash: crypto.SHA256})
	if err != nil {
		a.tb.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		a.tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		a.tb.Fatal(err)
	}
	b.WriteByte('\n')
	a.Write(file, b.Bytes())
}

// Write puts a file below the mirror's root, whatever was there.
func (a *Archive) Write(file string, content []byte) {
	a.tb.Helper()
	full := filepath.Join(a.Dir, filepath.FromSlash(file))
	if err := os.MkdirAll(filepath.Dir(full), 0o750); err != nil {
		a.tb.Fatal(err)
	}
	if err := os.WriteFile(full, content, 0o600); err != nil {
		a.tb.Fatal(err)
	}
}

// Change rewrites every file below the mirror's root that the pattern of path.Match names, and
// fails the test if there is none. A change that returns nil removes the file.
func (a *Archive) Change(pattern string, change func([]byte) []byte) {
	a.tb.Helper()
	var found []string
	err := filepath.WalkDir(a.Dir, func(full string, e os.DirEntry, err error) error {
		rel, relErr := filepath.Rel(a.Dir, full)
		if err != nil || relErr != nil || e.IsDir() {
			return err
		}
		if ok, _ := path.Match(pattern, filepath.ToSlash(rel)); ok {
			found = append(found, full)
		}
		return nil
	})
	if err != nil || len(found) == 0 {
		a.tb.Fatalf("no file %s in the archive: %v", pattern, err)
	}
	for _, full := range found {
		a.change(full, change)
	}
}

func (a *Archive) change(full string, change func([]byte) []byte) {
	a.tb.Helper()
	b, err := os.ReadFile(full)
	if err != nil {
		a.tb.Fatal(err)
	}
	if b = change(b); b == nil {
		err = os.Remove(full)
	} else {
		err = os.WriteFile(full, b, 0o600)
	}
	if err != nil {
		a.tb.Fatal(err)
	}
}

func date(t time.Time) string { return t.UTC().Format("Mon, 02 Jan 2006 15:04:05") + " UTC" }

// stanza writes fields sorted by name, Package first.
func stanza(fields map[string]string) string {
	names := make([]string, 0, len(fields))
	for name, value := range fields {
		if value != "" {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(x, y string) int {
		switch {
		case x == "Package":
			return -1
		case y == "Package":
			return 1
		}
		return strings.Compare(x, y)
	})
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%s: %s\n", name, fields[name])
	}
	return b.String()
}
