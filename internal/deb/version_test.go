package deb_test

// A wrong order of versions installs the older of two packages without anybody noticing, so it
// is checked against policy's own examples, against dpkg, and against another implementation.

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	debversion "github.com/knqyf263/go-deb-version"
	"pgregory.net/rapid"

	"imx/internal/deb"
)

// ascending has versions of which each is older than all after it.
func ascending() []string {
	return []string{
		"0~~", "0~~a", "0~", "0", "0a", "0+", "0.1",
		"1~rc1-1", "1-1~deb12u1", "1-1", "1-1+b1", "1-1+deb12u2", "1-1+deb12u10", "1-2", "1.0a", "1.2", "1.10", "1.10+dfsg",
		"2.36-9+deb12u9", "2.36-9+deb12u10", "9999999999999999999999999999999", "1:0", "1:0.1", "2:0~", "10:0",
	}
}

func TestVersionsOrderAsPolicySays(t *testing.T) {
	list := ascending()
	for i, a := range list {
		for j, b := range list {
			if got := sign(deb.Compare(a, b)); got != sign(i-j) {
				t.Errorf("Compare(%q, %q) = %d, want %d", a, b, got, sign(i-j))
			}
		}
	}
	for _, same := range [][2]string{{"1.0", "1.0-0"}, {"1.0", "0:1.0"}, {"1.01", "1.1"}, {"1.", "1.0"}} {
		if got := deb.Compare(same[0], same[1]); got != 0 {
			t.Errorf("Compare(%q, %q) = %d, want 0", same[0], same[1], got)
		}
	}
}

func TestVersionsOrderAsDpkgSays(t *testing.T) {
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip("needs dpkg")
	}
	tried := 0
	check := func(t interface{ Errorf(string, ...any) }, a, b string) {
		if deb.CheckVersion(a) != nil || deb.CheckVersion(b) != nil || tried > 400 {
			return
		}
		tried++
		got := deb.Compare(a, b)
		for op, want := range map[string]bool{"lt": got < 0, "eq": got == 0} {
			err := exec.Command("dpkg", "--compare-versions", a, op, b).Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Errorf("dpkg: %v", err)
			}
			if (err == nil) != want {
				t.Errorf("%s %s %s: dpkg says %v, Compare %d", a, op, b, err == nil, got)
			}
		}
	}
	list := ascending()
	for i := range list[1:] {
		check(t, list[i], list[i+1])
	}
	rapid.Check(t, func(t *rapid.T) { check(t, version().Draw(t, "a"), version().Draw(t, "b")) })
}

func TestVersionsOrderAsAnotherImplementationSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := version().Draw(t, "a"), version().Draw(t, "b")
		va, errA := debversion.NewVersion(a)
		vb, errB := debversion.NewVersion(b)
		if errA != nil || errB != nil || deb.CheckVersion(a) != nil || deb.CheckVersion(b) != nil {
			t.Skip("one of them isn't a version")
		}
		if got, want := sign(deb.Compare(a, b)), sign(va.Compare(vb)); got != want {
			t.Fatalf("Compare(%q, %q) = %d, the other says %d", a, b, got, want)
		}
	})
}

func TestVersionOrderIsTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(version(), rapid.StringMatching(`[a:0-]{0,6}`), rapid.String())
		checkOrder(t, text.Draw(t, "a"), text.Draw(t, "b"), text.Draw(t, "c"))
	})
}

func FuzzVersions(f *testing.F) {
	for _, v := range ascending() {
		f.Add(v, "1:1.0-1", "1.0~")
	}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		checkOrder(t, a, b, c)
		if deb.CheckVersion(a) == nil && strings.ContainsAny(a, " \n/_") {
			t.Errorf("%q passes for a version", a)
		}
	})
}

func checkOrder(t interface{ Fatalf(string, ...any) }, a, b, c string) {
	ab, bc, ac := deb.Compare(a, b), deb.Compare(b, c), deb.Compare(a, c)
	if deb.Compare(a, a) != 0 {
		t.Fatalf("%q differs from itself", a)
	}
	if sign(ab) != -sign(deb.Compare(b, a)) {
		t.Fatalf("%q and %q: each is the newer", a, b)
	}
	if ab <= 0 && bc <= 0 && ac > 0 {
		t.Fatalf("%q <= %q <= %q, but the first is newer than the last", a, b, c)
	}
}

func TestMalformedVersionsAreRefused(t *testing.T) {
	for _, v := range []string{
		"", ":1", "a:1", "1:", "-1", "1-", "1_0", "1 0", "1/0", "~1", "1.0-a:b", "1\n", "9999999999:1", strings.Repeat("1", 257),
	} {
		if deb.CheckVersion(v) == nil {
			t.Errorf("%.20q passes", v)
		}
	}
	for _, v := range ascending() {
		if err := deb.CheckVersion(v); err != nil {
			t.Error(err)
		}
	}
}

// version makes versions that are near to each other, so that all rules get used.
func version() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		epoch := rapid.SampledFrom([]string{"", "", "0:", "1:", "01:", "20:"}).Draw(t, "epoch")
		upstream := rapid.StringMatching(`[0-9]([0-9a.+~]|rc|-){0,5}`).Draw(t, "upstream")
		revision := rapid.StringMatching(`(-[0-9a+~.]{1,4})?`).Draw(t, "revision")
		return epoch + upstream + revision
	})
}

func sign(n int) int { return min(1, max(-1, n)) }
