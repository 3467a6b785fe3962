package rollout_test

// The scripts in testdata/scripts tell whole rollouts, decision by decision, in a simulated world. They
// are to be read: each says why it is there. After a change of the rules, rewrite them with
// -rewrite, inspect the diff, and only keep it if you understand what caused each line of it.

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"imx"
	"imx/internal/rollout"
)

func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		var w *world
		var out strings.Builder
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out.Reset()
			if d.Cmd == "world" {
				w = newWorld(&out)
				return ""
			}
			said := command(t, w, d)
			if d.Cmd == "run" {
				w.say("= %s", w.summary())
			}
			return out.String() + said
		})
	})
}

// command does one command of a script. The commands are:
//
//	world                                            begin anew
//	release replicas=N healthy=2s crash=5s reason=x  make a release the target; its instances get healthy and crash so
//	        volume[=name] deadline=1m drain=10s      after their start, or never
//	        grace=5s errors=0.2 strategy=canary
//	        steps=0/0s/confirm,10/1m judge=50
//	        surge=1 unavailable=1 preview=9000
//	        window=10m warm=frozen within=5s
//	habit release=N healthy= crash= reason=          from now on the instances of a release do this
//	run 30s                                          let time pass; ends with a summary
//	rollback N | scale N | destroy                   as people do
//	kill ID | sick ID | heal ID                      an instance ends, becomes unhealthy or healthy
//	vanish                                           the machine goes down and all instances and routes with it
//	refuse what=scale release=N reason=x             the engine doesn't start (what=route: send traffic to) a release;
//	                                                 without a reason it does again
//	connections release=N open=M                     so many connections stay open to each of its instances
//	taint web-1-1, untaint web-1-1                   it is to be replaced, or after all isn't
//	traffic 10                                       so many requests come in each second
//	promote [whole] | pause | abort                  as people do with the rollout that is under way
//	restart                                          the server starts anew: it must decide the same
func command(t *testing.T, w *world, d *datadriven.TestData) string {
	t.Helper()
	arg := func(i int) string {
		if len(d.CmdArgs) <= i {
			d.Fatalf(t, "%s needs an argument", d.Cmd)
		}
		return d.CmdArgs[i].Key
	}
	switch d.Cmd {
	case "release":
		w.release(spec(t, d), habits(t, d), option(t, d, "replicas", w.want.Replicas))
	case "habit":
		w.habits[option(t, d, "release", 0)-1] = habits(t, d)
	case "run":
		w.run(duration(t, d, arg(0)))
	case "rollback":
		if !w.rollback(number(t, d, arg(0))) {
			d.Fatalf(t, "release %s was never good", arg(0))
		}
	case "scale":
		w.resize(number(t, d, arg(0)))
	case "destroy":
		w.want.Destroyed, w.want.Target, w.want.Current, w.want.Replicas = true, imx.Release{}, imx.Release{}, 0
	case "kill":
		if !w.end(arg(0), "was killed", imx.Exit{Code: 137}) {
			d.Fatalf(t, "there is no instance %s", arg(0))
		}
	case "vanish":
		for len(w.instances) > 0 {
			w.end(w.instances[0].ID, "it was gone when imx looked", imx.Exit{Code: -1})
		}
		w.routes = nil
	case "sick":
		if !w.phase(arg(0), imx.Unhealthy, "GET /healthz: status 500") {
			d.Fatalf(t, "there is no instance %s", arg(0))
		}
	case "heal":
		if !w.phase(arg(0), imx.Healthy, "") {
			d.Fatalf(t, "there is no instance %s", arg(0))
		}
	case "taint":
		w.taint(arg(0), &imx.Taint{By: "ada", Reason: "it was looked into"})
	case "untaint":
		w.taint(arg(0), nil)
	case "refuse":
		var what string
		d.ScanArgs(t, "what", &what)
		w.refused[fmt.Sprintf("%s %d", what, option(t, d, "release", 0))] = habits(t, d).reason
	case "promote", "pause", "abort":
		person(w, d.Cmd, len(d.CmdArgs) > 0)
	case "traffic":
		w.rate = float64(number(t, d, arg(0)))
	case "connections":
		w.open[option(t, d, "release", 0)] = option(t, d, "open", 0)
	case "restart":
		return restarted(w)
	default:
		d.Fatalf(t, "there is no command %q", d.Cmd)
	}
	return ""
}

