// How instances are asked for their health: by gRPC, by a command within their own walls, at another pace while they
// start; and what becomes of those that hang.

package local_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/engine"
	"imx/internal/engine/local"
)

// reason waits for an instance's phase with a reason that has some words in it.
func (e *runningEngine) reason(t *testing.T, r imx.Release, p imx.Phase, words string) {
	t.Helper()
	await(t, "instance is "+string(p)+" and says "+words, func() bool {
		seen, err := e.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range seen.Instances {
			if x.Service == r.Service && x.Release == r.Number && x.Phase == p && strings.Contains(x.Reason, words) {
				return true
			}
		}
		return false
	})
}

func TestAHealthServiceIsAskedByGRPC(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	r.Spec.Health.HTTP, r.Spec.Health.GRPC = nil, &imx.GRPCCheck{Port: "http", Service: "shop"}
	x := e.healthy(t, r, 1)[0]
	m.tell(t, x.ID, "/sick")
	e.reason(t, r, imx.Unhealthy, "asking the health service on port 80: it is NOT_SERVING")
	m.tell(t, x.ID, "/heal")
	e.until(t, r, 1, imx.Healthy)
	whole := m.release("web", 2)
	whole.Spec.Health.HTTP, whole.Spec.Health.GRPC = nil, &imx.GRPCCheck{Port: "http"}
	e.healthy(t, whole, 1)
	stranger := m.release("other", 1)
	stranger.Spec.Health.HTTP, stranger.Spec.Health.GRPC = nil, &imx.GRPCCheck{Port: "http", Service: "bank"}
	e.scale(t, stranger, 1)
	e.reason(t, stranger, imx.Starting, `it knows no service "bank"`)
}

func TestACommandChecksAnInstanceFromWithin(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	r.Spec.Health.HTTP, r.Spec.Health.Command = nil, &imx.CommandCheck{Command: []string{"/bin/app", "check"}}
	x := e.healthy(t, r, 1)[0]
	m.tell(t, x.ID, "/sick")
	e.reason(t, r, imx.Unhealthy, "/bin/app check: it exited with 3: it is not well")
	m.tell(t, x.ID, "/heal")
	e.until(t, r, 1, imx.Healthy)
	for words, command := range map[string][]string{
		"executable file `/bin/missing` not found": {"/bin/missing"},
		"it exited with 7":                         {"/bin/app", "look", "/proc/self/status"},
	} {
		other := m.release("other", 1)
		other.Spec.Health.HTTP, other.Spec.Health.Command = nil, &imx.CommandCheck{Command: command}
		e.scale(t, other, 1)
		e.reason(t, other, imx.Starting, words)
		e.scale(t, other, 0)
		e.until(t, other, 0, imx.Starting)
	}
}

func TestACheckByCommandIsWithinTheInstancesLimits(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	r.Spec.Health.HTTP, r.Spec.Health.Command = nil, &imx.CommandCheck{Command: []string{"/bin/app", "hang"}}
	r.Spec.Health.Timeout, r.Spec.Grace = imx.Duration(time.Minute), imx.Duration(300*time.Millisecond)
	e.scale(t, r, 1)
	x := e.until(t, r, 1, imx.Starting)[0]
	var status, groups string
	await(t, "command runs", func() bool {
		for _, pid := range procs(t, filepath.Join(e.Cgroup(x.ID), "init", "check")) {
			if args, err := os.ReadFile("/proc/" + pid + "/cmdline"); err == nil && strings.HasPrefix(string(args), "/bin/app\x00hang") {
				status, groups = read(t, "/proc/"+pid+"/status"), read(t, "/proc/"+pid+"/cgroup")
				return true
			}
		}
		return false
	})
	for _, want := range []string{"Uid:\t4711\t4711", "NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "NSpid:"} {
		if !strings.Contains(status, want) {
			t.Errorf("it has no %q in its status:\n%s", want, status)
		}
	}
	if !strings.Contains(groups, "memory:/imx-"+m.cfg.ID+"/"+x.ID) && !strings.Contains(groups, "0::/imx-"+m.cfg.ID+"/"+x.ID+"/init/check") {
		t.Errorf("it is in the groups:\n%s", groups)
	}
	e.scale(t, r, 0)
	e.until(t, r, 1, imx.Ended)
	m.compare(t, e)
}

// procs are the processes in a group.
func procs(t *testing.T, group string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text))
}

func TestACheckThatHangsIsKilledAtItsTime(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	r.Spec.Health.HTTP, r.Spec.Health.Command = nil, &imx.CommandCheck{Command: []string{"/bin/app", "hang"}}
	r.Spec.Health.Start = &imx.Pace{Every: imx.Duration(time.Hour), Timeout: imx.Duration(500 * time.Millisecond)}
	e.scale(t, r, 1)
	x := e.until(t, r, 1, imx.Starting)[0]
	e.reason(t, r, imx.Starting, "/bin/app hang: no answer within 500ms")
	await(t, "check has left nothing", func() bool { return len(procs(t, filepath.Join(e.Cgroup(x.ID), "init", "check"))) == 0 })
	if all := procs(t, filepath.Join(e.Cgroup(x.ID), "init")); len(all) != 1 {
		t.Errorf("the instance has the processes %v", all)
	}
	children, err := os.ReadFile("/proc/" + procs(t, filepath.Join(e.Cgroup(x.ID), "init"))[0] + "/task/" + procs(t, filepath.Join(e.Cgroup(x.ID), "init"))[0] + "/children")
	if err != nil || len(children) > 0 {
		t.Errorf("what was killed is left to the first process: %q, %v", children, err)
	}
}

