package rollout_test

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"imx"
	"imx/internal/rollout"
)

// world is a little engine, log and loop in one. It asks Next only when something changed or when
// Next asked to be woken, as the real loop does: a decision that forgets to ask comes too late here.
type world struct {
	out      io.Writer
	start    time.Time
	now      time.Time
	record                                               // the log, and what the server remembers beside it
	machine                                              // the engine
	asked    int                                         // decisions since the world began
	dieAfter int                                         // so many actions the server dies; 0 is never
	law      func(before rollout.Seen, a rollout.Action) // looks at each action once it is done
	happened func()                                      // is called when something becomes of an instance by itself
	// What the laws want to know of the moment before an action.
	earlier    imx.Rollout
	liveBefore int
}

// machine is the engine and what is on it.
type machine struct {
	habits    []habit // of the releases' instances
	instances []imx.Instance
	ended     []imx.Instance
	routes    imx.Weights
	preview   int
	kept      map[int]string    // releases that are kept for the way back, and what is wrong with their roots
	open      map[int]int       // connections per release that stay open
	count     map[int]int       // instances started, per release
	refused   map[string]string // what the engine doesn't do, and why
	trouble   string            // what it last said when it didn't
	rate      float64           // requests per second to the service
	liar      bool              // the metrics are no numbers
}

// habit is what the instances of a release do.
type habit struct {
	healthy time.Duration // after its start, or after it was thawed; 0 means never
	crash   time.Duration // after its start; 0 means never
	reason  string
	errors  float64 // the share of its requests that fail
}

// stopping is how long an instance takes to stop.
const stopping = time.Second

func newWorld(out io.Writer) *world {
	start := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	w := &world{out: out, start: start, now: start, law: func(rollout.Seen, rollout.Action) {}, happened: func() {}}
	w.machine = machine{kept: map[int]string{}, open: map[int]int{}, count: map[int]int{}, refused: map[string]string{}}
	w.want.Service = "web"
	return w
}

func (w *world) say(format string, args ...any) {
	_, _ = fmt.Fprintf(w.out, "%6s  %s\n", w.now.Sub(w.start), fmt.Sprintf(format, args...)) // to memory
}

func (w *world) seen() rollout.Seen {
	live := slices.Clone(w.instances)
	for i := range live {
		live[i].Flows = w.open[live[i].Release]
	}
	s := rollout.Seen{
		Instances: live, Ended: slices.Clone(w.ended), Routes: w.routes, Preview: w.preview, Trouble: w.trouble,
		Counted: w.counts(), Proved: w.proved, Tried: w.tried,
	}
	for number, fault := range w.kept {
		s.Kept = append(s.Kept, imx.Kept{Service: "web", Release: number, Fault: fault})
	}
	slices.SortFunc(s.Kept, func(a, b imx.Kept) int { return cmp.Compare(a.Release, b.Release) })
	return s
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	for {
		wake := w.settle()
		next := end
		if wake > 0 && w.now.Add(wake).Before(next) {
			next = w.now.Add(wake)
		}
		if at, ok := w.upcoming(); ok && at.Before(next) {
			next = at
		}
		if next.After(w.now) { // a changed habit may be due since long ago
			w.serve(next.Sub(w.now))
			w.now = next
		}
		w.happen()
		if !w.now.Before(end) {
			w.settle()
			return
		}
	}
}

// settle asks and acts until nothing is left to do now, or the engine says no.
func (w *world) settle() time.Duration {
	const most = 20
	for range most {
		if rollout.Proves(w.want, w.instances) {
			w.proved = w.now
		}
		d := rollout.Next(w.want, w.seen(), w.now)
		w.asked++
		w.trouble = w.do(d.Actions)
		switch {
		case w.trouble != "":
			return time.Second
		case len(d.Actions) == 0:
			return d.Wake
		}
	}
	w.say("IT NEVER SETTLES")
	return 0
}

// do acts up to the first action that the engine refuses, and returns what it then says.
func (w *world) do(actions []rollout.Action) string {
	for _, a := range actions {
		if why := w.refusal(a); why != "" {
			return why
		}
		before := w.seen()
		w.earlier = w.want.Rollout
		if a, is := a.(rollout.Scale); is {
			w.liveBefore = len(w.live(a.Release))
		}
		w.act(a)
		w.law(before, a)
		if w.dieAfter > 0 {
			if w.dieAfter--; w.dieAfter == 0 {
				w.forget()
				return ""
			}
		}
	}
	return ""
}

