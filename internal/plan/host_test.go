package plan_test

// apt is the oracle: on the archive that this machine's own apt knows, the solver has to choose
// what `apt-get install --no-install-recommends` chooses on an empty system.

import (
	"bufio"
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

// aptChoice returns "name version" of what apt would install for the packages of the base and asked.
func aptChoice(t *testing.T, archive plan.Archive, asked []string) []string {
	t.Helper()
	args := []string{
		"--simulate", "-o", "Dir::State::status=/dev/null", "-o", "APT::Get::AllowUnauthenticated=true",
		"--no-install-recommends", "install",
	}
	standing := slices.Concat(archive.Index.Essential(), archive.Index.Granted())
	out, err := exec.Command("apt-get", slices.Concat(args, standing, asked)...).Output()
	if err != nil {
		t.Skipf("apt-get can't simulate here: %v", err)
	}
	var chosen []string
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) > 2 && words[0] == "Inst" {
			chosen = append(chosen, words[1]+" "+strings.TrimPrefix(words[2], "("))
		}
	}
	slices.Sort(chosen)
	return chosen
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

// testAptChoosesTheSame leaves one known difference out: apt is asked for everything at
// once, while Base is settled first here, so that all images share it. Asked for gawk, apt
// lets it stand for the awk that base-files wants, and we take mawk too.
func testAptChoosesTheSame(t *testing.T, archive plan.Archive) {
	for _, asked := range [][]string{
		{"nginx-light"}, {"redis-server"}, {"python3", "python3-redis"}, {"postgresql-15"}, {"wordpress", "exim4"},
	} {
		t.Run(strings.Join(asked, "+"), func(t *testing.T) {
			im := resolveHost(t, archive, asked...)
			var got []string
			for _, pkg := range slices.Concat(im.Base, im.Tools, im.Ship) {
				got = append(got, pkg.Name+" "+pkg.Version)
			}
			slices.Sort(got)
			if diff := cmp.Diff(aptChoice(t, archive, asked), slices.Compact(got)); diff != "" {
				t.Errorf("apt's choice (-), ours (+):\n%s", diff)
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
