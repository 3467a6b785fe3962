// What is kept for the way back on a real machine: that a frozen instance stands still and goes on where it was, and what
// becomes of it when something kills, thaws, starves or falsifies it.

package local_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/engine"
	"imx/internal/engine/local"
	"imx/internal/erofs"
)

// warmable is a release whose instances are frozen when it is kept.
func (m *machine) warmable(number int) imx.Release {
	r := m.release("web", number)
	r.Spec.Deploy = &imx.Deploy{Strategy: imx.BlueGreen, Warm: imx.WarmFrozen}
	return r
}

// frozen makes n instances and freezes them.
func (e *runningEngine) frozen(tb testing.TB, r imx.Release, n int) []imx.Instance {
	tb.Helper()
	e.healthy(tb, r, n)
	e.keep(tb, r, n)
	return e.until(tb, r, n, imx.Warm)
}

func (e *runningEngine) keep(tb testing.TB, r imx.Release, n int) {
	tb.Helper()
	if err := e.Keep(tb.Context(), r, n); err != nil {
		tb.Fatal(err)
	}
}

// kept waits until what is seen of a kept release is so.
func (e *runningEngine) kept(t *testing.T, r imx.Release, what string, cond func(imx.Kept) bool) {
	t.Helper()
	await(t, "kept release is "+what, func() bool {
		seen, err := e.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range seen.Kept {
			if k.Service == r.Service && k.Release == r.Number && cond(k) {
				return true
			}
		}
		return false
	})
}

func isVerified(k imx.Kept) bool { return k.Fault == "" && !k.Verified.IsZero() }

func isFrozen(t *testing.T, e *runningEngine, x imx.Instance) bool {
	t.Helper()
	return strings.Contains(read(t, filepath.Join(e.Cgroup(x.ID), "init", "cgroup.events")), "frozen 1")
}

// beats is how often an instance has counted since its start: it does so every millisecond.
func (m *machine) beats(t *testing.T, x imx.Instance) int {
	t.Helper()
	text, err := m.ask(t, x.ID, "/beats")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// used is how much of the processor an instance has used.
func used(t *testing.T, e *runningEngine, x imx.Instance) time.Duration {
	t.Helper()
	return groupCPU(t, filepath.Join(e.Cgroup(x.ID), "init"))
}

func TestAWarmInstanceStandsStillAndGoesOnWhereItWas(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.warmable(1)
	x := e.healthy(t, r, 1)[0]
	await(t, "instance has counted for a while", func() bool { return m.beats(t, x) > 100 })
	before := m.beats(t, x)
	e.keep(t, r, 1)
	e.until(t, r, 1, imx.Warm)
	await(t, "instance is frozen", func() bool { return isFrozen(t, e, x) })
	spent, since := used(t, e, x), time.Now()
	await(t, "some time has passed", func() bool { return time.Since(since) > time.Second })
	if now := used(t, e, x); now != spent {
		t.Errorf("in a second while it was frozen it used %s", now-spent)
	}
	e.scale(t, r, 1)
	thawed := e.until(t, r, 1, imx.Healthy)[0]
	if now := m.beats(t, x); thawed.ID != x.ID || thawed.Pid != x.Pid || now < before {
		t.Errorf("%s (%d) had counted to %d, and %s (%d) to %d", x.ID, x.Pid, before, thawed.ID, thawed.Pid, now)
	}
}

func TestAConnectionThatIsOpenWhenItsInstanceIsFrozenIsReset(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.warmable(1)
	r.Spec.Drain = imx.Duration(time.Second)
	e.healthy(t, r, 1)
	route := engine.Route{Service: "web", Releases: []imx.Release{r}, Weights: imx.Weights{1: 1}}
	if err := e.Route(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", m.ports[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET /id HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	if n, err := conn.Read(answer); err != nil || !strings.Contains(string(answer[:n]), "200 OK") {
		t.Fatalf("%q, %v", answer[:n], err)
	}
	route.Weights = nil
	if err := e.Route(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	e.keep(t, r, 1)
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(answer); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the connection gave %v", err)
	}
	x := e.until(t, r, 1, imx.Warm)[0]
	// The kernel would remember for 10 s where the connection led, and lead the next from its port there.
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		n, err := local.Remembered(x.Address)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		if time.Since(began) > 8*time.Second {
			t.Fatalf("%d connections to a frozen instance are remembered", n)
		}
	}
	dialer := net.Dialer{LocalAddr: conn.LocalAddr(), Timeout: 10 * time.Second}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if again, err := dialer.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", m.ports[0])); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a new connection from its port, to a service without traffic: %v, %v", again, err)
	}
}

