package plan_test

// What plans are like on the archive that this machine's own apt knows.

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/deb"
	"imx/internal/plan"
)

// hostArchive reads the host's package lists, or skips the test where there are none.
func hostArchive(t *testing.T) plan.Archive {
	t.Helper()
	if testing.Short() {
		t.Skip("reads the host's whole archive index")
	}
	targets, err := exec.Command("apt-get", "indextargets", "--format", "$(FILENAME) $(SUITE)", "Created-By: Packages").Output()
	if err != nil || len(targets) == 0 {
		t.Skip("needs apt and its downloaded package lists")
	}
	var lists [][]deb.Package
	var suites []imx.LockedSuite
	for line := range strings.Lines(string(targets)) {
		file, suite, _ := strings.Cut(strings.TrimSpace(line), " ")
		text, err := exec.Command("/usr/lib/apt/apt-helper", "cat-file", file).Output()
		if err != nil {
			t.Skipf("apt's list of %s can't be read", suite)
		}
		list, err := deb.ParsePackages(bytes.NewReader(text), imx.HostArchive, suite)
		if err != nil {
			t.Fatal(err)
		}
		lists = append(lists, list)
		suites = append(suites, imx.LockedSuite{
			Archive: imx.HostArchive, Suite: suite, InRelease: imx.DigestBytes(text), Date: time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC),
		})
	}
	return plan.Archive{Index: deb.NewIndex(lists...), Suites: suites}
}

func resolveHost(t *testing.T, archive plan.Archive, asked ...string) imx.ImagePlan {
	t.Helper()
	for _, name := range asked {
		if _, ok := archive.Index.Newest(name, "amd64"); !ok {
			t.Skipf("the host's archive has no %s", name)
		}
	}
	p, _, said := plan.Resolve(plan.Input{
		Template:     imx.Template{Images: []imx.ImageSpec{{Name: "x", Packages: asked}}},
		Architecture: "amd64", Indexes: map[string]plan.Archive{imx.HostArchive: archive},
	})
	if err := said.Err(); err != nil {
		t.Fatal(err)
	}
	return p.Images[0]
}

func TestOnTheHostsOwnArchive(t *testing.T) {
	archive := hostArchive(t)
	t.Run("apt chooses the same", func(t *testing.T) { testAptChoosesTheSame(t, archive) })
	t.Run("servers ship without system tools", func(t *testing.T) { testServersShipWithoutSystemTools(t, archive) })
}

// testAptChoosesTheSame lets apt read the archive's lists for itself, whole: what imx reads of them
// (see TestAptChoosesTheSame) has to be what apt reads.
func testAptChoosesTheSame(t *testing.T, archive plan.Archive) {
	for _, asked := range [][]string{
		{"nginx-light"}, {"redis-server"}, {"python3", "python3-redis"}, {"postgresql-15"}, {"gawk", "wordpress", "exim4"},
	} {
		t.Run(strings.Join(asked, "+"), func(t *testing.T) {
			ours, im := choose(archive, asked, false)
			if ours.refused != "" {
				t.Skip("the host's archive is another one: ", ours.refused)
			}
			o := newOracle(t, archive.Index, im.Base)
			theirs := o.simulate(t, asked, "APT::Install-Recommends=false", "Dir::Etc::Preferences=/dev/null", "Dir::Etc::PreferencesParts=/dev/null")
			if diff := cmp.Diff(theirs.there, ours.there); diff != "" || theirs.refused != "" {
				t.Errorf("apt's choice (-), ours (+):\n%s%s", diff, theirs.refused)
			}
		})
	}
}

// testServersShipWithoutSystemTools looks at what real servers are made of: all that they run
// with, and none of what only administers a system.
func testServersShipWithoutSystemTools(t *testing.T, archive plan.Archive) {
	for _, c := range []struct{ asked, with string }{
		{"nginx-light", "nginx-light nginx-common nginx libc6 libcrypt1 libssl3 zlib1g libpcre2-8-0"},
		{"redis-server", "redis-server redis-tools libc6 libjemalloc2 libssl3"},
		{"python3 python3-redis", "python3 python3-minimal python3.11 python3.11-minimal libpython3.11-stdlib python3-redis libc6 libssl3"},
		{"postgresql-15", "postgresql-15 libpq5 libicu72 libxml2 libllvm14 tzdata locales libc6"},
		{"libmojolicious-perl", "perl perl-base perl-modules-5.36"},
		{"dash", "dash libc6"},
		{"dbus", "dbus dbus-daemon libdbus-1-3"},
	} {
		t.Run(c.asked, func(t *testing.T) {
			asked := strings.Fields(c.asked)
			shipped := map[string]bool{}
			for _, p := range resolveHost(t, archive, asked...).Ship {
				shipped[p.Name] = true
			}
			for name := range strings.FieldsSeq(c.with) {
				if !shipped[name] {
					t.Errorf("%s is missing", name)
				}
			}
			for _, name := range []string{"dash", "bash", "dpkg", "apt", "coreutils", "adduser", "debconf", "passwd", "init-system-helpers", "perl-base"} {
				if shipped[name] && !slices.Contains(asked, name) && !strings.Contains(" "+c.with+" ", " "+name+" ") {
					t.Errorf("%s is shipped", name)
				}
			}
		})
	}
}

// Another release of Debian than the machine's own, from the machine's own mirrors.
func TestTrixieWithItsUpdatesMakesAPlan(t *testing.T) {
	archive := fetched(t, "trixie", "trixie-updates", "trixie-security")
	if len(archive.Suites) != 3 {
		t.Fatalf("suites %+v", archive.Suites)
	}
	ours, im := choose(archive, []string{"nginx", "postgresql", "python3"}, true)
	if ours.refused != "" {
		t.Fatal(ours.refused)
	}
	if !complete(archive.Index, ours.there) {
		t.Error("something needs what isn't there")
	}
	theirs := newOracle(t, archive.Index, im.Base).install(t, []string{"nginx", "postgresql", "python3"}, true)
	if kind := compare(archive.Index, ours, theirs, true); kind != "same" {
		t.Errorf("kind %q: only apt: %v, only imx: %v", kind, minus(theirs.there, ours.there), minus(ours.there, theirs.there))
	}
}

// A build root is never shipped, so it has to be small; what makes it so changes nothing else.
func TestTheBuildRootTakesTheSmallerOfTwoAlternatives(t *testing.T) {
	for _, suites := range [][]string{{"bookworm", "bookworm-updates", "bookworm-security"}, {"trixie", "trixie-updates", "trixie-security"}} {
		archive := fetched(t, suites...)
		ours, im := choose(archive, []string{"libc6"}, false)
		theirs := newOracle(t, archive.Index, nil).install(t, slices.Concat(archive.Index.Essential(), archive.Index.Granted()), false)
		onlyApt, onlyOurs := minus(theirs.there, ours.there), minus(ours.there, theirs.there)
		if !complete(archive.Index, ours.there) || size(archive.Index, onlyOurs) > size(archive.Index, onlyApt) {
			t.Errorf("only apt: %v\nonly imx: %v", onlyApt, onlyOurs)
		}
		t.Logf("%s: %d packages, %v; apt's root has also %v, %v more", suites[0], len(im.Base), size(archive.Index, ours.there), onlyApt,
			size(archive.Index, onlyApt)-size(archive.Index, onlyOurs))
	}
}

func size(index *deb.Index, set map[string]string) imx.Size {
	var sum imx.Size
	for name, version := range set {
		sum += entry(index, name, version).Installed
	}
	return sum
}
