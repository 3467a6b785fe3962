// Most packages are unpacked without dpkg. These tests compare each path and each record with what
// dpkg makes of the same packages.

package build_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/archive"
	"imx/internal/build"
)

// described is what there is to say of each path of a root.
func described(tb testing.TB, root string) map[string]string {
	tb.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(p, root)
		switch name {
		case "/proc", "/run", "/dev", "/tmp": // the sandbox's own
			return fs.SkipDir
		case "/var/log/dpkg.log", "/var/log/alternatives.log", "/var/lib/dpkg/status-old", "/var/lib/dpkg/diversions-old": // what was done, not what is there
			return nil
		case "/var/cache/ldconfig/aux-cache": // has inode numbers
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			tb.Fatal("no owner is known of", p)
		}
		line := fmt.Sprintf("%s %d:%d", info.Mode(), st.Uid, st.Gid)
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			line += " -> " + target + changed(name, info)
		case info.Mode().IsRegular():
			line += fmt.Sprintf(" %d links", st.Nlink) + " " + content(tb, name, p) + changed(name, info)
		}
		all[name] = line
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// changed is a file's time of change, if it is one of a package: those that scripts write have the time
// of the build.
func changed(name string, info fs.FileInfo) string {
	if strings.HasPrefix(name, "/var/lib/dpkg/") || info.ModTime().Year() >= 2026 {
		return ""
	}
	return " " + info.ModTime().UTC().Format("2006-01-02 15:04:05.999")
}

// content is a file's digest; of dpkg's status, and of other files whose order means nothing, it is
// the sorted parts.
func content(tb testing.TB, name, file string) string {
	tb.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	switch name {
	case "/var/lib/dpkg/status", "/var/lib/dpkg/triggers/File", "/var/lib/dpkg/diversions":
		return "\n" + sortedParts(string(text))
	}
	if strings.HasPrefix(name, "/var/lib/dpkg/triggers/") {
		return string(text)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// sortedParts sorts the stanzas of a text, and the lines of each: dpkg orders neither by meaning.
func sortedParts(text string) string {
	stanzas := strings.Split(strings.TrimSpace(text), "\n\n")
	for i, stanza := range stanzas {
		lines := strings.Split(stanza, "\n")
		slices.Sort(lines)
		stanzas[i] = strings.Join(lines, "\n")
	}
	slices.Sort(stanzas)
	return strings.Join(stanzas, "\n\n")
}

// ofRelease plans and fetches an image of a Debian release, from the host's own mirrors.
func (w *world) ofRelease(tb testing.TB, release string, names ...string) imx.ImagePlan {
	tb.Helper()
	a, err := archive.New(archive.Config{Dir: tb.TempDir(), Blobs: w.blobs, AptDir: sourcesOf(tb, release)})
	if err != nil {
		tb.Fatal(err)
	}
	decl := imx.Archive{Name: imx.HostArchive}
	s, err := a.Fetch(tb.Context(), decl, "amd64", nil, quiet)
	if err != nil {
		tb.Skip("no archive:", err)
	}
	there := &world{cache: w.cache, archive: a, snapshot: s, blobs: w.blobs}
	image := there.planned(tb, imx.ImageSpec{Name: "own", Packages: names})
	all := append(append(image.Base, image.Tools...), image.Ship...)
	if err := a.Packages(tb.Context(), func(string) (imx.Archive, bool) { return decl, true }, all, quiet); err != nil {
		tb.Fatal(err)
	}
	return image
}

// sourcesOf is an apt folder with the host's sources, made to name another release.
func sourcesOf(tb testing.TB, release string) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := os.CopyFS(dir, os.DirFS("/etc/apt")); err != nil {
		tb.Skip("no apt sources:", err)
	}
	files, err := filepath.Glob(dir + "/sources.list*/*")
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range append(files, dir+"/sources.list") {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			tb.Fatal(err)
		}
		own := regexp.MustCompile(`\b(bookworm|trixie)\b`)
		if err := os.WriteFile(name, own.ReplaceAll(text, []byte(release)), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

func TestPlacedPackagesAreAsDpkgUnpacksThem(t *testing.T) {
	w, b := host(t)
	for _, release := range []string{"bookworm", "trixie"} {
		t.Run(release, func(t *testing.T) {
			comparePlacing(t, w, b, w.ofRelease(t, release, "nginx-light", "python3-minimal"))
		})
	}
}

func comparePlacing(t *testing.T, w *world, b *build.Builder, p imx.ImagePlan) {
	t.Helper()
	var seen [2]map[string]map[string]string
	for by := range seen {
		seen[by] = map[string]map[string]string{}
		err := b.Install(t.Context(), p, build.Installation{
			Dir: t.TempDir(), By: by, Fetch: w.fetch,
			Look: func(when, root string) { seen[by][when] = described(t, root) },
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// Scripts before unpacking see the records of those that came before them. Here those of several
	// packages run before the files of any are on record, and so divert more, until they are configured.
	for _, by := range seen {
		delete(by["base unpacked"], "/var/lib/dpkg/diversions")
	}
	for when, placed := range seen[build.ByPlacing] {
		if diff := cmp.Diff(seen[build.ByDpkg][when], placed); diff != "" {
			t.Errorf("%s: dpkg (-) and the builder (+) differ:\n%s", when, diff)
		}
	}
}
