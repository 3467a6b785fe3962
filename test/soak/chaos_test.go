package soak_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imx"
)

// chaos does harm at random moments, and notes to whom.
type chaos struct {
	server *server
	random *rand.Rand
	deaths map[netip.Addr]death
	done   map[string]int // how often each kind of harm was done
	away   []span         // when no server ran
	round  int
	orders sync.WaitGroup // what people order meanwhile: one thing at a time
	busy   chan struct{}
}

// death is what was done to an instance, and when.
type death struct {
	id, how string
	at      time.Time
}

type span struct{ from, to time.Time }

func newChaos(s *server, r *rand.Rand) *chaos {
	return &chaos{server: s, random: r, deaths: map[netip.Addr]death{}, done: map[string]int{}, busy: make(chan struct{}, 1)}
}

// harm is one thing that is done, as often as its weight says.
type harm struct {
	name   string
	weight int
	do     func(t *testing.T) bool // false: not now
}

func (c *chaos) harms() []harm {
	signal := func(how string, sig unix.Signal) func(*testing.T) bool {
		return func(*testing.T) bool { return c.hit(how, func(r running) int { return r.Pid }, sig) }
	}
	return []harm{
		{"instance killed", 5, signal("killed", unix.SIGKILL)},
		{"instance hung", 2, signal("hung", unix.SIGSTOP)},
		{"conmon killed", 3, func(*testing.T) bool {
			return c.hit("conmon killed", func(r running) int { return r.monitor }, unix.SIGKILL)
		}},
		{"server killed", 4, func(t *testing.T) bool { t.Helper(); c.killServer(t, func() {}); return true }},
		{"server killed, and an instance while there is none", 2, func(t *testing.T) bool {
			t.Helper()
			c.killServer(t, func() {
				c.pause(300 * time.Millisecond)
				c.hit("killed without a server", func(r running) int { return r.Pid }, unix.SIGKILL)
			})
			return true
		}},
		{"release", 2, func(t *testing.T) bool {
			t.Helper()
			c.round++
			if err := c.server.write(c.round); err != nil {
				t.Fatal(err)
			}
			return c.order(t, "apply", "--yes", "--skip-tests", "the same program as before", c.server.template)
		}},
		{"rollback", 1, func(t *testing.T) bool { t.Helper(); return c.order(t, "rollback", service) }},
		{"scale", 1, func(t *testing.T) bool {
			t.Helper()
			return c.order(t, "scale", fmt.Sprintf("%s=%d", service, replicas-1+c.random.IntN(3)))
		}},
	}
}

// run does harm until a time, and then has the service as large as it was.
func (c *chaos) run(t *testing.T, until time.Time) {
	t.Helper()
	all := c.harms()
	for time.Now().Before(until) {
		c.pause(2 * time.Second)
		c.server.measure()
		n := c.random.IntN(20)
		for _, h := range all {
			if n -= h.weight; n < 0 {
				if h.do(t) {
					c.done[h.name]++
				}
				break
			}
		}
	}
	c.orders.Wait()
	if out, err := c.server.imx(t.Context(), "scale", fmt.Sprintf("%s=%d", service, replicas)); err != nil {
		t.Errorf("scaling: %v\n%s", err, out)
	}
}

// pause lets a random time pass.
func (c *chaos) pause(most time.Duration) { time.Sleep(time.Duration(c.random.Int64N(int64(most)))) }

// hit sends a signal to a process of a healthy instance, if enough others are left that answer.
func (c *chaos) hit(how string, pid func(running) int, sig unix.Signal) bool {
	var list []running
	for _, r := range c.server.running() {
		if _, hurt := c.deaths[r.Address]; r.Phase == imx.Healthy && !hurt {
			list = append(list, r)
		}
	}
	const left = 2
	if len(list) <= left {
		return false
	}
	slices.SortFunc(list, func(a, b running) int { return cmp.Compare(a.ID, b.ID) })
	r := list[c.random.IntN(len(list))]
	if beside := slices.DeleteFunc(list, func(o running) bool { return o.Release != r.Release }); len(beside) <= left {
		return false // it may be those of its release alone that have the traffic
	}
	c.deaths[r.Address] = death{r.ID, how, time.Now()}
	return unix.Kill(pid(r), sig) == nil
}

