// What an image's inventory says, and which programs it says can listen.

package build_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx"
)

func (w *world) inventory(tb testing.TB, image imx.Image) imx.Inventory {
	tb.Helper()
	raw, err := w.blobs.ReadAll(image.Inventory, 64<<20)
	if err != nil {
		tb.Fatal(err)
	}
	var in imx.Inventory
	if err := json.Unmarshal(raw, &in); err != nil {
		tb.Fatal(err)
	}
	return in
}

func TestTheInventorySaysWhatIsInsideAndWhereItCameFrom(t *testing.T) {
	w, b := host(t)
	spec := imx.ImageSpec{
		Packages: []string{"app=1.0"}, Setuid: []string{"/usr/bin/app"}, Files: []imx.File{w.file(t, "/srv/page", "page", "", 0o600)},
	}
	app := pkg{
		Name: "app", Depends: "lib (>= 1)", Files: files{{Path: "/usr/bin/app", Content: "su", Mode: 0o4755}, {Path: "/etc/app.conf", Content: "old"}},
		Fields:  map[string]string{"Source": "app-src (7)", "Section": "web", "Recommends": "more", "Description": "serves\n at length"},
		Scripts: map[string]string{"postinst": "#!/bin/sh -e\ninstall -d -o 33 -g 33 -m 2750 /var/lib/app\necho new >/etc/app.conf\necho app:x:990:991::/var/lib/app:/bin/false >>/etc/passwd\n"},
	}
	lib := pkg{Name: "lib", Files: files{{Path: "/usr/lib/lib.so", Link: "lib.so.1"}}}
	p := w.own(t, spec, app, lib)
	in := w.inventory(t, run(t, b, p).Image)

	want := []imx.InventoryPackage{
		{Package: p.Ship[0], Asked: true, Source: "app-src", SourceVersion: "7", Section: "web", Description: "serves", Depends: "lib (>= 1)", Recommends: "more"},
		{Package: p.Ship[1], Source: "lib", SourceVersion: "1.0", Description: "a package for tests"},
	}
	if in.Version != imx.InventoryVersion || cmp.Diff(want, in.Packages) != "" {
		t.Errorf("version %d, packages wanted (-), is (+):\n%s", in.Version, cmp.Diff(want, in.Packages))
	}
	sum := func(text string) imx.Digest { return imx.DigestBytes([]byte(text)) }
	for _, want := range []imx.InventoryPath{
		{Path: "/usr/bin/app", Kind: imx.PathFile, Mode: 0o4755, Size: 2, Digest: sum("su"), Origin: imx.OriginPackage, Package: "app"},
		{Path: "/etc/app.conf", Kind: imx.PathFile, Mode: 0o644, Size: 4, Digest: sum("new\n"), Origin: imx.OriginPackage, Package: "app"},
		{Path: "/usr/lib/lib.so", Kind: imx.PathLink, Mode: 0o777, Target: "lib.so.1", Origin: imx.OriginPackage, Package: "lib"},
		{Path: "/var/lib/app", Kind: imx.PathDirectory, Mode: 0o2750, UID: 33, GID: 33, Origin: imx.OriginGenerated},
		{Path: "/srv/page", Kind: imx.PathFile, Mode: 0o600, Size: 4, Digest: sum("page"), Origin: imx.OriginTemplate},
		{Path: "/tmp", Kind: imx.PathDirectory, Mode: 0o1777, Origin: imx.OriginFrame},
	} {
		i := slices.IndexFunc(in.Paths, func(p imx.InventoryPath) bool { return p.Path == want.Path })
		if i < 0 || in.Paths[i] != want {
			t.Errorf("wanted %+v, is in place %d of\n%+v", want, i, in.Paths)
		}
	}
	if !slices.IsSortedFunc(in.Paths, func(a, b imx.InventoryPath) int { return strings.Compare(a.Path, b.Path) }) {
		t.Error("the paths aren't sorted")
	}
	if last := in.Users[len(in.Users)-1]; in.Users[0].Name != "root" || last != (imx.InventoryUser{Name: "app", UID: 990, GID: 991, Home: "/var/lib/app"}) {
		t.Errorf("users %+v", in.Users)
	}
}

func TestAnImageWhoseInventoryIsLostIsMadeAnew(t *testing.T) {
	w, b := host(t)
	p := w.own(t, imx.ImageSpec{}, pkg{Name: "stock", Files: files{{Path: "/usr/share/stock", Content: "x"}}})
	first := run(t, b, p)
	if err := w.blobs.Delete(first.Image.Inventory); err != nil {
		t.Fatal(err)
	}
	again := run(t, b, p)
	if again.Cached || again.Image != first.Image || len(w.inventory(t, again.Image).Paths) == 0 {
		t.Errorf("first %+v, again %+v", first, again)
	}
	if cached := run(t, b, p); !cached.Cached || cached.Image != first.Image {
		t.Errorf("from the cache %+v", cached)
	}
}

