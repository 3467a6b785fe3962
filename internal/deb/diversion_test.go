// Where the file of a path lies that a script diverted: the rest of the packages find theirs by the same words.

package deb_test

import (
	"testing"

	"imx/internal/deb"
)

func TestADivertedPathIsElsewhereButForThePackageThatDivertsIt(t *testing.T) {
	d := deb.ReadDiversions("/usr/bin/tool\n/usr/bin/tool.plain\nbetter\n/etc/motd\n/etc/motd.old\n:\n/cut\n/off\n")
	for _, tt := range []struct{ pkg, name, want string }{
		{"plain", "/usr/bin/tool", "/usr/bin/tool.plain"},
		{"better", "/usr/bin/tool", "/usr/bin/tool"},
		{"better", "/etc/motd", "/etc/motd.old"}, // the machine's administrator did: it is for all packages
		{"plain", "/usr/bin/other", "/usr/bin/other"},
		{"plain", "/cut", "/cut"},
	} {
		if got := d.Place(tt.pkg, tt.name); got != tt.want {
			t.Errorf("%s of %s is at %s, not %s", tt.name, tt.pkg, got, tt.want)
		}
	}
}

func FuzzDiversions(f *testing.F) {
	f.Add("/a\n/b\nc\n", "/a", "d")
	f.Add("", "/a", "d")
	f.Fuzz(func(t *testing.T, text, name, pkg string) {
		d := deb.ReadDiversions(text)
		if own, ok := d[name]; ok && d.Place(own.By, name) != name {
			t.Errorf("%q, which diverts it, has %q elsewhere", own.By, name)
		}
		if _, ok := d[name]; !ok && d.Place(pkg, name) != name {
			t.Errorf("%q is elsewhere, and nobody said so", name)
		}
	})
}
