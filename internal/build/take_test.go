// What an image takes and what it leaves out, shown with small packages made for the purpose, whose
// scripts are run by the real dpkg of a real base.

package build_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/archive/archivetest"
	"imx/internal/build"
	"imx/internal/erofs/erofstest"
)

type (
	pkg   = archivetest.Package
	files = []archivetest.File
)

// The times in images: of plans made here, and of what nothing dates.
var (
	epoch   = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)
	undated = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
)

// own plans an image of packages made for the test, beside the real base.
func (w *world) own(tb testing.TB, spec imx.ImageSpec, packages ...pkg) imx.ImagePlan {
	tb.Helper()
	p := w.planned(tb, imx.ImageSpec{Name: "base", Packages: []string{"libc6"}})
	if spec.Name == "" {
		spec.Name = "own"
	}
	p.Spec, p.Epoch, p.Ship = spec, epoch, nil
	for _, own := range packages {
		p.Ship = append(p.Ship, w.put(tb, own))
	}
	return p
}

func (w *world) put(tb testing.TB, own pkg) imx.Package {
	tb.Helper()
	own.Pack = "gz"
	raw, err := own.Deb()
	if err != nil {
		tb.Fatal(err)
	}
	return w.putRaw(tb, own.Name, raw)
}

func (w *world) putRaw(tb testing.TB, name string, raw []byte) imx.Package {
	tb.Helper()
	d, n, err := w.blobs.Put(bytes.NewReader(raw), "")
	if err != nil {
		tb.Fatal(err)
	}
	return imx.Package{
		Name: name, Version: "1.0", Architecture: "amd64", Archive: "own", Suite: "own",
		Path: "pool/" + name + ".deb", Size: n, Digest: d,
	}
}

