// The language of rules, and of what a template says of generated paths.

package take_test

import (
	"strings"
	"testing"

	"imx/internal/build/take"
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
		if got := take.Matches([]string{tt.pattern}, tt.name); got != tt.want {
			t.Errorf("%q covers %q: %v", tt.pattern, tt.name, got)
		}
	}
}