func TestTheAccountsOfAnImageAreThoseOfTheTemplatesFile(t *testing.T) {
	w, b := host(t)
	spec := imx.ImageSpec{Name: "bare", Files: []imx.File{w.file(t, "/etc/passwd", "# mine\nme:x:7:8:Me:/home:/bin/false\nbroken:x\n", "", 0)}}
	in := w.inventory(t, run(t, b, imx.ImagePlan{Spec: spec, Architecture: "amd64", Epoch: epoch}).Image)
	if diff := cmp.Diff([]imx.InventoryUser{{Name: "me", UID: 7, GID: 8, Home: "/home"}}, in.Users); diff != "" {
		t.Error(diff)
	}
}

// compiled builds a small program and returns it.
func compiled(tb testing.TB, name, source string, command ...string) string {
	tb.Helper()
	if _, err := exec.LookPath(command[0]); err != nil {
		tb.Skip(command[0] + " isn't installed: make deps-test")
	}
	dir := tb.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(source), 0o600); err != nil {
		tb.Fatal(err)
	}
	out := filepath.Join(dir, "out")
	cmd := exec.CommandContext(tb.Context(), command[0], append(command[1:], "-o", out, filepath.Join(dir, name))...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GO111MODULE=off")
	if said, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%v: %s", err, said)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

const (
	cListens  = "int listen(int, int); int opens(void) { return listen(0, 1); }\n"
	cCalls    = "int opens(void); int main(void) { return opens(); }\n"
	cQuiet    = "int main(void) { return 0; }\n"
	goListens = "package main\nimport \"net/http\"\nfunc main() { _ = http.ListenAndServe(\":80\", nil) }\n"
	goDials   = "package main\nimport \"net\"\nfunc main() { _, _ = net.Dial(\"tcp\", \"127.0.0.1:80\"); _, _ = net.ListenPacket(\"udp\", \":0\") }\n"
)

func TestProgramsThatCanListenAreFound(t *testing.T) {
	w, b := host(t)
	library := compiled(t, "lib.c", cListens, "gcc", "-shared", "-fPIC", "-Wl,-soname,libopens.so.1")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "libopens.so"), []byte(library), 0o600); err != nil {
		t.Fatal(err)
	}
	calls := compiled(t, "calls.c", cCalls+"\n", "gcc", "-L"+dir, "-Wl,--no-as-needed", "-Wl,--push-state,-lopens,--pop-state", "-Wl,--unresolved-symbols=ignore-all")
	direct := compiled(t, "direct.c", cListens+"int main(void) { return opens(); }\n", "gcc", "-s")
	static := compiled(t, "static.c", cListens+"int main(void) { return opens(); }\n", "gcc", "-static")
	app := pkg{Name: "app", Files: files{
		{Path: "/usr/lib/libopens.so.1.0", Content: library},
		{Path: "/usr/lib/libopens.so.1", Link: "libopens.so.1.0"},
		{Path: "/usr/bin/calls", Content: calls, Mode: 0o755},
		{Path: "/usr/bin/direct", Content: direct, Mode: 0o755},
		{Path: "/usr/bin/static", Content: static, Mode: 0o755},
		{Path: "/usr/share/no-program", Content: direct},
		{Path: "/usr/bin/quiet", Content: compiled(t, "quiet.c", cQuiet, "gcc"), Mode: 0o755},
		{Path: "/usr/bin/a-script", Content: "#!/usr/bin/direct\n" + strings.Repeat("listen\n", 20), Mode: 0o755},
		{Path: "/usr/bin/half", Content: direct[:100], Mode: 0o755},
	}}
	spec := imx.ImageSpec{Files: []imx.File{
		w.file(t, "/srv/go-listens", compiled(t, "main.go", goListens, "go", "build", "-ldflags=-s -w"), "", 0o755),
		w.file(t, "/srv/go-dials", compiled(t, "main.go", goDials, "go", "build"), "", 0o755),
	}}
	var found []string
	for _, p := range w.inventory(t, run(t, b, w.own(t, spec, app)).Image).Paths {
		if p.Listens {
			found = append(found, p.Path)
		}
	}
	if want := []string{"/srv/go-listens", "/usr/bin/calls", "/usr/bin/direct", "/usr/bin/static"}; cmp.Diff(want, found) != "" {
		t.Errorf("%q listen, not %q", found, want)
	}
}

func TestRealServersListen(t *testing.T) {
	w, b := host(t)
	for name, path := range map[string]string{"web": "/usr/sbin/nginx", "store": "/usr/bin/redis-check-rdb"} {
		spec := realImages()[name].spec
		spec.Name = name
		in := w.inventory(t, run(t, b, w.planned(t, spec)).Image)
		if !slices.ContainsFunc(in.Paths, func(p imx.InventoryPath) bool { return p.Path == path && p.Listens }) {
			t.Errorf("image.%s: %s isn't said to listen", name, path)
		}
	}
}