// A connection that was just being made when the rules took the traffic away is in no count from before. Who holds it would
// wait for an answer that never comes.
func TestConnectionsAreCountedAnewOnceTheirInstanceIsFrozen(t *testing.T) {
	m := newMachine(t)
	counted := make(chan struct{})
	var frozen func() bool
	var watched atomic.Bool
	m.cfg.Open = func() map[netip.Addr]int {
		if watched.Load() && frozen() {
			watched.Store(false)
			close(counted)
		}
		return nil
	}
	e := m.running(t)
	r := m.warmable(1)
	x := e.healthy(t, r, 1)[0]
	frozen = func() bool { return isFrozen(t, e, x) }
	watched.Store(true)
	e.keep(t, r, 1)
	e.until(t, r, 1, imx.Warm)
	select {
	case <-counted:
	case <-time.After(30 * time.Second):
		t.Error("nobody has counted them")
	}
}

func TestAWarmInstanceThatIsKilledHasEnded(t *testing.T) {
	for _, which := range []string{"init", "monitor"} {
		t.Run(which, func(t *testing.T) {
			m := newMachine(t)
			e := m.running(t)
			r := m.warmable(1)
			x := e.frozen(t, r, 2)[0]
			m.kill(t, x.ID, which)
			got := e.until(t, r, 1, imx.Ended)[0]
			want, code := "its process was ended by SIGKILL", 137
			if which == "monitor" {
				want, code = "its process ended, and its monitor (conmon) with it", -1
			}
			if got.ID != x.ID || got.Exit.Code != code || got.Exit.Wanted || got.Reason != want {
				t.Errorf("%s ended with %+v: %s", got.ID, got.Exit, got.Reason)
			}
			e.until(t, r, 1, imx.Warm)
			e.kept(t, r, "sound all the same", isVerified)
			m.compare(t, e)
		})
	}
}

