package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"imx"
	"imx/internal/state"
	"imx/internal/term"
)

func newRolloutWatchCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "watch [SERVICE...]",
		short: "Watch rollouts until they have ended",
		long: `Shows each rollout of the services that are named, or of all: its step, the shares of the traffic, the instances by health,
what was counted and judged, and what it waits for. A terminal sees it live; a pipe gets a line for each change, with --json
an object. It ends when nothing is being rolled out.`,
		example: `
$ imx rollout watch
$ imx rollout watch web && echo "web is released"`,
		exits: asking(
			status{0, "nothing is being rolled out (any more), and what was watched took over"},
			status{3, "there is no such service"},
			status{exitRollout, "a release that was watched failed"},
			status{exitInterrupted, "interrupted; the server goes on"},
		),
		most:     -1,
		complete: completeServices(g, serviceName),
	}.command(func(ctx context.Context, args []string) error { return runRolloutWatch(ctx, args, g, t) })
}

// countEvery is how often what is counted is asked for anew: no event tells of it.
const countEvery = time.Second

func runRolloutWatch(ctx context.Context, names []string, g *Global, t *term.Terminal) error {
	now, err := g.client().Status(ctx, time.Time{})
	if err != nil {
		return err
	}
	for _, name := range names {
		if v, known := now.State.Services[name]; !known || v.Destroyed {
			return imx.Errorf(imx.NotFound, "there is no service %q", name).WithHint("imx status lists the services")
		}
	}
	w := &watcher{g: g, names: names, state: &now.State, counted: map[string]imx.RolloutView{}, watched: map[string]int{}, told: map[string]string{}, show: shownBy(g, t)}
	err = w.run(ctx)
	if ctx.Err() != nil {
		return errInterrupted("the server goes on: imx rollout watch shows how far it is")
	}
	return err
}

// watcher follows the log, and knows by it how each rollout stands.
type watcher struct {
	g       *Global
	names   []string // none means all services
	state   *imx.State
	counted map[string]imx.RolloutView
	watched map[string]int    // the release that was last seen on its way, by service
	told    map[string]string // what was last told of each service
	failed  []imx.Release
	show    rolloutShow
}

// rolloutShow is how standings are shown: those that have ended or changed since, and all that are under way.
type rolloutShow interface {
	changed(s standing) error
	live(all []standing)
}

// run returns when nothing is rolled out any more.
func (w *watcher) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	news, ended := w.follow(ctx)
	defer func() { stop(); <-ended }()
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	w.count(ctx)
	for {
		under, err := w.look()
		if err != nil || !under {
			return errors.Join(err, failedRollouts(w.failed, w.current()))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case n := <-news:
			if n.err != nil {
				return n.err
			}
			if err := state.Fold(w.state, n.Event); err != nil {
				return err
			}
		case <-tick.C:
			w.count(ctx)
		}
	}
}

// current is which release has the traffic of each service.
func (w *watcher) current() map[string]int {
	current := map[string]int{}
	for name, v := range w.state.Services {
		current[name] = v.Current
	}
	return current
}

// news is an event of the log, or why there are no more.
type news struct {
	imx.Event
	err error
}

// follow gives the events that come after the state, until ctx ends. The second channel is closed when nothing follows any more.
func (w *watcher) follow(ctx context.Context) (<-chan news, <-chan struct{}) {
	all, ended, from := make(chan news), make(chan struct{}), w.state.Next
	go func() {
		defer close(ended)
		for e, err := range w.g.client().Events(ctx, from, true) {
			select {
			case all <- news{e, err}:
			case <-ctx.Done():
				return
			}
		}
		select {
		case all <- news{err: imx.Errorf(imx.Unavailable, "the server ended the log").WithHint("imx status shows how things stand")}:
		case <-ctx.Done():
		}
	}()
	return all, ended
}

// count asks what was counted of the rollouts that are under way. Where that isn't answered, nothing is known of it: the log still is.
func (w *watcher) count(ctx context.Context) {
	clear(w.counted)
	for _, v := range w.services() {
		if v.Target == v.Current {
			continue
		}
		if counted, err := w.g.client().Rollout(ctx, v.Name); err == nil {
			w.counted[v.Name] = counted
		}
	}
}

// services are those that are watched.
func (w *watcher) services() []imx.Service {
	return slices.DeleteFunc(living(*w.state), func(v imx.Service) bool { return len(w.names) > 0 && !slices.Contains(w.names, v.Name) })
}

// look shows what has changed, and returns whether anything is still rolled out.
func (w *watcher) look() (bool, error) {
	var under []standing
	for _, v := range w.services() {
		st := standingOf(w.state, v, w.counted[v.Name])
		if err := w.settle(v, st); err != nil {
			return false, err
		}
		if st.under() {
			under = append(under, st)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.watched)) {
		if w.state.Services[name].Destroyed {
			delete(w.watched, name)
		}
	}
	w.show.live(under)
	return len(under) > 0, nil
}

// settle tells what has changed of a service, and remembers which release is on its way.
func (w *watcher) settle(v imx.Service, st standing) error {
	if was := w.watched[v.Name]; was != 0 && (was != v.Target || !st.under()) {
		delete(w.watched, v.Name)
		r, _ := v.Release(was)
		over := st
		over.Target, over.State, over.Reason, over.Ended = was, r.State, r.Reason, true
		over.Rollout, over.Steps = imx.Rollout{}, nil
		if r.State == imx.ReleaseFailed || r.State == imx.ReleaseSuperseded {
			w.failed = append(w.failed, r)
		}
		if err := w.show.changed(over); err != nil {
			return err
		}
	}
	if !st.under() {
		return nil
	}
	w.watched[v.Name] = v.Target
	line := st.plain()
	if w.told[v.Name] == line {
		return nil
	}
	w.told[v.Name] = line
	return w.show.changed(st)
}

// shownBy is how the command's output is read.
func shownBy(g *Global, t *term.Terminal) rolloutShow {
	switch {
	case g.JSON:
		return rolloutLines{t.Out}
	case t.Out.Size == nil:
		return rolloutText{t.Out}
	}
	return &rolloutScreen{out: t.Out, block: term.NewLive(t.Out)}
}

// rolloutLines are standings as JSON, an object a line.
type rolloutLines struct{ out term.Stream }

func (l rolloutLines) changed(s standing) error { return printLine(l.out, s) }
func (rolloutLines) live([]standing)            {}

// rolloutText are standings as a pipe gets them.
type rolloutText struct{ out term.Stream }

func (l rolloutText) changed(s standing) error {
	line := s.plain()
	if s.Ended {
		line = s.result(l.out.Ink)
	}
	_, err := fmt.Fprintln(l.out, line)
	return err
}

func (rolloutText) live([]standing) {}

// rolloutScreen are standings as a terminal sees them: what has ended stays, what is under way is drawn anew in place.
type rolloutScreen struct {
	out   term.Stream
	block *term.Live
	stay  []string
}

func (s *rolloutScreen) changed(st standing) error {
	if st.Ended {
		s.stay = append(s.stay, lined(st.result(s.out.Ink), s.out.Columns())...)
	}
	return nil
}

func (s *rolloutScreen) live(all []standing) {
	var lines []string
	for i, st := range all {
		if i > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, st.block(s.out, time.Now())...)
	}
	s.block.Draw(s.stay, lines)
	s.stay = nil
}
