// What an instance finds itself in: its own files, and none of the ways out or of changing
// anything that lasts.

package local_test

import (
	"encoding/json"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/engine"
)

// running opens an engine that runs until the test ends.
func (m *machine) running(tb testing.TB) *runningEngine {
	tb.Helper()
	return m.run(tb, m.open(tb))
}

func TestNothingInAnInstanceCanBeChangedOrMadeToRun(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	r.Config.User = "" // root, where it is hardest
	r.Spec.Tmpfs = []imx.Tmpfs{{Path: "/var/cache/app", Size: 16 << 20}}
	r.Spec.Volumes = []imx.Volume{{Name: "state", Path: "/srv/state"}}
	r.Spec.Environment["WRITABLE"] = "/var/cache/app:/srv/state:/tmp"
	id := e.healthy(t, r, 1)[0].ID
	text, err := m.ask(t, id, "/try")
	if err != nil {
		t.Fatal(err)
	}
	var tried map[string]string
	if err := json.Unmarshal([]byte(text), &tried); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, what := range slices.Sorted(maps.Keys(tried)) {
		got := tried[what]
		switch {
		case got == "":
			t.Errorf("%s: worked", what)
		case strings.HasPrefix(got, "could not even write"):
			t.Errorf("%s: it proves nothing: %s", what, got)
		default:
			t.Logf("%s: %s", what, got)
		}
	}
	if len(tried) < 20 {
		t.Errorf("only %d things were tried", len(tried))
	}
}

func TestANamedPipeCanBeMadeWhereAnInstanceMayWrite(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	r.Spec.Tmpfs = []imx.Tmpfs{{Path: "/tmp", Size: 1 << 20}}
	id := e.healthy(t, r, 1)[0].ID
	if said, err := m.ask(t, id, "/pipe"+query(map[string]string{"path": "/tmp/pipe"})); said != "" || err != nil {
		t.Errorf("it says %q, %v", said, err)
	}
}

func TestEveryWritableMountIsNoexecNosuidNodevAndSmall(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	r.Spec.Tmpfs = []imx.Tmpfs{{Path: "/var/run/app", Size: 1 << 20}} // through a link of the image
	r.Spec.Volumes = []imx.Volume{{Name: "state", Path: "/srv/state"}}
	id := e.healthy(t, r, 1)[0].ID
	mounts, err := m.ask(t, id, "/read"+query(map[string]string{"path": "/proc/self/mountinfo"}))
	if err != nil {
		t.Fatal(err)
	}
	writable := map[string]bool{}
	for line := range strings.Lines(mounts) {
		left, right, _ := strings.Cut(line, " - ")
		f, super := strings.Fields(left), strings.Fields(right)
		point, options := f[4], strings.Split(f[5], ",")
		if slices.Contains(options, "ro") {
			continue
		}
		writable[point] = true
		for _, want := range []string{"noexec", "nosuid", "nodev"} {
			if point != "/dev/pts" && !slices.Contains(options, want) {
				t.Errorf("%s is mounted %v", point, options)
			}
		}
		if super[0] == "tmpfs" && !strings.Contains(super[2], "size=") {
			t.Errorf("%s has no size: %s", point, line)
		}
	}
	want := []string{"/dev/mqueue", "/dev/pts", "/dev/shm", "/proc", "/run/app", "/srv/state", "/tmp"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(writable))); diff != "" {
		t.Errorf("writable mounts (-want +got):\n%s", diff)
	}
}