// refusal is what the engine says to an action that it doesn't do. It always can stop instances.
func (w *world) refusal(a rollout.Action) string {
	switch a := a.(type) {
	case rollout.Scale:
		if why := w.refused[fmt.Sprintf("scale %d", a.Release)]; why != "" && a.Replicas > len(w.live(a.Release)) {
			w.say("scale release %d to %d, which is refused", a.Release, a.Replicas)
			return why
		}
	case rollout.Route:
		for number := range a.Weights {
			if why := w.refused[fmt.Sprintf("route %d", number)]; why != "" {
				w.say("route %s, which is refused", told(a))
				return why
			}
		}
	case rollout.Keep:
		if why := w.refused[fmt.Sprintf("keep %d", a.Release)]; why != "" {
			w.say("keep release %d, which is refused", a.Release)
			return why
		}
	default: // the log takes everything, and instances can always be stopped
	}
	return ""
}

func (w *world) act(a rollout.Action) {
	switch a := a.(type) {
	case rollout.Scale:
		w.say("scale release %d to %d", a.Release, a.Replicas)
		if a.Release == w.want.Back.Number && a.Replicas > 0 {
			w.tried = w.now
		}
		w.scale(a.Release, a.Replicas)
	case rollout.Stop:
		w.say("stop %s: %s", a.Instance, a.Reason)
		w.stop(a.Instance)
	case rollout.Route:
		w.say("route %s", told(a))
		if !maps.Equal(w.routes, a.Weights) {
			w.want.Moved = w.logTime()
		}
		w.routes, w.preview = a.Weights, a.Preview
	case rollout.Keep:
		w.say("keep release %d", a.Release)
		w.keep(a.Release, a.Replicas)
	default:
		w.write(a)
	}
}

// told is a Route for a person.
func told(a rollout.Route) string {
	text := "nothing"
	var parts []string
	for _, number := range slices.Sorted(maps.Keys(a.Weights)) {
		parts = append(parts, fmt.Sprintf("%d %% to release %d", a.Weights[number], number))
		text = fmt.Sprintf("everything to release %d", number)
	}
	if len(parts) > 1 {
		text = strings.Join(parts, ", ")
	}
	if a.Preview != 0 {
		text += fmt.Sprintf(", and the preview to release %d", a.Preview)
	}
	return text
}

// live are the instances of a release that are neither stopping nor ended, in the order in which
// an engine stops them: unhealthy ones first, then the newest.
func (w *world) live(release int) []imx.Instance {
	var list []imx.Instance
	for _, in := range w.instances {
		if in.Release == release && in.Phase != imx.Stopping && in.Phase != imx.Warm {
			list = append(list, in)
		}
	}
	sort.SliceStable(list, func(i, j int) bool {
		a, b := list[i], list[j]
		if (a.Phase == imx.Healthy) != (b.Phase == imx.Healthy) {
			return b.Phase == imx.Healthy
		}
		return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(b.ID, a.ID)) < 0
	})
	return list
}

func (w *world) scale(release, n int) {
	list := w.live(release)
	missing := n - len(list)
	for i := range w.instances {
		in := &w.instances[i]
		switch {
		case in.Release != release || in.Phase != imx.Warm:
		case n == 0:
			w.stop(in.ID)
		case missing > 0:
			in.Phase, in.Changed = imx.Starting, w.now
			missing--
		}
	}
	if n == 0 {
		delete(w.kept, release)
	}
	for ; missing > 0; missing-- {
		w.count[release]++
		w.instances = append(w.instances, imx.Instance{
			ID:      fmt.Sprintf("web-%d-%d", release, w.count[release]),
			Service: "web", Release: release, Phase: imx.Starting, Started: w.now, Changed: w.now,
		})
	}
	for i := n; i < len(list); i++ {
		w.stop(list[i-n].ID)
	}
}

