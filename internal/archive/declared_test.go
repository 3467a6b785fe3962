package archive_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/archive"
	"imx/internal/archive/archivetest"
	"imx/internal/blob"
)

// Whoever wants to know later whether an archive of a template has something newer knows only its name.
func TestAnArchiveThatATemplateDeclaredIsRemembered(t *testing.T) {
	made := archivetest.New(t, archivetest.Package{Name: "one", Version: "1"})
	blobs, err := blob.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	open := func() *archive.Archive {
		a, err := archive.New(archive.Config{Dir: dir, Blobs: blobs})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	decl := imx.Archive{Name: "own", Mirror: "file://" + made.Dir, Suites: []string{"bookworm"}, Keyring: made.Keyring(), At: imx.Pos{File: "x", Line: 3}}
	host, wrong := decl, decl
	host.Name = imx.HostArchive
	wrong.Name, wrong.Suites = "wrong", []string{"trixie"}
	for _, d := range []imx.Archive{host, decl, wrong} {
		_, err := open().Fetch(t.Context(), d, archivetest.Architecture, nil, func(imx.Progress) {})
		if (err != nil) != (d.Name == "wrong") {
			t.Fatalf("%s: %v", d.Name, err)
		}
	}
	decl.At = imx.Pos{}
	if got, err := open().Declared(); err != nil || !cmp.Equal(got, []imx.Archive{decl}) {
		t.Errorf("%+v, %v", got, err)
	}
	changed := decl
	changed.Suites = []string{"stable"}
	made.Suite, made.Fields = "stable", map[string]string{"Codename": "bookworm"}
	made.Publish()
	snapshot, err := open().Fetch(t.Context(), changed, archivetest.Architecture, nil, func(imx.Progress) {})
	if err != nil || !cmp.Equal(snapshot.Codenames, map[string]string{"stable": "bookworm"}) {
		t.Errorf("%v, %v", snapshot.Codenames, err)
	}
	if got, err := open().Declared(); err != nil || !cmp.Equal(got, []imx.Archive{changed}) {
		t.Errorf("%+v, %v", got, err)
	}
}