func TestAnInstanceSeesItsReleasesFilesOverItsImage(t *testing.T) {
	m := newMachine(t)
	m.cfg.Files = func(imx.Digest) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("port 1234\n")), nil }
	e := m.running(t)
	r := m.release("web", 1)
	r.Spec.Files = []imx.File{
		{Path: "/etc/app/app.conf", Size: 10, Mode: 0o640, Owner: "app"},
		{Path: "/private/key", Size: 10, Mode: 0o600, Owner: "app"}, // in a directory of the image's, 0700 of app
		{Path: "/var/run/lock/note", Size: 10},                      // through a link of the image's
	}
	r.Hosts = []imx.Host{{Name: "db", Address: m.release("db", 1).Address}}
	id := e.healthy(t, r, 1)[0].ID
	for path, want := range map[string]string{
		"/etc/app/app.conf":  "port 1234\n",
		"/private/key":       "port 1234\n",
		"/run/lock/note":     "port 1234\n",
		"/etc/hostname":      "web\n",
		"/proc/self/cmdline": "/bin/app\x00",
		"/etc/hosts":         "127.0.0.1 localhost\n127.0.1.1 web\n" + m.release("db", 1).Address.String() + " db\n",
	} {
		if got, err := m.ask(t, id, "/read"+query(map[string]string{"path": path})); err != nil || got != want {
			t.Errorf("%s holds %q, %v; want %q", path, got, err, want)
		}
	}
	status, err := m.ask(t, id, "/read"+query(map[string]string{"path": "/proc/self/status"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nUid:\t4711\t", "\nGid:\t4712\t", "\nGroups:\t4713", "\nSeccomp:\t2"} {
		if !strings.Contains(status, want) {
			t.Errorf("/proc/self/status lacks %q:\n%s", want, status)
		}
	}
}

func TestAVolumeOutlivesItsInstances(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("db", 1)
	r.Spec.Volumes = []imx.Volume{{Name: "data", Path: "/srv/data"}}
	id := e.healthy(t, r, 1)[0].ID
	path := map[string]string{"path": "/srv/data/rows", "data": "one"}
	if got, err := m.ask(t, id, "/write"+query(path)); err != nil || got != "" {
		t.Fatalf("the image's user can't write to its volume: %s, %v", got, err)
	}
	e.scale(t, r, 0)
	e.until(t, r, 1, imx.Ended)
	next := m.release("db", 2)
	next.Spec.Volumes = r.Spec.Volumes
	id = e.healthy(t, next, 1)[0].ID
	if got, err := m.ask(t, id, "/read"+query(path)); err != nil || got != "one" {
		t.Errorf("the next release reads %q, %v", got, err)
	}
	e.scale(t, next, 0)
	e.until(t, next, 1, imx.Ended)
	volume := filepath.Join(m.cfg.Dir, "volumes", "db", "data", "rows")
	for _, v := range []engine.Volumes{engine.KeepVolumes, engine.DeleteVolumes} {
		if err := e.Remove(t.Context(), "db", v); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(volume); (err == nil) != (v == engine.KeepVolumes) {
			t.Errorf("removed with %d: the volume's file: %v", v, err)
		}
	}
}

func TestTheMemoryLimitEndsAnInstanceAndSaysSo(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	r.Spec.Resources.Memory = 32 << 20
	id := e.healthy(t, r, 1)[0].ID
	m.tell(t, id, "/eat?mib=100")
	x := e.until(t, r, 1, imx.Ended)[0]
	if !x.Exit.OOM || x.Exit.Code != 137 || !strings.HasPrefix(x.Reason, "its memory limit of 32.0 MiB ended it: ") {
		t.Errorf("it ended with %+v: %s", x.Exit, x.Reason)
	}
}

func TestAnInstanceReachesOnlyWhatItConnectsTo(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	db, web, other := m.release("db", 1), m.release("web", 1), m.release("other", 1)
	web.Spec.Connect = []imx.PortRef{{Service: "db", Port: "http"}}
	dbID := e.healthy(t, db, 1)[0].ID
	webID := e.healthy(t, web, 1)[0].ID
	otherID := e.healthy(t, other, 1)[0].ID
	if err := e.Route(t.Context(), engine.Route{Service: "db", Releases: []imx.Release{db}, Weights: imx.Weights{1: 1}}); err != nil {
		t.Fatal(err)
	}
	host, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	_, hostPort, err := net.SplitHostPort(host.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	direct := m.instance(t, dbID).Address.String() + ":80"
	for _, c := range []struct {
		from, to string
		works    bool
	}{
		{webID, db.Address.String() + ":80", true},
		{webID, direct, true},
		{webID, m.instance(t, otherID).Address.String() + ":80", false},
		{otherID, db.Address.String() + ":80", false},
		{otherID, direct, false},
		{webID, "169.254.1.1:" + hostPort, false}, // the machine itself
		{dbID, m.instance(t, webID).Address.String() + ":80", false},
	} {
		got, err := m.ask(t, c.from, "/dial"+query(map[string]string{"to": c.to}))
		if err != nil || (got == "") != c.works {
			t.Errorf("from %s to %s: %q, %v; should work: %v", c.from, c.to, got, err, c.works)
		}
	}
}