func run(tb testing.TB, b *build.Builder, p imx.ImagePlan) build.Result {
	tb.Helper()
	res, err := b.Run(tb.Context(), p, shared.world.fetch, log(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return res
}

// listing writes a tree as lines of mode, owner, path, target, and the time where it isn't the epoch.
func listing(tb testing.TB, root string) string {
	tb.Helper()
	var out strings.Builder
	for _, p := range erofstest.Paths(tb, root) {
		info, err := os.Lstat(filepath.Join(root, p))
		if err != nil {
			tb.Fatal(err)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			tb.Fatal("no owner is known of", p)
		}
		fmt.Fprintf(&out, "%s %d:%d /%s", info.Mode(), st.Uid, st.Gid, p)
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(filepath.Join(root, p))
			if err != nil {
				tb.Fatal(err)
			}
			out.WriteString(" -> " + target)
		}
		switch at := info.ModTime().UTC(); {
		case at.Equal(epoch):
		case at.Equal(undated):
			out.WriteString(" undated")
		default:
			out.WriteString(" of " + at.Format(time.DateOnly))
		}
		out.WriteString("\n")
	}
	return out.String()
}

func TestAnImageTakesThePackagesFilesAndTheStateThatRulesAllow(t *testing.T) {
	w, b := host(t)
	spec := imx.ImageSpec{
		Packages: []string{"app=1.0"}, User: "app", Generated: []string{"/etc/app/*.key", "!/var/lib/app/db/**"},
		Setuid: []string{"/usr/bin/app-su"},
	}
	app := pkg{
		Name: "app", Depends: "lib",
		Files: files{
			{Path: "/bin/app", Content: "old place", Mode: 0o755},
			{Path: "/usr/bin/app-su", Content: "su", Mode: 0o4755},
			{Path: "/usr/bin/other-su", Content: "su", Mode: 0o6755},
			{Path: "/etc/app/app.conf", Content: "setting"},
			{Path: "/etc/init.d/app", Content: "#!/bin/sh", Mode: 0o755},
			{Path: "/lib/systemd/system/app.service", Content: "[Unit]"},
			{Path: "/usr/share/app/default.conf", Content: "default"},
			{Path: "/usr/share/doc/app/copyright", Content: "free"},
			{Path: "/usr/share/doc/app/changelog", Content: "news"},
			{Path: "/usr/share/man/man1/app.1", Content: "help"},
			{Path: "/usr/lib/app/__pycache__/x.pyc", Content: "code"},
		},
		Scripts: map[string]string{"postinst": `#!/bin/sh -e
echo "app:x:990:990::/var/lib/app:/usr/sbin/nologin" >>/etc/passwd
echo "app:x:990:" >>/etc/group
echo "app:*:1::::::" >>/etc/shadow
install -d -o 990 -g 990 -m 750 /var/lib/app /var/log/app /var/lib/app/db
install -d /var/cache/app
echo state >/var/lib/app/db/1
echo log >/var/log/app/app.log
echo cache >/var/cache/app/cache
cp /usr/share/app/default.conf /etc/app/copied.conf
echo secret >/etc/app/tls.key
ln -s app.conf /etc/app/enabled.conf
ln -s /usr/bin/perl /etc/app/not-shipped
echo backup >/etc/passwd-
mkdir -p /usr/lib/app/__pycache__ && echo code >/usr/lib/app/__pycache__/y.pyc
update-alternatives --install /usr/bin/editor editor /bin/app 10
ldconfig
`},
	}
	lib := pkg{Name: "lib", Files: files{
		{Path: "/usr/lib/lib.so.1", Content: "code"},
		{Path: "/bin/dash-too", Content: "not a shell"},
		{Path: "/usr/bin/bash-link", Link: "/bin/bash"},
		{Path: "/usr/bin/dpkg-own", Content: "package manager", Mode: 0o755},
	}}
	res := run(t, b, w.own(t, spec, app, lib))
	root := erofstest.Mounted(t, b, res.Image.Digest)
	want := `drwxr-xr-x 0:0 /
Lrwxrwxrwx 0:0 /bin -> usr/bin undated
drwxr-xr-x 0:0 /dev undated
drwxr-xr-x 0:0 /etc undated
drwxr-xr-x 0:0 /etc/alternatives
Lrwxrwxrwx 0:0 /etc/alternatives/editor -> /bin/app
drwxr-xr-x 0:0 /etc/app undated
-rw-r--r-- 0:0 /etc/app/app.conf of 2023-11-14
-rw-r--r-- 0:0 /etc/app/copied.conf
Lrwxrwxrwx 0:0 /etc/app/enabled.conf -> app.conf
-rw-r--r-- 0:0 /etc/app/tls.key
-rw-r--r-- 0:0 /etc/group
-rw-r--r-- 0:0 /etc/hostname undated
-rw-r--r-- 0:0 /etc/hosts undated
-rw-r--r-- 0:0 /etc/ld.so.cache
-rw-r--r-- 0:0 /etc/nsswitch.conf
-rw-r--r-- 0:0 /etc/passwd
-rw-r--r-- 0:0 /etc/resolv.conf undated
Lrwxrwxrwx 0:0 /lib -> usr/lib undated
Lrwxrwxrwx 0:0 /lib64 -> usr/lib64 undated
drwxr-xr-x 0:0 /proc undated
drwx------ 0:0 /root undated
drwxr-xr-x 0:0 /run undated
Lrwxrwxrwx 0:0 /sbin -> usr/sbin undated
drwxr-xr-x 0:0 /sys undated
dtrwxrwxrwx 0:0 /tmp undated
drwxr-xr-x 0:0 /usr undated
drwxr-xr-x 0:0 /usr/bin undated
-rwxr-xr-x 0:0 /usr/bin/app of 2023-11-14
urwxr-xr-x 0:0 /usr/bin/app-su of 2023-11-14
-rw-r--r-- 0:0 /usr/bin/dash-too of 2023-11-14
Lrwxrwxrwx 0:0 /usr/bin/editor -> /etc/alternatives/editor
-rwxr-xr-x 0:0 /usr/bin/other-su of 2023-11-14
drwxr-xr-x 0:0 /usr/lib undated
drwxr-xr-x 0:0 /usr/lib/app undated
-rw-r--r-- 0:0 /usr/lib/lib.so.1 of 2023-11-14
drwxr-xr-x 0:0 /usr/lib/systemd undated
drwxr-xr-x 0:0 /usr/lib64 undated
drwxr-xr-x 0:0 /usr/sbin undated
drwxr-xr-x 0:0 /usr/share undated
drwxr-xr-x 0:0 /usr/share/app undated
-rw-r--r-- 0:0 /usr/share/app/default.conf of 2023-11-14
drwxr-xr-x 0:0 /usr/share/doc undated
drwxr-xr-x 0:0 /usr/share/doc/app undated
-rw-r--r-- 0:0 /usr/share/doc/app/copyright of 2023-11-14
drwxr-xr-x 0:0 /var undated
drwxr-xr-x 0:0 /var/lib
drwxr-x--- 990:990 /var/lib/app
drwxr-xr-x 0:0 /var/lib/dpkg undated
drwxr-xr-x 0:0 /var/lib/dpkg/status.d undated
-rw-r--r-- 0:0 /var/lib/dpkg/status.d/app of 2023-11-14
-rw-r--r-- 0:0 /var/lib/dpkg/status.d/lib of 2023-11-14
drwxr-xr-x 0:0 /var/log
drwxr-x--- 990:990 /var/log/app
Lrwxrwxrwx 0:0 /var/run -> /run undated
dtrwxrwxrwx 0:0 /var/tmp undated
`
	if diff := cmp.Diff(want, listing(t, root)); diff != "" {
		t.Errorf("wanted (-), found (+):\n%s", diff)
	}
	stanza, err := os.ReadFile(filepath.Join(root, "var/lib/dpkg/status.d/app"))
	if err != nil || !strings.HasPrefix(string(stanza), "Package: app\nStatus: install ok installed\n") {
		t.Errorf("status.d has %q, %v", stanza, err)
	}
	if res.Image.Packages != 2 || res.Image.Files != strings.Count(want, "\n-")+strings.Count(want, "\nu") {
		t.Errorf("the image says it has %d files of %d packages", res.Image.Files, res.Image.Packages)
	}
}

func TestAGeneratedPathThatNoRuleKnowsFailsWithTheLineThatAllowsIt(t *testing.T) {
	w, b := host(t)
	writes := pkg{Name: "writes", Scripts: map[string]string{"postinst": `#!/bin/sh -e
mkdir -p /var/lib/writes/sub
echo x >/var/lib/writes/sub/state
echo x >/etc/writes.state
`}}
	_, err := b.Run(t.Context(), w.own(t, imx.ImageSpec{}, writes), w.fetch, log(t))
	want := "building image.own: scripts of the packages generated what no rule allows:\n  /etc/writes.state\n  /var/lib/writes/sub/state"
	if imx.KindOf(err) != imx.Invalid || err.Error() != want {
		t.Errorf("error of kind %q: %v", imx.KindOf(err), err)
	}
	hint := `in image "own" write generated = ["/etc/writes.state", "/var/lib/writes/**"] to take it, or the same with "!" before the path to leave it out`
	if got := imx.AsError(err).Hint; got != hint {
		t.Errorf("hint %s", got)
	}
	spec := imx.ImageSpec{Generated: []string{"/etc/writes.state", "!/var/lib/writes/**"}}
	root := erofstest.Mounted(t, b, run(t, b, w.own(t, spec, writes)).Image.Digest)
	if all := strings.Join(erofstest.Paths(t, root), " "); !strings.Contains(all, "etc/writes.state") || strings.Contains(all, "var/lib/writes") {
		t.Errorf("generated = %q came to %s", spec.Generated, all)
	}
}

func TestWhatScriptsGenerateIsJudgedByWhatItIs(t *testing.T) {
	w, b := host(t)
	app := pkg{
		Name: "app", Files: files{
			{Path: "/etc/app/app.conf", Content: "setting"},
			{Path: "/usr/share/app/page.html", Content: "<p>It works.</p>"},
		},
		Scripts: map[string]string{"postinst": `#!/bin/sh -e
echo "app:x:990:990::/var/lib/app:/usr/sbin/nologin" >>/etc/passwd
echo "port = 80" >/etc/app/port.conf
cp /usr/share/app/page.html /srv/page.html
cp /usr/share/tool/other.html /srv/other.html
echo "# nothing is set" >/etc/app.defaults
(umask 077; head -c 16 /dev/urandom | base64 >/etc/app/secret)
install -d -o 990 /var/lib/app
install -d -o 990 /var/lib/app/base
echo data >/var/lib/app/base/1
echo data >/var/lib/app/cluster
touch /etc/app/state && chown 990 /etc/app/state
mkdir -p /var/lib/marks && : >/var/lib/marks/enabled
echo catalog >/var/lib/tool/catalog
ln -s /var/lib/app/cluster /var/lib/app/link
`},
	}
	tool := pkg{Name: "tool", Files: files{{Path: "/usr/share/tool/other.html", Content: "another"}, {Path: "/var/lib/tool/first", Content: "1"}}}
	p := w.own(t, imx.ImageSpec{Packages: []string{"app"}}, tool, app)
	p.Tools, p.Ship = append(p.Tools, p.Ship[0]), p.Ship[1:]
	root := erofstest.Mounted(t, b, run(t, b, p).Image.Digest)
	got := ""
	for _, name := range erofstest.Paths(t, root) {
		for _, place := range []string{"etc/app", "srv", "var/lib/app", "var/lib/marks", "var/lib/tool"} {
			if strings.HasPrefix(name, place) {
				got += name + "\n"
			}
		}
	}
	want := `etc/app
etc/app/app.conf
etc/app/port.conf
etc/app.defaults
srv
srv/page.html
var/lib/app
var/lib/marks
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("wanted (-), found (+):\n%s", diff)
	}
}

func TestWhatNothingInTheImageCanUseIsLeftOutUnlessTheTemplateNamesIt(t *testing.T) {
	w, b := host(t)
	app := pkg{Name: "app", Files: files{
		{Path: "/usr/bin/run", Content: "#!/usr/bin/own -x\n", Mode: 0o755},
		{Path: "/usr/bin/run-by-name", Content: "#!/usr/bin/env -S X=1 own\n", Mode: 0o755},
		{Path: "/usr/bin/own", Content: "\x7fELF and so on", Mode: 0o755},
		{Path: "/usr/bin/shell", Content: "#!/bin/sh\n", Mode: 0o755},
		{Path: "/usr/bin/shell-link", Link: "shell"},
		{Path: "/usr/share/app/shell.inc", Content: "#!/bin/sh\n"},
		{Path: "/usr/share/app/kept", Content: "#!/bin/sh\n", Mode: 0o755},
		{Path: "/usr/include/app.h", Content: "int x;"},
		{Path: "/usr/lib/libapp.a", Content: "code"},
		{Path: "/usr/share/perl5/App.pm", Content: "1;"},
		{Path: "/usr/share/nodejs/app/index.js", Content: "code"},
		{Path: "/usr/share/nodejs/app/index.d.ts", Content: "types"},
		{Path: "/usr/lib/ruby/gems/app.rb", Content: "code"},
		{Path: "/usr/lib/ruby/gems/app.rbs", Content: "types"},
		{Path: "/usr/share/zoneinfo/posix/UTC", Content: "zone"},
		{Path: "/usr/share/zoneinfo/right/UTC", Content: "zone"},
		{Path: "/usr/share/zoneinfo/UTC", Content: "zone"},
	}}
	for _, generated := range [][]string{nil, {"/usr/share/app/kept", "/usr/include/**", "/usr/**/*.rbs", "/usr/share/zoneinfo/posix/**", "!/usr/share/zoneinfo/UTC"}} {
		p := w.own(t, imx.ImageSpec{Packages: []string{"none"}, Generated: generated}, app)
		root := erofstest.Mounted(t, b, run(t, b, p).Image.Digest)
		var got []string
		for _, name := range erofstest.Paths(t, root) {
			info, err := os.Lstat(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(name, "usr/") && !info.IsDir() && !strings.Contains(name, "/doc/") {
				got = append(got, strings.TrimPrefix(name, "usr/"))
			}
		}
		want := []string{
			"bin/own", "bin/run", "bin/run-by-name", "lib/ruby/gems/app.rb", "share/app/shell.inc", "share/nodejs/app/index.js", "share/zoneinfo/UTC",
		}
		if generated != nil {
			want = []string{
				"bin/own", "bin/run", "bin/run-by-name", "include/app.h", "lib/ruby/gems/app.rb", "lib/ruby/gems/app.rbs",
				"share/app/kept", "share/app/shell.inc", "share/nodejs/app/index.js", "share/zoneinfo/posix/UTC",
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("generated = %q: wanted (-), found (+):\n%s", generated, diff)
		}
	}
}

func TestCharacterSetsAreThereAsFarAsSomethingAsksForThem(t *testing.T) {
	w, b := host(t)
	asks, err := os.ReadFile("/usr/bin/iconv") // of the package that every Debian system has the C library's programs from
	if err != nil {
		t.Fatal(err)
	}
	const dir = "/usr/lib/own-linux-gnu/gconv/"
	const all = "COMMON.so RARE.so gconv-modules gconv-modules.d/gconv-modules-extra.conf"
	for place, want := range map[string]string{
		"/usr/share/app/no-program":               "",
		"/usr/lib/own-linux-gnu/libapp.so.1":      "COMMON.so gconv-modules",
		"/usr/lib/own-linux-gnu/app/convert.so":   all,
		"/usr/bin/app.so":                         all,
		"/usr/lib/locale/de_DE.ISO-8859-1/LC_ALL": all,
	} {
		p := w.own(t, imx.ImageSpec{Packages: []string{"none"}}, pkg{Name: "libc", Files: files{
			{Path: dir + "gconv-modules", Content: "# main\nalias\tC//\tCOMMON//\nmodule\tCOMMON//\tINTERNAL\tCOMMON\t1\n"},
			{Path: dir + "gconv-modules.d/gconv-modules-extra.conf", Content: "module\tRARE//\tINTERNAL\tRARE\t1\n"},
			{Path: dir + "COMMON.so", Content: "code"},
			{Path: dir + "RARE.so", Content: "code"},
			{Path: place, Content: string(asks)},
		}})
		root := erofstest.Mounted(t, b, run(t, b, p).Image.Digest)
		var got []string
		for _, name := range erofstest.Paths(t, root) {
			rest, ok := strings.CutPrefix("/"+name, dir)
			if info, err := os.Stat(filepath.Join(root, name)); ok && err == nil && !info.IsDir() {
				got = append(got, rest)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("iconv_open(3) in %s: there is %q instead of %q", place, got, want)
		}
	}
}

func TestAGeneratedPathWithAControlCharacterIsRefused(t *testing.T) {
	w, b := host(t)
	writes := pkg{Name: "breaks", Scripts: map[string]string{"postinst": "#!/bin/sh -e\necho '# one' >'/etc/a\nb'\n"}}
	_, err := b.Run(t.Context(), w.own(t, imx.ImageSpec{}, writes), w.fetch, log(t))
	if imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), `"/etc/a\nb", which has a control character`) {
		t.Errorf("error of kind %q: %v", imx.KindOf(err), err)
	}
	if hint := imx.AsError(err).Hint; hint != `leave it out with generated = ["!/etc/a?b"]` {
		t.Errorf("hint %s", hint)
	}
	run(t, b, w.own(t, imx.ImageSpec{Generated: []string{"!/etc/a?b"}}, writes))
}

func TestADivertedFileIsTakenFromWhereItsPackageHasIt(t *testing.T) {
	w, b := host(t)
	plain := pkg{Name: "plain", Files: files{{Path: "/usr/bin/tool", Content: "plain"}}}
	better := pkg{
		Name: "better", Files: files{{Path: "/usr/bin/tool", Content: "better"}},
		Fields:  map[string]string{"Pre-Depends": "plain"},
		Scripts: map[string]string{"preinst": "#!/bin/sh -e\ndpkg-divert --package better --add --rename --divert /usr/bin/tool.plain /usr/bin/tool\n"},
	}
	root := erofstest.Mounted(t, b, run(t, b, w.own(t, imx.ImageSpec{}, better, plain)).Image.Digest)
	for name, want := range map[string]string{"tool": "better", "tool.plain": "plain"} {
		if got, err := os.ReadFile(filepath.Join(root, "usr/bin", name)); string(got) != want {
			t.Errorf("%s has %q, %v", name, got, err)
		}
	}
}

func TestAShellIsTakenOnlyIfItsPackageIsAskedFor(t *testing.T) {
	w, b := host(t)
	for asked, there := range map[string]bool{"dash": true, "dash=1.0": true, "dash/stable": true, "libc6": false} {
		p := w.planned(t, imx.ImageSpec{Name: "own", Packages: []string{"dash"}})
		p.Spec.Packages = []string{asked}
		root := erofstest.Mounted(t, b, run(t, b, p).Image.Digest)
		for _, name := range []string{"usr/bin/dash", "usr/bin/sh"} {
			if _, err := os.Lstat(filepath.Join(root, name)); (err == nil) != there {
				t.Errorf("asked for %s: %s is there: %v", asked, name, err == nil)
			}
		}
	}
}

func TestSetuidOfAFileThatIsNotThereIsRefused(t *testing.T) {
	w, b := host(t)
	_, err := b.Run(t.Context(), w.own(t, imx.ImageSpec{Setuid: []string{"/usr/bin/nothing"}}, pkg{Name: "empty"}), w.fetch, log(t))
	if imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), "setuid names /usr/bin/nothing, but image.own has no such file") {
		t.Error(err)
	}
}

func TestLinksToManualPagesThatScriptsMakeHaveAPlaceAndAreNotTaken(t *testing.T) {
	w, b := host(t)
	app := pkg{
		Name:  "app",
		Files: files{{Path: "/usr/lib/app/bin/run", Content: "code", Mode: 0o755}, {Path: "/usr/lib/app/man/run.1.gz", Content: "help"}},
		Scripts: map[string]string{"postinst": `#!/bin/sh -e
update-alternatives --install /usr/bin/run run /usr/lib/app/bin/run 10 --slave /usr/share/man/man1/run.1.gz run.1.gz /usr/lib/app/man/run.1.gz
`},
	}
	res := run(t, b, w.own(t, imx.ImageSpec{Packages: []string{"app"}}, app))
	all := listing(t, erofstest.Mounted(t, b, res.Image.Digest))
	if !strings.Contains(all, " /usr/bin/run -> /etc/alternatives/run\n") || strings.Contains(all, "/usr/share/man") {
		t.Errorf("the image has\n%s", all)
	}
}

func TestATextThatAScriptWritesBesideAPackagesOwnFilesIsConfiguration(t *testing.T) {
	w, b := host(t)
	app := pkg{
		Name:  "app",
		Files: files{{Path: "/etc/app/app.conf", Content: "x"}, {Path: "/usr/share/app/parts/README", Content: "x"}},
		Scripts: map[string]string{"postinst": `#!/bin/sh -e
echo "parts = imap" >/usr/share/app/parts/imap
echo "name = $(hostname --fqdn)" >/etc/app/name.conf
: >/etc/app/empty
echo build >/etc/mailname
echo root: nobody >/etc/aliases
echo secret >/etc/app/host_key
echo public >/etc/app/host_key.pub
`},
	}
	root := erofstest.Mounted(t, b, run(t, b, w.own(t, imx.ImageSpec{Packages: []string{"app"}}, app)).Image.Digest)
	all := " " + strings.Join(erofstest.Paths(t, root), " ") + " "
	for name, taken := range map[string]bool{
		"usr/share/app/parts/imap": true, "etc/app/name.conf": true, "etc/app/empty": true, "etc/aliases": true,
		"etc/mailname": false, "etc/app/host_key": false, "etc/app/host_key.pub": false,
	} {
		if strings.Contains(all, " "+name+" ") != taken {
			t.Errorf("/%s is taken: %v, in%s", name, !taken, all)
		}
	}
}
