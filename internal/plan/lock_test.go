package plan_test

// The lock file is edited by merges and by people. What is wrong with it has to be told with the
// line, and nothing that could lead a build astray may pass.

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/deb"
	"imx/internal/plan"
)

// goodLock returns the lock of a small plan, as written.
func goodLock(tb testing.TB) string {
	tb.Helper()
	list := parsePackages(tb, "host", "bookworm", "libc 1 essential\nnginx 1.22; Depends: libc")
	_, l, said := plan.Resolve(plan.Input{
		Template: parseTemplate("image web: nginx"), Architecture: "amd64",
		Indexes: map[string]plan.Archive{"host": {
			Index: deb.NewIndex(list), Suites: []imx.LockedSuite{lockedSuite("host", "bookworm", "2025-06-01")},
		}},
	})
	if err := said.Err(); err != nil {
		tb.Fatal(err)
	}
	return string(plan.FormatLock(l))
}

func TestDamagedLocksAreRefusedWithTheLine(t *testing.T) {
	good := goodLock(t)
	for _, c := range []struct{ name, old, with, want string }{
		{"nothing", good, "", "imx.lock is damaged: line 1: unexpected end of JSON input"},
		{"no object", good, "[]", "imx.lock is damaged: line 1: it isn't what a lock has there, but a JSON array"},
		{"a merge conflict", `  "packages"`, "<<<<<<< HEAD\n  \"packages\"", "imx.lock is damaged: line 11: invalid character '<' looking for beginning of object key string"},
		{"cut off", good[len(good)-40:], "", "imx.lock is damaged: line 45: unexpected end of JSON input"},
		{"a newer version", `"version": 1,`, `"version": 2,`, "imx.lock is of version 2, newer than the 1 that this imx knows"},
		{"no version", `"version": 1,`, "", "imx.lock is damaged: it has no version"},
		{"an unknown list", `"packages"`, `"parcels"`, `imx.lock is damaged: line 11: "parcels" is no part of a lock`},
		{"an unknown field", `"size": 1016`, `"weight": 1016`, `imx.lock is damaged: line 12: unknown field "weight"`},
		{"a list twice", `"packages": [`, "\"suites\": [],\n  \"packages\": [", `imx.lock is damaged: line 11: "suites" stands twice`},
		{"a size that is none", `"size": 1010`, `"size": "big"`, "imx.lock is damaged: line 29: \"size\" can't be a JSON string"},
		{"a negative size", `"size": 1010`, `"size": -1`, `imx.lock is damaged: line 22: package "nginx_1.22_amd64": its size is -1`},
		{"a path out of the mirror", "pool/nginx_1.22.deb", "../../etc/passwd", `imx.lock is damaged: line 22: package "nginx_1.22_amd64": the file name "../../etc/passwd" does not stay below the mirror's root`},
		{"a name that is a path", `"name": "nginx"`, `"name": "../nginx"`, `imx.lock is damaged: line 22: package "../nginx_1.22_amd64": "../nginx" is not the name of a package`},
		{"a package twice", `"name": "nginx",` + "\n      \"version\": \"1.22\"", `"name": "libc",` + "\n      \"version\": \"1\"", `imx.lock is damaged: line 22: package "libc_1_amd64" is there twice`},
		{"a reference to nothing", `"nginx_1.22_amd64"`, `"nginx_1.23_amd64"`, `imx.lock is damaged: line 34: image "web" refers to package "nginx_1.23_amd64", which isn't there`},
		{"no epoch", `"epoch": "2025-06-01T00:00:00Z",`, "", `imx.lock is damaged: line 34: image "web" has no epoch`},
		{"a suite without a date", `"date": "2025-06-01T00:00:00Z"`, `"date": "0001-01-01T00:00:00Z"`, `imx.lock is damaged: line 4: suite "bookworm" of archive "host" lacks a name, a date or a digest`},
		{"a digest that is none", "sha256:37f6", "sha256:37", `imx.lock is damaged: line 22: "sha256:37163589b0551cee73735e2b92e77df74bc4a7a34ad0baf8135796a712e0bc" is not a digest of the form sha256:<64 hex digits>`},
		{"something behind", good, good + "{}", "imx.lock is damaged: line 50: invalid character '{' after top-level value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.with, 1)
			if text == good {
				t.Fatalf("%q isn't in the lock:\n%s", c.old, good)
			}
			_, err := plan.ParseLock([]byte(text))
			if err == nil || err.Error() != c.want {
				t.Fatalf("got  %v\nwant %s\nin:\n%s", err, c.want, text)
			}
			if kind := imx.KindOf(err); kind != imx.Invalid && kind != imx.Refused || imx.AsError(err).Hint == "" {
				t.Errorf("kind %s, hint %q", kind, imx.AsError(err).Hint)
			}
		})
	}
}

func FuzzParseLock(f *testing.F) {
	f.Add([]byte(goodLock(f)))
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`{"version":1,"images":[{"name":"a","from":"b","epoch":"2025-06-01T00:00:00Z"}],"packages":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := plan.ParseLock(b)
		if err != nil {
			if kind := imx.KindOf(err); kind != imx.Invalid && kind != imx.Refused {
				t.Errorf("kind %s: %v", kind, err)
			}
			return
		}
		if err := plan.CheckLock(l); err != nil {
			t.Fatal(err)
		}
		text := plan.FormatLock(l)
		again, err := plan.ParseLock(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(text), string(plan.FormatLock(again))); diff != "" {
			t.Error(diff)
		}
	})
}
