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

// aptChoice returns "name version" of what apt would install for the Essential packages and asked.
func aptChoice(t *testing.T, archive plan.Archive, asked []string) []string {
	t.Helper()
	args := []string{
		"--simulate", "-o", "Dir::State::status=/dev/null", "-o", "APT::Get::AllowUnauthenticated=true",
		"--no-install-recommends", "install",
	}
	out, err := exec.Command("apt-get", append(append(args, archive.Index.Essential()...), asked...)...).Output()
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

func TestResolveChoosesWhatAptChooses(t *testing.T) {
	archive := hostArchive(t)
	for _, asked := range [][]string{
		{"nginx-light"}, {"redis-server"}, {"python3"}, {"python3", "python3-redis"}, {"postgresql-15"}, {"openssl"},
		{"apache2"}, {"haproxy"}, {"mariadb-server"}, {"php-fpm"}, {"memcached"}, {"rabbitmq-server"}, {"nodejs"},
		{"ruby"}, {"openjdk-17-jre-headless"}, {"gunicorn"}, {"varnish"}, {"bind9"}, {"exim4"}, {"git"}, {"curl"},
		{"prometheus"}, {"gcc"}, {"systemd"}, {"openssh-server"}, {"dbus"}, {"postfix"}, {"dovecot-imapd"}, {"gawk"},
		{"wordpress"}, {"libmojolicious-perl"}, {"ansible-core"}, {"tomcat10"}, {"squid"}, {"slapd"}, {"uwsgi"}, {"etcd-server"},
	} {
		t.Run(strings.Join(asked, "+"), func(t *testing.T) {
			p, lock, diags := plan.Resolve(plan.Input{
				Template:     imx.Template{Images: []imx.ImageSpec{{Name: "x", Packages: asked}}},
				Architecture: "amd64", Indexes: map[string]plan.Archive{imx.HostArchive: archive},
			})
			if err := diags.Err(); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, pkg := range lock.Packages {
				got = append(got, pkg.Name+" "+pkg.Version)
			}
			slices.Sort(got)
			if diff := cmp.Diff(aptChoice(t, archive, asked), got); diff != "" {
				t.Errorf("apt's choice (-), ours (+):\n%s", diff)
			}
			var tools, ship []string
			var size int64
			for _, x := range p.Images[0].Tools {
				tools = append(tools, x.Name)
			}
			for _, x := range p.Images[0].Ship {
				ship = append(ship, x.Name)
				size += x.Size
			}
			t.Log("base", len(p.Images[0].Base), "\nTOOLS", tools, "\nSHIP", len(ship), size>>10, ship)
		})
	}
}