func TestAnInstanceThatStartsIsAskedAtAPaceOfItsOwn(t *testing.T) {
	second := imx.Duration(time.Second)
	plain := imx.Health{Every: 10 * second, Timeout: 2 * second, HTTP: &imx.HTTPCheck{}}
	command := plain
	command.HTTP, command.Command = nil, &imx.CommandCheck{}
	start := plain
	start.Start = &imx.Pace{Every: 3 * second, Timeout: 30 * second}
	for _, c := range []struct {
		says           string
		health         imx.Health
		phase          imx.Phase
		every, timeout time.Duration
	}{
		{"without one, often", plain, imx.Starting, 200 * time.Millisecond, 2 * time.Second},
		{"a command less often", command, imx.Starting, time.Second, 2 * time.Second},
		{"later as the check says", plain, imx.Healthy, 10 * time.Second, 2 * time.Second},
		{"with one, as it says", start, imx.Starting, 3 * time.Second, 30 * time.Second},
		{"and later as the check says", start, imx.Unhealthy, 10 * time.Second, 2 * time.Second},
		{"with nothing said at all", imx.Health{}, imx.Healthy, time.Second, time.Second},
	} {
		if every, timeout := local.Interval(c.health, c.phase), local.Timeout(c.health, c.phase); every != c.every || timeout != c.timeout {
			t.Errorf("%s: every %s for %s, want %s for %s", c.says, every, timeout, c.every, c.timeout)
		}
	}
}

func TestAnInstanceIsAskedMoreOftenWhileSomethingDrawsAttentionToIt(t *testing.T) {
	usual := imx.Health{Every: imx.Duration(5 * time.Second), HTTP: &imx.HTTPCheck{}}
	often := imx.Health{Every: imx.Duration(100 * time.Millisecond), HTTP: &imx.HTTPCheck{}}
	now := time.Now()
	well := imx.Instance{Phase: imx.Healthy, Changed: now.Add(-time.Hour)}
	fresh := imx.Instance{Phase: imx.Healthy, Changed: now.Add(-time.Minute)}
	starts := imx.Instance{Phase: imx.Starting, Changed: now}
	alone := engine.Route{Weights: imx.Weights{2: 1}}
	for says, c := range map[string]struct {
		health imx.Health
		in     imx.Instance
		fails  int
		route  engine.Route
		want   time.Duration
	}{
		"one that is well, as the template says":    {usual, well, 0, alone, 5 * time.Second},
		"one of a service that has no traffic yet":  {usual, well, 0, engine.Route{}, 5 * time.Second},
		"one that became healthy a minute ago":      {usual, fresh, 0, alone, time.Second},
		"one that failed a check":                   {usual, well, 1, alone, time.Second},
		"one of two releases that share traffic":    {usual, well, 0, engine.Route{Weights: imx.Weights{1: 9, 2: 1}}, time.Second},
		"one beside a release at the preview port":  {usual, well, 0, engine.Route{Weights: imx.Weights{1: 1}, Preview: 2}, time.Second},
		"none less often than the template says":    {often, well, 1, alone, 100 * time.Millisecond},
		"one that starts, as one that starts is":    {usual, starts, 1, alone, 200 * time.Millisecond},
		"one whose last change is known to nobody":  {usual, imx.Instance{Phase: imx.Healthy}, 0, alone, 5 * time.Second},
		"one whose clock jumped, until it is right": {usual, imx.Instance{Phase: imx.Healthy, Changed: now.Add(time.Hour)}, 0, alone, time.Second},
	} {
		if got := local.Pace(c.health, c.in, c.fails, c.route, now); got != c.want {
			t.Errorf("%s: every %s, want %s", says, got, c.want)
		}
	}
}

func TestWhatIsDueAtTheSameTimeIsDoneTogether(t *testing.T) {
	now := time.Now()
	for _, after := range []time.Duration{0, 200 * time.Millisecond, 999 * time.Millisecond} {
		if got := local.Together(now, after); got != after {
			t.Errorf("%s becomes %s, and somebody waits for it", after, got)
		}
	}
	for _, after := range []time.Duration{time.Second, 5 * time.Second, time.Minute} {
		moments := map[time.Time]bool{}
		for i := range 1000 {
			at := now.Add(time.Duration(i) * after / 1000)
			got := local.Together(at, after)
			if got < after*19/20 || got > after*21/20 {
				t.Fatalf("%s becomes %s", after, got)
			}
			moments[at.Round(0).Add(got)] = true
		}
		if len(moments) > 11 {
			t.Errorf("what comes each %s comes at %d moments of it", after, len(moments))
		}
	}
}

func TestAnInstanceThatHangsIsUnhealthyAndCanBeReplaced(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	r.Spec.Health.Timeout, r.Spec.Grace = imx.Duration(300*time.Millisecond), imx.Duration(300*time.Millisecond)
	x := e.healthy(t, r, 1)[0]
	if err := unix.Kill(x.Pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	e.reason(t, r, imx.Unhealthy, "no answer within 300ms")
	if err := e.Stop(t.Context(), x.ID, "it hangs"); err != nil {
		t.Fatal(err)
	}
	if got := e.until(t, r, 1, imx.Ended)[0]; got.ID != x.ID || got.Exit.Code != 137 || got.Reason != "it hangs" {
		t.Errorf("it ended with %+v: %s", got.Exit, got.Reason)
	}
	e.healthy(t, r, 1)
	m.compare(t, e)
}
