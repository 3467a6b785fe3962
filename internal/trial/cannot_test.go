package trial_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/engine/fake"
	"imx/internal/probe"
	"imx/internal/trial"
)

// probed is the fate of a probe that tried this and ends.
func probed(attempts ...probe.Attempt) fake.Behaviour {
	var text strings.Builder
	for _, a := range attempts {
		b, _ := json.Marshal(a) // strings and truths
		fmt.Fprintf(&text, "%s\n", b)
	}
	return fake.Behaviour{CrashAfter: 1, Says: text.String() + probe.Done + "\n"}
}

func refused(what string) probe.Attempt {
	return probe.Attempt{Tried: what, Got: "connection refused", Refused: true}
}

// alone has its own address on the loopback: other tests' instances have theirs.
func (w *world) alone() *world {
	pid := os.Getpid()
	w.at = netip.AddrFrom4([4]byte{127, 77, byte(pid >> 8), byte(pid)})
	return w
}

// listening returns a port that answers where the instances are.
func (w *world) listening(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", net.JoinHostPort(w.at.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// keptFrom is a run of a test of app, which says that it can't connect to these.
func keptFrom(connect ...string) trial.Run {
	r := pings()
	r.Services[0].Spec.Connect = nil
	r.Tests[0].Service, r.Tests[0].Commands = "app", nil
	r.Tests[0].Cannot = &imx.Cannot{Connect: connect, Write: []string{"/etc"}}
	r.Places = map[string]imx.Pos{}
	for i, name := range []string{"write", "connect"} {
		r.Places[imx.Address("test", "pings", "cannot", name, "0")] = imx.Pos{File: "t.imx.hcl", Line: 20 + i}
	}
	return r
}

func TestWhatATestCantConnectToIsStartedAndReachedFirst(t *testing.T) {
	for name, alone := range map[string]bool{"with what it connects to": false, "alone": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld().alone()
			w.second = probed(refused("write to /etc"), refused("connect to 1"), refused("connect to 2"))
			run := keptFrom("db:" + w.listening(t))
			run.Tests[0].Alone = alone
			r := w.one(t, run)
			if !r.Passed || len(r.Checks) != 2 {
				t.Errorf("%+v", r)
			}
			if got := w.opened[0].started; !slices.Equal(got, []string{"app", "db", "app"}) {
				t.Errorf("started %v", got)
			}
		})
	}
}

func TestWhatCantBeReachedByAnybodyIsNoRefusal(t *testing.T) {
	w := newWorld().alone()
	port := w.listening(t)
	w.second = probed(refused("write to /etc"), refused("connect to 1"), refused("connect to 2"), refused("connect to 3"))
	for name, entry := range map[string]string{
		"nothing listens":           "db:1",
		"there is no such service":  "nosuch:" + port,
		"an address without anyone": net.JoinHostPort(w.at.String(), "1"),
	} {
		t.Run(name, func(t *testing.T) {
			run := keptFrom(entry, "db:"+port)
			run.Tests[0].Timeout = imx.Duration(20 * time.Second)
			r := w.one(t, run)
			i := slices.IndexFunc(r.Checks, func(k imx.TestCheck) bool { return k.Asked == "it can't connect to "+entry })
			if r.Passed || i < 0 || r.Checks[i].Passed || r.Checks[i].At.Line != 21 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestWhatCantButCanFailsAtItsEntry(t *testing.T) {
	w := newWorld().alone()
	w.second = probed(refused("write to /etc"), refused("connect to 1"), probe.Attempt{Tried: "connect to 127.77.0.1:5", Got: "it can"})
	r := w.one(t, keptFrom("db:"+w.listening(t)))
	if r.Passed || len(r.Checks) != 2 || r.Checks[0].At.Line != 20 {
		t.Fatalf("%+v", r)
	}
	if k := r.Checks[1]; k.Passed || k.At.Line != 21 || k.Got != "it can: 127.77.0.1:5 answers" {
		t.Errorf("%+v", k)
	}
}

func TestEachProbeHasItsOwnTime(t *testing.T) {
	w := newWorld().alone()
	if _, err := probe.Answer(t.Context(), net.JoinHostPort(w.at.String(), fmt.Sprint(probe.BaitPort))); err != nil {
		t.Fatal(err)
	}
	run := trial.Run{Only: []string{trial.Refusals}}
	slow := probed(refused("mount the root writable"))
	slow.CrashAfter = 250 // thousandths of a second: ten times four of them are more than the world's patience
	for i := range 40 {
		name := fmt.Sprintf("s%d", i)
		w.fates[name] = slow
		run.Services = append(run.Services, subject(name))
	}
	for _, r := range w.run(t, run) {
		if !r.Passed {
			t.Errorf("%s: %+v", r.Service, r.Checks)
		}
	}
}

func TestAResultOfAnotherSandboxCountsNoMore(t *testing.T) {
	w := newWorld()
	w.one(t, pings())
	if w.one(t, pings()); len(w.opened) != 1 {
		t.Fatal("what passed was tested again")
	}
	w.sandbox = imx.DigestBytes([]byte("another kernel"))
	if w.one(t, pings()); len(w.opened) != 2 {
		t.Error("a result that another kernel confined counts")
	}
}
