package purl_test

// Two programs that write the name of one package in two ways don't find each other's statements about it. These tests
// hold the names to the specification's rules, of every type that imx reads or writes.

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/purl"
)

func TestEachTypeHasOneFormOfAName(t *testing.T) {
	for text, want := range map[string]string{
		"pkg:deb/debian/libstdc++6@1:2+b1~x?distro=bookworm&arch=amd64": "pkg:deb/debian/libstdc%2B%2B6@1:2%2Bb1~x?arch=amd64&distro=bookworm",
		"PKG:Deb/Debian/OpenSSL":                         "pkg:deb/debian/openssl",
		"pkg://deb//debian//x":                           "pkg:deb/debian/x",
		"pkg:deb/debian/x@?Arch=&distro=a%20b":           "pkg:deb/debian/x?distro=a%20b",
		"pkg:npm/@scope/name@1.0.0":                      "pkg:npm/%40scope/name@1.0.0",
		"pkg:pypi/Some_Thing@1":                          "pkg:pypi/some-thing@1",
		"pkg:golang/GitHub.com/A/B@v1.0.0+incompatible":  "pkg:golang/github.com/a/b@v1.0.0%2Bincompatible",
		"pkg:oci/Web@sha256%3Aaa?repository_url=h:1/web": "pkg:oci/web@sha256:aa?repository_url=h:1%2Fweb",
		"pkg:maven/org.x/y@1#META-INF/./z":               "",
		"pkg:deb/debian":                                 "pkg:deb/debian",
		"pkg:deb/":                                       "",
		"pkg:deb/debian/%zz":                             "",
		"pkg:deb/debian/x?a=1&a=2":                       "",
		"deb/debian/x":                                   "",
		"":                                               "",
		"pkg:deb/debian/" + strings.Repeat("x", 1<<20):   "",
	} {
		got, err := purl.Parse(text)
		if want == "" {
			if imx.KindOf(err) != imx.Invalid {
				t.Errorf("%.99s: %+v, %v", text, got, err)
			}
			continue
		}
		if err != nil || got.String() != want {
			t.Errorf("%s is %s, want %s: %v", text, got, want, err)
		}
	}
}

func TestAnImageGoesByTheLastPartOfItsName(t *testing.T) {
	for name, want := range map[string]string{
		"web":          "pkg:oci/web@sha256:aa",
		"Team/sub/Web": "pkg:oci/web@sha256:aa?repository_url=team%2Fsub%2Fweb",
	} {
		if got := purl.Image(name, "sha256:aa").String(); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if got := purl.Of("golang", "github.com/google/go-cmp", "v0.7.0").String(); got != "pkg:golang/github.com/google/go-cmp@v0.7.0" {
		t.Error(got)
	}
}

// anyURL has few types, all of which have rules of their own, and any text elsewhere.
func anyURL() *rapid.Generator[purl.URL] {
	return rapid.Custom(func(t *rapid.T) purl.URL {
		return purl.URL{
			Type: rapid.SampledFrom([]string{"deb", "Deb", "oci", "golang", "npm", "pypi", "maven", "cargo", "generic"}).Draw(t, "type"), Namespace: rapid.String().Draw(t, "namespace"),
			Name: rapid.StringN(1, 20, 80).Draw(t, "name"), Version: rapid.String().Draw(t, "version"),
			Qualifiers: rapid.MapOf(rapid.StringMatching(`[a-z][a-z0-9._-]{0,5}`), rapid.String()).Draw(t, "qualifiers"),
		}
	})
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := anyURL().Draw(t, "url")
		want, err := u.Normal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := purl.Parse(u.String())
		if err != nil {
			t.Fatalf("%s: %v", u, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%s: %s", u, d)
		}
		if strings.ContainsFunc(u.String(), func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Fatalf("%q isn't plain", u.String())
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"pkg:deb/debian/libstdc++6@1:2+b1~x?distro=bookworm&arch=amd64", "pkg:npm/@scope/name@1.0.0#a/b", "pkg:oci/web@sha256%3Aaa?repository_url=h:1/web", "pkg:golang/a%2Fb/c@", "pkg:///",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := purl.Parse(text)
		if err != nil {
			return
		}
		again, err := purl.Parse(u.String())
		if err != nil {
			t.Fatalf("%q is written as %q, which is none: %v", text, u, err)
		}
		if d := cmp.Diff(u, again); d != "" {
			t.Fatalf("%q: %s", text, d)
		}
	})
}
