// Laws of the pure parts: paths that are followed inside a root stay inside it, and patterns cover what
// they say.

package build_test

import (
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"imx/internal/build"
)

func TestAPatternCoversWhatItSays(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"etc/passwd", "etc/passwd", true},
		{"etc/passwd", "etc/passwd-", false},
		{"usr/share/doc/*/**", "usr/share/doc", false},
		{"usr/share/doc/*/**", "usr/share/doc/app", true},
		{"usr/share/doc/*/**", "usr/share/doc/app/a/b", true},
		{"usr/share/doc/*/copyright", "usr/share/doc/app/a/copyright", false},
		{"**/*.pyc", "x.pyc", true},
		{"**/*.pyc", "usr/lib/a/b/x.pyc", true},
		{"**/*.pyc", "usr/lib/x.py", false},
		{"**/__pycache__/**", "usr/__pycache__/x", true},
		{"etc/[", "etc/[", false}, // malformed patterns cover nothing
		{"**", "a", true},
		{"**/a/**/b", "a/x/a/b/y/b", true},
		{"**/a/**/b", "x/b/a", false},
		// An answer in this life, whatever a template says.
		{strings.Repeat("**/a/", 40) + "b", strings.Repeat("a/", 400) + "c", false},
	} {
		if got := build.Matches(tt.pattern, tt.name); got != tt.want {
			t.Errorf("%q covers %q: %v", tt.pattern, tt.name, got)
		}
	}
}

func TestAPathFollowedInARootNeverLeavesIt(t *testing.T) {
	part := rapid.SampledFrom([]string{"a", "b", "c", "..", ".", "", "a/b", "../..", "/", "/a"})
	rapid.Check(t, func(t *rapid.T) {
		links := rapid.MapOf(rapid.SampledFrom([]string{"a", "b", "a/b", "a/c", "c"}), rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(part, 1, 4).Draw(t, "target"), "/")
		})).Draw(t, "links")
		name := strings.Join(rapid.SliceOfN(part, 1, 6).Draw(t, "name"), "/")
		got, err := build.Follow(name, func(p string) (string, bool) {
			target, ok := links[p]
			return target, ok
		})
		if err != nil {
			return // round and round
		}
		if path.IsAbs(got) || got != path.Clean(got) || got == ".." || strings.HasPrefix(got, "../") {
			t.Fatalf("%q came to %q", name, got)
		}
		for dir := got; dir != "."; dir = path.Dir(dir) {
			if target, ok := links[dir]; ok {
				t.Fatalf("%q came to %q, where %q still links to %q", name, got, dir, target)
			}
		}
	})
}