// person does with the rollout that is under way what people do.
func person(w *world, wish string, whole bool) {
	r := &w.want.Rollout
	switch wish {
	case "promote":
		r.Confirm, r.Whole, r.Paused, r.Waits = true, r.Whole || whole, "", ""
	case "pause":
		r.Paused = "ada"
	case "abort":
		w.failed(w.want.Target.Number)
	}
}

// restarted asks as a new server would, with everything read anew and in another order.
func restarted(w *world) string {
	seen := w.seen()
	for i, j := 0, len(seen.Instances)-1; i < j; i, j = i+1, j-1 {
		seen.Instances[i], seen.Instances[j] = seen.Instances[j], seen.Instances[i]
	}
	d := rollout.Next(w.want, seen, w.now)
	return fmt.Sprintf("%d actions, wake after %s\n", len(d.Actions), d.Wake)
}

func spec(t *testing.T, d *datadriven.TestData) imx.Spec {
	t.Helper()
	s := imx.Spec{Name: "web", Health: imx.Health{Every: imx.Duration(time.Second), Failures: 3}}
	s.Deadline = imx.Duration(span(t, d, "deadline", "1m"))
	s.Drain = imx.Duration(span(t, d, "drain", "10s"))
	s.Grace = imx.Duration(span(t, d, "grace", "5s"))
	if d.HasArg("within") {
		s.Health.Start = &imx.Pace{Within: imx.Duration(span(t, d, "within", "0s"))}
	}
	if d.HasArg("volume") {
		name := "data"
		if arg, _ := d.Arg("volume"); len(arg.Vals) > 0 {
			name = arg.Vals[0]
		}
		s.Volumes = []imx.Volume{{Name: name, Path: "/data"}}
	}
	for _, key := range []string{"strategy", "steps", "preview", "surge", "unavailable", "window", "warm", "judge"} {
		if d.HasArg(key) {
			s.Deploy = deploys(t, d)
		}
	}
	return s
}

// deploys are how a release takes the place of another: steps=10/20s,50/1h/confirm judge=50 and so on.
func deploys(t *testing.T, d *datadriven.TestData) *imx.Deploy {
	t.Helper()
	strategy, steps, warm := string(imx.BlueGreen), "", string(imx.WarmStopped)
	for key, to := range map[string]*string{"strategy": &strategy, "steps": &steps, "warm": &warm} {
		if d.HasArg(key) {
			d.ScanArgs(t, key, to)
		}
	}
	how := &imx.Deploy{
		Strategy: imx.Strategy(strategy), Warm: imx.Warmth(warm), Window: imx.Duration(span(t, d, "window", "0s")), Preview: option(t, d, "preview", 0),
		Surge: imx.Amount{Count: option(t, d, "surge", 0)}, Unavailable: imx.Amount{Count: option(t, d, "unavailable", 0)},
	}
	if least := option(t, d, "judge", 0); least > 0 {
		how.Judge = &imx.Measure{AtLeast: least, Slack: 0.01}
	}
	for _, text := range strings.FieldsFunc(steps, func(r rune) bool { return r == ',' }) {
		parts := strings.Split(text, "/")
		how.Steps = append(how.Steps, imx.Step{Share: number(t, d, parts[0]), Pause: imx.Duration(duration(t, d, parts[1])), Confirm: len(parts) > 2})
	}
	return how
}

func habits(t *testing.T, d *datadriven.TestData) habit {
	t.Helper()
	h := habit{healthy: span(t, d, "healthy", "0s"), crash: span(t, d, "crash", "0s")}
	if d.HasArg("reason") {
		d.ScanArgs(t, "reason", &h.reason)
		h.reason = strings.ReplaceAll(h.reason, "_", " ")
	}
	if d.HasArg("errors") {
		d.ScanArgs(t, "errors", &h.errors)
	}
	return h
}

func span(t *testing.T, d *datadriven.TestData, key, otherwise string) time.Duration {
	t.Helper()
	if d.HasArg(key) {
		d.ScanArgs(t, key, &otherwise)
	}
	return duration(t, d, otherwise)
}

func duration(t *testing.T, d *datadriven.TestData, text string) time.Duration {
	t.Helper()
	v, err := time.ParseDuration(text)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	return v
}

func option(t *testing.T, d *datadriven.TestData, key string, otherwise int) int {
	t.Helper()
	if d.HasArg(key) {
		d.ScanArgs(t, key, &otherwise)
	}
	return otherwise
}

func number(t *testing.T, d *datadriven.TestData, text string) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(text, &n); err != nil {
		d.Fatalf(t, "%v", err)
	}
	return n
}
