// What dpkg does for packages that meet each other, shown with small packages: the builder's short ways
// must come to the same as dpkg alone.

package build_test

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/build"
)

// meeting are packages that use what dpkg offers; the first is part of the base.
func meeting() []pkg {
	sh := func(text string) string { return "#!/bin/sh\nset -e\n" + text + "\n" }
	return []pkg{
		{
			Name: "watcher",
			Scripts: map[string]string{
				"triggers": "interest /usr/share/watched\ninterest-noawait named\n",
				"postinst": sh(`if [ "$1" = triggered ]; then echo "$2" | tr ' ' '\n' >>/var/lib/watcher-ran; sort -u -o /var/lib/watcher-ran /var/lib/watcher-ran; fi; ls /usr/share/watched >/var/lib/watcher-saw 2>/dev/null || true`),
			},
		},
		{Name: "watched", Files: files{{Path: "/usr/share/watched/file", Content: "x"}}, Scripts: map[string]string{"triggers": "activate named\n"}},
		{Name: "original", Files: files{{Path: "/usr/share/f", Content: "original"}}},
		{
			Name: "diverter", Files: files{{Path: "/usr/share/f", Content: "mine"}},
			Scripts: map[string]string{"preinst": sh(`dpkg-divert --package diverter --add --rename --divert /usr/share/f.orig /usr/share/f`)},
		},
		{
			Name: "aside", Files: files{{Path: "/usr/share/g", Content: "mine"}},
			Scripts: map[string]string{"preinst": sh(`dpkg-divert --package other --add --no-rename --divert /usr/share/g.aside /usr/share/g; echo before >/usr/share/h`)},
		},
		{Name: "older", Version: "1.0", Files: files{{Path: "/usr/share/r", Content: "older"}, {Path: "/usr/share/r2"}}},
		{Name: "newer", Fields: map[string]string{"Replaces": "older (<< 2)"}, Files: files{{Path: "/usr/share/r", Content: "newer"}}},
		{
			Name:    "conf",
			Files:   files{{Path: "/etc/conf/x", Content: "setting=1"}, {Path: "/etc/conf/loose"}},
			Scripts: map[string]string{"conffiles": "/etc/conf/x\n", "postinst": sh(`cat /etc/conf/x >/var/lib/conf-read`)},
		},
		{Name: "libsame", Fields: map[string]string{"Multi-Arch": "same"}, Files: files{{Path: "/usr/lib/libsame.so.1", Content: "elf"}}, Scripts: map[string]string{"postinst": sh(`ls /var/lib/dpkg/info/libsame:amd64.list >/var/lib/same-list`)}},
		{Name: "editor-a", Files: files{{Path: "/usr/bin/editor-a", Mode: 0o755}}, Scripts: map[string]string{"postinst": sh(`update-alternatives --quiet --install /usr/bin/edit edit /usr/bin/editor-a 10`)}},
		{Name: "editor-b", Files: files{{Path: "/usr/bin/editor-b", Mode: 0o755}}, Scripts: map[string]string{"postinst": sh(`update-alternatives --quiet --install /usr/bin/edit edit /usr/bin/editor-b 20`)}},
		{Name: "asks", Depends: "virtual-thing", Scripts: map[string]string{"postinst": sh(`cat /usr/share/gives >/var/lib/asked`)}},
		{Name: "gives", Fields: map[string]string{"Provides": "virtual-thing"}, Files: files{{Path: "/usr/share/gives", Content: "given"}}},
		{Name: "early", Files: files{{Path: "/usr/share/early", Content: "configured"}}, Scripts: map[string]string{"postinst": sh(`touch /var/lib/early-done`)}},
		{Name: "waits", Fields: map[string]string{"Pre-Depends": "early"}, Scripts: map[string]string{"preinst": sh(`test -e /var/lib/early-done`)}},
		{
			Name: "owner", Files: files{{Path: "/usr/share/so", Content: "x"}, {Path: "/usr/share/kept", Content: "x"}},
			Scripts: map[string]string{"preinst": sh(`dpkg-statoverride --add root mail 2750 /usr/share/so`)},
		},
		{Name: "byname", Files: files{{Header: &tar.Header{Name: "./usr/share/mail", Typeflag: tar.TypeReg, Mode: 0o640, Uname: "root", Gname: "mail", Gid: 999}}}},
		{Name: "links", Files: files{
			{Path: "/usr/share/one", Content: "linked"},
			{Header: &tar.Header{Name: "./usr/share/two", Typeflag: tar.TypeLink, Linkname: "./usr/share/one", Mode: 0o644}},
			{Path: "/usr/share/doc/links/README"},
			{Path: "/usr/share/doc/links/copyright"},
			{Path: "/usr/share/man/man1/links.1"},
		}},
	}
}

func TestPackagesThatMeetEachOtherComeToTheSameAsWithDpkgAlone(t *testing.T) {
	w, b := host(t)
	all := meeting()
	p := w.own(t, imx.ImageSpec{}, all[1:]...)
	p.Base = append(p.Base, w.put(t, all[0]))
	comparePlacing(t, w, b, p)
}

func TestDpkgsFeaturesWorkInABuild(t *testing.T) {
	w, b := host(t)
	all := meeting()
	p := w.own(t, imx.ImageSpec{}, all[1:]...)
	p.Base = append(p.Base, w.put(t, all[0]))
	got := map[string]string{}
	want := map[string]string{
		"var/lib/watcher-ran":        "/usr/share/watched\nnamed\n",
		"var/lib/watcher-saw":        "file\n",
		"usr/share/f":                "mine",
		"usr/share/f.orig":           "original",
		"usr/share/g.aside":          "mine",
		"usr/share/r":                "newer",
		"etc/conf/x":                 "setting=1",
		"var/lib/conf-read":          "setting=1",
		"var/lib/same-list":          "/var/lib/dpkg/info/libsame:amd64.list\n",
		"etc/alternatives/edit":      "-> /usr/bin/editor-b",
		"var/lib/asked":              "given",
		"usr/share/two":              "linked",
		"usr/share/doc/links":        "copyright",
		"usr/share/man/man1/links.1": "absent",
		"usr/share/so":               "x",
		"etc/conf/x.dpkg-new":        "absent",
		"usr/share/kept":             "x",
		"var/lib/dpkg/info/none":     "absent",
	}
	err := b.Install(t.Context(), p, build.Installation{Dir: t.TempDir(), By: build.ByPlacing, Fetch: w.fetch, Look: func(when, root string) {
		if when != "image" {
			return
		}
		for name := range want {
			got[name] = whatIs(filepath.Join(root, name))
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("wanted (-), got (+):\n", diff)
	}
}

// whatIs is a file's content, a link's target, the names in a directory.
func whatIs(name string) string {
	if target, err := os.Readlink(name); err == nil {
		return "-> " + target
	}
	if entries, err := os.ReadDir(name); err == nil {
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return strings.Join(names, " ")
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return "absent"
	}
	return string(text)
}
