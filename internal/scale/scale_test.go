// Package scale_test tells whole courses of load, decision by decision, in testdata/scripts, and states what holds in each.
package scale_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"imx"
	"imx/internal/scale"
)

func TestCoursesOfLoad(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		w := &world{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "service":
				w.declare(t, d)
				return ""
			case "run":
				return w.run(t, d)
			default:
				t.Fatalf("%s: there is no %q", d.Pos, d.Cmd)
				return ""
			}
		})
	})
}

// every is how often the world measures and decides.
const every = 5 * time.Second

// world is a service whose instances share a load evenly once they are healthy, which takes one measurement.
type world struct {
	scaling imx.Scaling
	now     time.Time
	began   time.Time
	changed time.Time
	active  time.Time
	n       int
	healthy int
	samples []scale.Sample
	said    string
}

// declare begins anew: on Monday, 2026-11-23 at midnight, UTC, or at=TIME.
func (w *world) declare(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	*w = world{scaling: imx.Scaling{Min: 1, Max: 10, Up: imx.DefaultUp, Down: imx.DefaultDown}, n: 1}
	w.now = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for _, a := range d.CmdArgs {
		value := strings.Join(a.Vals, ",")
		number, _ := strconv.Atoi(value)
		length, _ := time.ParseDuration(value)
		switch a.Key {
		case "at":
			at, err := time.Parse(time.RFC3339, value)
			if err != nil {
				t.Fatal(err)
			}
			w.now = at
		case "min":
			w.scaling.Min = number
		case "max":
			w.scaling.Max = number
		case "cpu":
			w.scaling.CPU = number
		case "memory":
			w.scaling.Memory = number
		case "connections":
			w.scaling.Connections = float64(number)
		case "requests":
			w.scaling.Requests = float64(number)
		case "up":
			w.scaling.Up = imx.Duration(length)
		case "down":
			w.scaling.Down = imx.Duration(length)
		case "idle":
			w.scaling.Idle = imx.Duration(length)
		case "replicas":
			w.n = number
		default:
			t.Fatalf("%s: there is no %q", d.Pos, a.Key)
		}
	}
	for line := range strings.Lines(d.Input) {
		w.schedule(t, line)
	}
	w.began, w.active, w.healthy = w.now, w.now, w.n
}

// schedule reads "office mon,fri 08:00 18:00 Europe/Berlin 4 20".
func (w *world) schedule(t *testing.T, line string) {
	t.Helper()
	f := strings.Fields(line)
	s := imx.Schedule{Name: f[0], From: f[2], To: f[3], Zone: f[4]}
	if f[1] != "daily" {
		s.Days = strings.Split(f[1], ",")
	}
	s.Min, _ = strconv.Atoi(f[5])
	s.Max, _ = strconv.Atoi(f[6])
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	w.scaling.Schedules = append(w.scaling.Schedules, s)
}

// run lets time pass with a load, in percents of an instance's processor or in connections or requests per second, and
// returns what is decided, with the time since the beginning.
func (w *world) run(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	length, err := time.ParseDuration(d.CmdArgs[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	var o moment
	for _, a := range d.CmdArgs[1:] {
		value := strings.Join(a.Vals, ",")
		number, _ := strconv.ParseFloat(value, 64)
		switch a.Key {
		case "load":
			o.load = number
		case "silent":
			o.silent = int(number)
		case "unmeasured":
			o.unmeasured = true
		case "rollout":
			o.freedom = map[string]scale.Freedom{"raise": scale.Raise, "bound": scale.Bound}[value]
		case "knock":
			o.knock = value
		default:
			t.Fatalf("%s: there is no %q", d.Pos, a.Key)
		}
	}
	var b strings.Builder
	for end := w.now.Add(length); w.now.Before(end); {
		w.now = w.now.Add(every)
		w.step(&b, o)
		o.knock = ""
	}
	fmt.Fprintf(&b, "%6s  = %d\n", w.now.Sub(w.began), w.n)
	return b.String()
}

type moment struct {
	load       float64
	silent     int
	unmeasured bool
	freedom    scale.Freedom
	knock      string
}

func (w *world) step(b *strings.Builder, o moment) {
	if !o.unmeasured {
		w.samples = append(w.samples, w.sample(o))
	}
	if o.load > 0 && w.n > 0 {
		w.active = w.now
	}
	wanted := scale.Wanted{Scaling: w.scaling, Replicas: w.n, Changed: w.changed, Rollout: o.freedom, Active: w.active, From: o.knock}
	if o.knock != "" {
		wanted.Knocks = 1
	}
	w.healthy = w.n
	d, _ := scale.Next(wanted, w.samples, w.now)
	switch {
	case d.Replicas != w.n:
		fmt.Fprintf(b, "%6s  %d: %s\n", w.now.Sub(w.began), d.Replicas, d.Reason)
		w.n, w.changed = d.Replicas, w.now
	case d.Reason != "" && w.said == "":
		fmt.Fprintf(b, "%6s  stays at %d: %s\n", w.now.Sub(w.began), d.Replicas, d.Reason)
	}
	w.healthy = min(w.healthy, w.n)
	w.said = d.Reason
}

// sample is what the healthy instances tell, but for those that are silent. None does more than all that it can.
func (w *world) sample(o moment) scale.Sample {
	s := scale.Sample{At: w.now}
	told := max(0, w.healthy-o.silent)
	if told == 0 {
		return s
	}
	each := o.load / float64(w.healthy)
	sum := func(v float64) scale.Sum { return scale.Sum{Total: v * float64(told), Of: told} }
	s.CPU, s.Memory = sum(min(each, 100)), sum(min(each, 100))
	s.Connections, s.Requests = sum(each), sum(each)
	return s
}