// keep freezes instances of a release, or stops them, as its template says. Its root stays.
func (w *world) keep(release, n int) {
	spec := w.numbered(release).Spec
	if _, known := w.kept[release]; !known {
		w.kept[release] = ""
	}
	if spec.Exclusive() || spec.How().Warm != imx.WarmFrozen {
		n = 0
	}
	for i := range w.instances {
		in := &w.instances[i]
		switch {
		case in.Release != release || in.Phase == imx.Stopping:
		case n > 0 && in.Phase == imx.Warm:
			n--
		case n > 0 && in.Phase == imx.Healthy:
			in.Phase, in.Changed = imx.Warm, w.now
			n--
		default:
			w.stop(in.ID)
		}
	}
}

func (w *world) stop(id string) { w.phase(id, imx.Stopping, "") }

// phase changes an instance. It reports whether it is there.
func (w *world) phase(id string, p imx.Phase, reason string) bool {
	for i := range w.instances {
		if in := &w.instances[i]; in.ID == id {
			in.Phase, in.Reason, in.Changed = p, reason, w.now
			if p == imx.Healthy && in.Ready.IsZero() {
				in.Ready = w.now
			}
			return true
		}
	}
	return false
}

func (w *world) taint(id string, t *imx.Taint) {
	for i := range w.instances {
		if w.instances[i].ID == id {
			w.instances[i].Taint = t
		}
	}
}

// end ends an instance. It reports whether it is there.
func (w *world) end(id, reason string, exit imx.Exit) bool {
	for i, in := range w.instances {
		if in.ID != id {
			continue
		}
		in.Phase, in.Reason, in.Ended, in.Exit = imx.Ended, reason, w.now, &exit
		w.instances = slices.Delete(w.instances, i, i+1)
		w.ended = append(w.ended, in)
		if len(w.ended) > 20 {
			w.ended = w.ended[1:]
		}
		return true
	}
	return false
}

// due is when something will happen to an instance by itself, and what.
func (w *world) due(in imx.Instance) (time.Time, imx.Phase) {
	h := w.habits[in.Release-1]
	switch {
	case in.Phase == imx.Stopping:
		return in.Changed.Add(stopping), imx.Ended
	case in.Phase == imx.Warm:
		return time.Time{}, ""
	case in.Phase == imx.Starting && h.healthy > 0 && (h.crash == 0 || h.healthy < h.crash):
		return in.Changed.Add(h.healthy), imx.Healthy
	case h.crash > 0:
		return in.Started.Add(h.crash), imx.Ended
	}
	return time.Time{}, ""
}

func (w *world) upcoming() (time.Time, bool) {
	var first time.Time
	for _, in := range w.instances {
		if at, p := w.due(in); p != "" && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first, !first.IsZero()
}

// happen lets come about what is due now. Habits may change what was due long ago.
func (w *world) happen() {
	for _, in := range slices.Clone(w.instances) {
		at, p := w.due(in)
		if p == "" || at.After(w.now) {
			continue
		}
		reason := w.habits[in.Release-1].reason
		w.happened()
		switch {
		case p == imx.Healthy:
			w.say("        %s is healthy", in.ID)
			w.phase(in.ID, imx.Healthy, "")
		case in.Phase == imx.Stopping:
			w.say("        %s has stopped", in.ID)
			w.end(in.ID, "", imx.Exit{Wanted: true})
		default:
			w.say("        %s ended: %s", in.ID, reason)
			w.end(in.ID, reason, imx.Exit{Code: 1})
		}
	}
}

// summary is what there is, for a person.
func (w *world) summary() string {
	var parts []string
	for number := range w.releases {
		kinds := map[imx.Phase]int{}
		for _, in := range w.instances {
			if in.Release == number+1 {
				kinds[in.Phase]++
			}
		}
		for _, p := range []imx.Phase{imx.Starting, imx.Healthy, imx.Unhealthy, imx.Warm, imx.Stopping} {
			if kinds[p] > 0 {
				parts = append(parts, fmt.Sprintf("%d %s of release %d", kinds[p], p, number+1))
			}
		}
	}
	if len(parts) == 0 {
		parts = []string{"no instance"}
	}
	where := "nowhere"
	if len(w.routes) > 0 {
		where = strings.TrimPrefix(told(rollout.Route{Weights: w.routes, Preview: w.preview}), "everything ")
	}
	return fmt.Sprintf("current %d, target %d; %s; traffic goes %s",
		w.want.Current.Number, w.want.Target.Number, strings.Join(parts, ", "), where)
}
