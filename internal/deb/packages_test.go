package deb_test

// The lists of an archive decide what is fetched and run as root: their values are checked here,
// once, so that nobody behind has to.

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/deb"
)

const sum = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// stanza returns a good stanza with some fields in place of the usual ones; "" takes one out.
func stanza(fields map[string]string) string {
	all := map[string]string{
		"Package": "nginx", "Version": "1.22.1-9", "Architecture": "amd64", "Section": "contrib/httpd", "Priority": "optional",
		"Filename": "pool/main/n/nginx/nginx_1.22.1-9_amd64.deb", "Size": "527872", "SHA256": sum,
	}
	maps.Copy(all, fields)
	var b strings.Builder
	for k, v := range all {
		if v != "" {
			fmt.Fprintf(&b, "%s: %s\n", k, v)
		}
	}
	return b.String() + "\n"
}

func TestPackagesAreRead(t *testing.T) {
	text := stanza(map[string]string{
		"Source": "nginx-src (1.22)", "Essential": "yes", "Multi-Arch": "foreign", "Depends": "libc6 (>= 2.36)",
		"Pre-Depends": "dpkg", "Provides": "httpd", "Conflicts": "ab", "Breaks": "cd", "Replaces": "ef", "Description": "web server",
	})
	got, err := deb.ParsePackages(strings.NewReader(text), "host", "bookworm")
	if err != nil {
		t.Fatal(err)
	}
	want := []deb.Package{{
		Package: imx.Package{
			Name: "nginx", Version: "1.22.1-9", Architecture: "amd64", Archive: "host", Suite: "bookworm",
			Path: "pool/main/n/nginx/nginx_1.22.1-9_amd64.deb", Size: 527872, Digest: "sha256:" + sum,
		},
		Source: "nginx-src", Section: "httpd", Priority: "optional", Essential: true, MultiArch: "foreign",
		Relations: deb.Relations{
			Depends: "libc6 (>= 2.36)", PreDepends: "dpkg", Provides: "httpd", Conflicts: "ab", Breaks: "cd", Replaces: "ef",
		},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPackagesWithUnsafeValuesAreRefused(t *testing.T) {
	for _, c := range []struct{ field, value, want string }{
		{"Package", "", `"" is not the name of a package`},
		{"Package", "../x", `"../x" is not the name of a package`},
		{"Version", "", `package nginx: version "" has no upstream part that begins with a digit`},
		{"Version", "1/../2", `package nginx: version "1/../2" has a byte that no version may have`},
		{"Architecture", "a/b", `package nginx: "a/b" is not an architecture`},
		{"Filename", "", "package nginx: it has no file name"},
		{"Filename", "/etc/passwd", `package nginx: the file name "/etc/passwd" does not stay below the mirror's root`},
		{"Filename", "../x.deb", `package nginx: the file name "../x.deb" does not stay below the mirror's root`},
		{"Filename", "pool/../../x.deb", `package nginx: the file name "pool/../../x.deb" does not stay below the mirror's root`},
		{"Filename", `pool\..\x.deb`, `package nginx: the file name "pool\\..\\x.deb" is not usable`},
		{"Size", "", `package nginx: the Size "" is not a number of bytes`},
		{"Size", "-1", `package nginx: the Size "-1" is not a number of bytes`},
		{"Size", "5000000000", "package nginx: the Size 4.7 GiB is more than 4.0 GiB"},
		{"SHA256", "", `package nginx has the SHA256 ""`},
		{"SHA256", "xyz", `package nginx has the SHA256 "xyz"`},
	} {
		t.Run(c.field+" "+c.value, func(t *testing.T) {
			text := stanza(nil) + stanza(map[string]string{c.field: c.value})
			_, err := deb.ParsePackages(strings.NewReader(text), "host", "bookworm")
			want := "Packages of host bookworm: stanza at line 10: " + c.want
			if err == nil || err.Error() != want || imx.KindOf(err) != imx.Refused {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

func packages(t *testing.T, suite string, stanzas ...map[string]string) []deb.Package {
	t.Helper()
	var text string
	for _, s := range stanzas {
		text += stanza(s)
	}
	list, err := deb.ParsePackages(strings.NewReader(text), "host", suite)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestTheNewestVersionWinsWhateverTheSuite(t *testing.T) {
	security := packages(t, "bookworm-security",
		map[string]string{"Version": "1.22.1-9"}, map[string]string{"Package": "libxml2", "Version": "2.9-1+deb12u3"})
	main := packages(t, "bookworm",
		map[string]string{"Version": "1.22.1-9+deb12u1"}, map[string]string{"Package": "libxml2", "Version": "2.9-1"},
		map[string]string{"Version": "9", "Architecture": "arm64"},
		map[string]string{"Package": "wev", "Provides": "httpd (= 2), web"})
	lists := [][]deb.Package{security, main}
	for range 4 {
		rand.Shuffle(len(lists), func(i, j int) { lists[i], lists[j] = lists[j], lists[i] })
		x := deb.NewIndex(lists...)
		for name, want := range map[string]string{"nginx": "1.22.1-9+deb12u1 bookworm", "libxml2": "2.9-1+deb12u3 bookworm-security"} {
			p, _ := x.Newest(name, "amd64")
			if got := p.Version + " " + p.Suite; got != want {
				t.Errorf("newest %s is %s, want %s", name, got, want)
			}
		}
		if _, ok := x.Newest("nothing", "amd64"); ok {
			t.Error("an unknown name has a newest version")
		}
		if got := x.Providers("httpd"); len(got) != 1 || got[0].Package.Name != "wev" || got[0].Version != "2" {
			t.Errorf("providers of httpd: %v", got)
		}
		if x.Len() != 3 || len(x.Versions("nginx")) != 3 {
			t.Errorf("%d names, nginx in %d versions", x.Len(), len(x.Versions("nginx")))
		}
	}
}

func TestOneVersionInTwoSuitesIsTheSameInAnyOrder(t *testing.T) {
	a, b := packages(t, "bookworm", nil), packages(t, "bookworm-updates", nil)
	for _, lists := range [][][]deb.Package{{a, b}, {b, a}} {
		x := deb.NewIndex(lists...)
		if p, _ := x.Newest("nginx", "amd64"); p.Suite != "bookworm" || len(x.Versions("nginx")) != 2 {
			t.Errorf("got %s of %d", p.Suite, len(x.Versions("nginx")))
		}
	}
}

const release = `Origin: Debian
Suite: oldstable
Codename: bookworm
Date: Sat, 11 Nov 2023 08:54:24 UTC
Valid-Until: Sat, 18 Nov 2023 08:54:24 UTC
Acquire-By-Hash: yes
Architectures: all amd64
Components: main contrib
SHA256:
 ` + sum + ` 1484 main/binary-amd64/Packages.xz
 ` + sum + ` 0 main/binary-all/Packages
`

func TestReleaseIsRead(t *testing.T) {
	got, err := deb.ParseRelease(strings.NewReader(release))
	if err != nil {
		t.Fatal(err)
	}
	want := deb.Release{
		Origin: "Debian", Suite: "oldstable", Codename: "bookworm", AcquireByHash: true, Priority: deb.PriorityNormal,
		Date: time.Date(2023, 11, 11, 8, 54, 24, 0, time.UTC), ValidUntil: time.Date(2023, 11, 18, 8, 54, 24, 0, time.UTC),
		Components: []string{"main", "contrib"}, Architectures: []string{"all", "amd64"},
		SHA256: map[string]deb.ReleaseFile{
			"main/binary-amd64/Packages.xz": {Size: 1484, Digest: "sha256:" + sum},
			"main/binary-all/Packages":      {Size: 0, Digest: "sha256:" + sum},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestASuiteSaysHowMuchItsPackagesCount(t *testing.T) {
	for fields, want := range map[string]int{
		"":                    deb.PriorityNormal,
		"NotAutomatic: yes\n": deb.PriorityLast,
		"NotAutomatic: no\n":  deb.PriorityNormal,
		"NotAutomatic: yes\nButAutomaticUpgrades: yes\n": deb.PriorityLow,
		"ButAutomaticUpgrades: yes\n":                    deb.PriorityNormal,
	} {
		got, err := deb.ParseRelease(strings.NewReader(fields + release))
		if err != nil || got.Priority != want {
			t.Errorf("%q: got %d, %v", fields, got.Priority, err)
		}
	}
}

func TestUnusableReleasesAreRefused(t *testing.T) {
	for _, c := range []struct{ name, old, with, want string }{
		{"empty", release, "", "Release is empty"},
		{"no date", "Date: Sat, 11 Nov 2023 08:54:24 UTC\n", "", `Release has the Date ""`},
		{"a date in a zone that Go would guess", "24 UTC\nV", "24 CET\nV", "Release has the Date \"Sat, 11 Nov 2023 08:54:24 CET\""},
		{"no sums", release[strings.Index(release, "SHA256"):], "", "Release has no SHA256 sums"},
		{"a sum that is none", sum + " 1484", "abc 1484", `Release gives "main/binary-amd64/Packages.xz" the SHA256 "abc"`},
		{"a path out of the suite", "main/binary-all", "../x", "does not stay below"},
		{"two sums of a file", "0 main/binary-all/Packages", "7 main/binary-amd64/Packages.xz", "twice, with different sums"},
		{"a second stanza", "SHA256:", "\nSHA256:", "Release has no SHA256 sums"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := deb.ParseRelease(strings.NewReader(strings.Replace(release, c.old, c.with, 1)))
			if err == nil || !strings.Contains(err.Error(), c.want) || imx.KindOf(err) != imx.Refused {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func FuzzRelease(f *testing.F) {
	f.Add(release)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := deb.ParseRelease(strings.NewReader(text))
		if err != nil {
			return
		}
		for path := range r.SHA256 {
			if strings.HasPrefix(path, "/") || strings.Contains(path, "../") {
				t.Errorf("the path %q passes", path)
			}
		}
	})
}