// killServer ends the server at once, and starts it again.
func (c *chaos) killServer(t *testing.T, meanwhile func()) {
	t.Helper()
	from := time.Now()
	c.server.end(unix.SIGKILL)
	meanwhile()
	if err := c.server.start(); err != nil {
		t.Fatal(err)
	}
	c.away = append(c.away, span{from, time.Now()})
}

// order gives a command that may fail: the server may die under it. It is false while another is under way.
func (c *chaos) order(t *testing.T, args ...string) bool {
	t.Helper()
	select {
	case c.busy <- struct{}{}:
	default:
		return false
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	c.orders.Go(func() {
		defer func() { cancel(); <-c.busy }()
		_, _ = c.server.imx(ctx, args...)
	})
	return true
}

// report says what was lost and why, and fails the test for what nothing explains.
func (c *chaos) report(t *testing.T, l *load) {
	t.Helper()
	why := map[string]int{}
	for _, x := range l.lost {
		why[c.explain(t, x)]++
	}
	for _, what := range keys(c.done) {
		t.Logf("%4d times: %s", c.done[what], what)
	}
	t.Logf("%d requests sent, %d lost", l.sent.Load(), len(l.lost))
	for _, what := range keys(why) {
		t.Logf("%4d lost: %s", why[what], what)
	}
	s := c.server
	t.Logf("the server took %d MiB and %d files at most; its %d starts %s each at the median, %s at most",
		s.most.memory>>20, s.most.files, len(s.ups), median(s.ups).Round(time.Millisecond), slices.Max(s.ups).Round(time.Millisecond))
	if l.sent.Load() < perSecond {
		t.Errorf("only %d requests were sent", l.sent.Load())
	}
}

// replaced is how long one that hangs is there at most: until its checks have told, it was drained, and didn't heed its stop signal.
const replaced = 15 * time.Second

// soon is how long an instance that has ended may get new connections where a server runs.
const soon = time.Second

// explain says why a request was lost: whose it was, and what had become of that one.
func (c *chaos) explain(t *testing.T, x loss) string {
	t.Helper()
	d, hurt := c.deaths[x.had]
	if !x.had.IsValid() { // the kernel forgets at once who refused, and doesn't always show who reset
		d, hurt = c.nearest(x)
	}
	switch {
	case !hurt || d.at.After(x.ended):
		t.Errorf("nothing explains that a request of %s was lost at %s (%s later), which %s had: %v",
			x.began.Format(clock), x.ended.Format(clock), x.ended.Sub(x.began), c.name(x.had), x.err)
		return "for no reason that is known"
	case x.began.Before(d.at):
		return "under way on an instance that was " + d.how
	case c.unwatched(x.began):
		return "given to an instance that was " + d.how + ", while no server could notice"
	case d.how == "hung":
		return "given to an instance that was hung, before its checks told"
	case x.began.Sub(d.at) > soon:
		t.Errorf("%s after %s was %s it was still given a request: %v", x.began.Sub(d.at), d.id, d.how, x.err)
	}
	return "given to an instance that was " + d.how + ", before that was noticed"
}

const clock = "15:04:05.000"

// unwatched reports whether no server ran at a time, or one just came.
func (c *chaos) unwatched(at time.Time) bool {
	return slices.ContainsFunc(c.away, func(s span) bool { return at.After(s.from) && at.Before(s.to.Add(soon/2)) })
}

// nearest is the death that explains a loss of which isn't known who had it: the one just before, or before a time without a server.
func (c *chaos) nearest(x loss) (last death, found bool) {
	for _, d := range c.deaths {
		if d.at.After(x.ended) || d.at.Before(last.at) {
			continue
		}
		if d.how == "hung" { // what it had is reset when it is ended, which the kernel doesn't show later
			if errors.Is(x.err, unix.ECONNRESET) && x.ended.Sub(d.at) < replaced {
				last, found = d, true
			}
			continue
		}
		if x.ended.Sub(d.at) < soon || c.unwatched(x.began) && (c.unwatched(d.at) || c.unwatched(d.at.Add(soon/2))) {
			last, found = d, true
		}
	}
	return last, found
}

func (c *chaos) name(a netip.Addr) string {
	if !a.IsValid() {
		return "nobody"
	}
	return a.String()
}

func median(list []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}