func TestAWarmInstanceThatSomebodyThawsIsFrozenAgain(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	x := e.frozen(t, m.warmable(1), 1)[0]
	freezer := filepath.Join(e.Cgroup(x.ID), "init", "cgroup.freeze")
	if err := os.WriteFile(freezer, []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	await(t, "instance is frozen", func() bool {
		return strings.TrimSpace(read(t, freezer)) == "1" && isFrozen(t, e, x)
	})
}

func TestAnInstanceThatSomebodyFreezesIsUnhealthyAndCanBeEnded(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.warmable(1)
	r.Spec.Health.Timeout, r.Spec.Grace = imx.Duration(300*time.Millisecond), imx.Duration(300*time.Millisecond)
	x := e.healthy(t, r, 1)[0]
	freezer := filepath.Join(e.Cgroup(x.ID), "init", "cgroup.freeze")
	if err := os.WriteFile(freezer, []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	e.until(t, r, 1, imx.Unhealthy)
	e.scale(t, r, 0)
	e.until(t, r, 1, imx.Ended)
	m.compare(t, e)
}

func TestAWarmInstanceDeafToItsStopSignalIsKilled(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.warmable(1)
	r.Spec.Environment["DEAF"] = "1"
	r.Spec.Grace = imx.Duration(200 * time.Millisecond)
	e.frozen(t, r, 1)
	e.scale(t, r, 0)
	if x := e.until(t, r, 1, imx.Ended)[0]; !x.Exit.Wanted || x.Exit.Code != 137 {
		t.Errorf("it ended with %+v", x.Exit)
	}
}

func TestAKilledServersWarmInstancesStayFrozenAndAreAdopted(t *testing.T) {
	m := newMachine(t)
	r := m.warmable(1)
	server := m.serverWith(t, order{Release: r, Count: 2, Keep: 2})
	var before []imx.Instance
	await(t, "server has frozen its instances", func() bool {
		before = nil
		records, _ := filepath.Glob(filepath.Join(m.cfg.Dir, "instances", "*", "instance.json"))
		for _, file := range records {
			if x := m.instance(t, filepath.Base(filepath.Dir(file))); x.Phase == imx.Warm {
				before = append(before, x)
			}
		}
		return len(before) == 2
	})
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait() // killed
	e := m.running(t)
	for _, x := range e.until(t, r, 2, imx.Warm) {
		await(t, "instance is frozen", func() bool { return isFrozen(t, e, x) })
	}
	e.kept(t, r, "sound", isVerified)
	e.scale(t, r, 2)
	after := e.until(t, r, 2, imx.Healthy)
	for i := range after {
		if after[i].ID != before[i].ID || after[i].Pid != before[i].Pid {
			t.Errorf("adopted %+v, was %+v", after[i], before[i])
		}
	}
	m.compare(t, e)
}

// A server that dies between the record and the group leaves one of them behind the other.
func TestARecordThatIsAheadOfItsGroupIsCaughtUpWith(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.warmable(1)
	x := e.frozen(t, r, 1)[0]
	freezer := filepath.Join(e.Cgroup(x.ID), "init", "cgroup.freeze")
	e.stop()
	if err := os.WriteFile(freezer, []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	e = m.running(t)
	await(t, "instance is frozen", func() bool { return isFrozen(t, e, x) })
	e.scale(t, r, 1)
	e.until(t, r, 1, imx.Healthy)
	e.stop()
	if err := os.WriteFile(freezer, []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	e = m.running(t)
	if isFrozen(t, e, x) {
		t.Error("an adopted instance that isn't warm is frozen")
	}
	e.until(t, r, 1, imx.Healthy)
}

// write changes a byte of a file, locked or not, and returns what undoes it.
func write(t *testing.T, file string) (undo func()) {
	t.Helper()
	put := func(change byte) {
		erofs.Unlock(file)
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, 2048); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{b[0] ^ change}, 2048); err != nil {
			t.Fatal(err)
		}
	}
	put(0xff)
	return func() { put(0xff) }
}

func TestAKeptReleaseWhoseRootIsChangedIsNoWayBack(t *testing.T) {
	for _, kind := range []string{"image", "part"} {
		t.Run(kind, func(t *testing.T) {
			m := newMachine(t)
			m.cfg.Verify = 200 * time.Millisecond
			e := m.running(t)
			file, err := m.cfg.Roots(t.Context(), m.image.Digest)
			if err != nil {
				t.Fatal(err)
			}
			if kind == "part" {
				parts, err := erofs.Parts(file)
				if err != nil {
					t.Fatal(err)
				}
				file = erofs.PartFile(file, parts[0].Digest)
			}
			r := m.warmable(1)
			e.frozen(t, r, 1)
			e.kept(t, r, "sound", isVerified)
			undo := write(t, file)
			e.kept(t, r, "changed", func(k imx.Kept) bool { return strings.Contains(k.Fault, "should be sha256:") })
			x := e.until(t, r, 1, imx.Ended)[0]
			if !x.Exit.Wanted || !strings.Contains(x.Reason, "should be sha256:") {
				t.Errorf("its warm instance ended with %+v: %s", x.Exit, x.Reason)
			}
			if err := scale(t, e, r, 1); imx.KindOf(err) != imx.Refused {
				t.Errorf("from a root that was changed: %v", err)
			}
			undo()
			e.kept(t, r, "sound again", isVerified)
			e.healthy(t, r, 1)
		})
	}
}

func TestAKeptRootThatSomebodyUnmountsIsMountedAgain(t *testing.T) {
	m := newMachine(t)
	m.cfg.Verify = 200 * time.Millisecond
	e := m.running(t)
	r := m.release("web", 1)
	e.healthy(t, r, 1)
	e.keep(t, r, 1)
	e.until(t, r, 1, imx.Ended)
	root := "/run/imx-" + m.cfg.ID + "/mnt/roots/web-1"
	mounted := func() bool { _, err := os.Stat(root + "/bin/app"); return err == nil }
	m.compare(t, e)
	if !mounted() {
		t.Fatal("the root of a kept release without instances isn't mounted")
	}
	if err := unix.Unmount(root, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	await(t, "root is mounted", mounted)
	e.scale(t, r, 0)
	await(t, "root of a release that was let go is unmounted", func() bool { return !mounted() })
}

// heavy takes a microsecond of the processor for each KiB that is written to it, and then hands it on.
type heavy struct{ to io.Writer }

func (h heavy) Write(b []byte) (int, error) {
	for began := local.ThreadTime(); local.ThreadTime()-began < time.Duration(len(b)>>10)*time.Microsecond; {
	}
	return h.to.Write(b)
}

// However busy the machine is: who takes a millisecond for a MiB, and a hundredth of a core, takes a tenth of a second for it.
func TestAKeptRootIsReadWithAHundredthOfACore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "root")
	const chunks = 5 // of a MiB; after the last there is no rest
	data := []byte(strings.Repeat("root", chunks<<18))
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	sum, start := sha256.New(), time.Now()
	if err := local.ReadSlowly(t.Context(), file, heavy{sum}); err != nil {
		t.Fatal(err)
	}
	if took, least := time.Since(start), chunks*99*time.Millisecond; took < least {
		t.Errorf("it took %s, and would take %s with a hundredth of a core", took, least)
	}
	if got, want := fmt.Sprintf("%x", sum.Sum(nil)), imx.DigestBytes(data).Hex(); got != want {
		t.Errorf("it read what sums up to %s, want %s", got, want)
	}
}

func TestAKeptReleaseOutlivesTheMachinesRestart(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	e.healthy(t, r, 1)
	e.keep(t, r, 1)
	e.until(t, r, 1, imx.Ended)
	e.stop()
	for _, at := range []string{"roots/web-1", "layers/web-1", "images/" + m.image.Root.Hex()} { // as after a restart
		if err := unix.Unmount("/run/imx-"+m.cfg.ID+"/mnt/"+at, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
	}
	e = m.running(t)
	await(t, "root is mounted", func() bool {
		_, err := os.Stat("/run/imx-" + m.cfg.ID + "/mnt/roots/web-1/bin/app")
		return err == nil
	})
	e.kept(t, r, "sound", isVerified)
}
