// Paths that are followed inside a root stay inside it.

package tree_test

import (
	"bytes"
	"io/fs"
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"imx/internal/build/tree"
)

func TestAPathFollowedInARootNeverLeavesIt(t *testing.T) {
	part := rapid.SampledFrom([]string{"a", "b", "c", "..", ".", "", "a/b", "../..", "/", "/a"})
	rapid.Check(t, func(t *rapid.T) {
		links := rapid.MapOf(rapid.SampledFrom([]string{"a", "b", "a/b", "a/c", "c"}), rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(part, 1, 4).Draw(t, "target"), "/")
		})).Draw(t, "links")
		name := strings.Join(rapid.SliceOfN(part, 1, 6).Draw(t, "name"), "/")
		got, err := tree.Follow(name, func(p string) (string, bool) {
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

func TestContentsAreTheSameIfTheirBytesAre(t *testing.T) {
	content := rapid.OneOf(
		rapid.SliceOfN(rapid.SampledFrom([]byte("ab")), 0, 3),
		rapid.Map(rapid.IntRange(32<<10-1, 32<<10+1), func(n int) []byte { return bytes.Repeat([]byte("a"), n) }),
	)
	rapid.Check(t, func(t *rapid.T) {
		a, b := content.Draw(t, "a"), content.Draw(t, "b")
		same, err := tree.Text("a", a).SameContent(tree.Text("b", b))
		if same != bytes.Equal(a, b) || err != nil {
			t.Fatalf("%v, %v", same, err)
		}
	})
}

func TestPermissionsAreTheSameInBothSpellings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.Int64Range(0, 0o7777).Draw(t, "bits")
		if got := tree.Octal(tree.Permissions(fs.FileMode(bits))); got != bits {
			t.Fatalf("%o came to %o", bits, got)
		}
	})
}
