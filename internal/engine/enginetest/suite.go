// Package enginetest is what every engine must do, as a test suite that each implementation runs.
// It knows no engine's inside: what differs between them (how an instance is made to fall ill,
// how a request is sent) is in World.
package enginetest

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"imx"
	"imx/internal/admission"
	"imx/internal/engine"
)

// World is one engine without instances, and the means to see to its instances' fates.
type World struct {
	Engine engine.Engine
	// Release makes a release of a service that can run here: one port "http", published where
	// Port says, checked every few moments. Its instances say "hello" at their start.
	Release func(service string, number int, f Fate) imx.Release
	// Restart returns another engine over the same instances, as after the server's death. The one
	// before isn't used any more.
	Restart func(t *testing.T) engine.Engine
	// Sicken makes an instance fail its checks, a warm one once it is thawed; Heal makes it pass them again.
	Sicken, Heal func(t *testing.T, id string)
	// Crash ends an instance's process with an exit code, in a way that the engine didn't ask for.
	Crash func(t *testing.T, id string, code int)
	// Send opens n new connections to the port that the service publishes and counts which instance
	// answered each; those that none did are counted under "".
	Send func(t *testing.T, service string, n int) map[string]int
	// Preview is Send to the machine's port PreviewPort, which no service publishes.
	Preview     func(t *testing.T, service string, n int) map[string]int
	PreviewPort int
	// Hold opens a connection to the port that the service publishes and keeps it open until end is
	// called; id is the instance at its other end. Using it is an error once that has gone.
	Hold func(t *testing.T, service string) (id string, use func() error, end func())
	// Pass lets a little time pass, where the engine's clock is the test's. It may be nil.
	Pass func()
}

// Fate is what becomes of a release's instances.
type Fate int

// The fates.
const (
	Well   Fate = iota // gets healthy
	Sickly             // never passes a check
	Crashy             // ends by itself with code 3
)

// Suite runs every test of the contract, each in a new World.
func Suite(t *testing.T, world func(t *testing.T) World) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(s *session)
	}{
		{"scale starts what is missing and nothing more", scaleStarts},
		{"scale stops unhealthy instances first, then the newest", scaleStops},
		{"nothing starts without a pass, or with another release's", passNeeded},
		{"an instance that passes its check is healthy", getsHealthy},
		{"an instance that never passes stays starting and says why", neverHealthy},
		{"a crash is seen with its exit code", crashSeen},
		{"a stopped instance ends and isn't counted any more", stopEnds},
		{"an instance that is to stop finishes its connections first", drains},
		{"an instance drains no longer than its time", drainEnds},
		{"after the server's death an instance goes on draining", drainAdopted},
		{"an unhealthy instance doesn't drain", unhealthyDoesntDrain},
		{"the holder of a volume doesn't drain", holderDoesntDrain},
		{"an instance that never was healthy is stopped at once", unreadyDoesntDrain},
		{"without a route a service has no traffic", noRoute},
		{"traffic is shared by weight", weights},
		{"a new route takes the place of the one before", routeReplaced},
		{"an unhealthy instance loses its traffic and gets it back", unhealthyLosesTraffic},
		{"the last instance keeps its traffic even if unhealthy", lastKeepsTraffic},
		{"a port that another service publishes is refused", portTaken},
		{"after the server's death everything is as it was", adopted},
		{"after the server's death what ended meanwhile is seen", endedMeanwhile},
		{"a canary's one percent is one percent", onePercent},
		{"a preview leads to its release alone", previewLeads},
		{"a preview without a release refuses", previewRefuses},
		{"a preview's port is taken for others", previewTaken},
		{"a kept release is frozen and goes on when it is thawed", keptFrozen},
		{"a warm instance has no traffic", warmWithoutTraffic},
		{"an instance finishes its connections before it is frozen", freezesWhenIdle},
		{"a connection that outlasts its time doesn't keep an instance from being frozen", freezesInTime},
		{"only so many instances are frozen, and healthy ones", keepsSoMany},
		{"a release with traffic can't be kept aside", keepRefused},
		{"traffic that comes back keeps an instance from being frozen", keepGivenUp},
		{"a thawed instance that isn't well is starting", thawedSick},
		{"an instance that falls ill before it is frozen isn't kept", illBeforeFrozen},
		{"nothing is thawed without a pass", thawNeedsPass},
		{"a warm instance can be stopped", warmStops},
		{"a release that holds a volume is kept without instances", volumeNotFrozen},
		{"a release that is kept stopped has no instances", keptStopped},
		{"a scale to 0 ends warm instances and lets the release go", scaledToNothing},
		{"after the server's death a warm instance is warm", warmAdopted},
		{"what instances use is measured, and new connections are counted", loadMeasured},
		{"a service that may sleep comes to no instance and back", sleeps},
		{"logs outlive their instance", logsKept},
		{"a service with instances can't be removed", removeRefused},
		{"remove leaves nothing", removeLeavesNothing},
		{"what isn't there is not found", unknownThings},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := world(t)
			s := &session{T: t, World: w}
			s.run()
			c.test(s)
		})
	}
}

// session is a test with an engine that runs.
type session struct {
	*testing.T
	World

	changed chan struct{}
	stop    func()
}

func (s *session) run() {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	s.changed = make(chan struct{}, 1)
	done := make(chan error, 1)
	poke := func() {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
	go func() { done <- s.Engine.Run(ctx, poke) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			s.Errorf("Run ended with %v", err)
		}
	})
	s.Cleanup(s.stop)
}

// restart is the server's death and its next start.
func (s *session) restart(meanwhile func()) {
	s.Helper()
	s.stop()
	meanwhile()
	s.Engine = s.Restart(s.T)
	s.run()
}

func (s *session) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *session) refused(err error, kind imx.Kind, words ...string) {
	s.Helper()
	if imx.KindOf(err) != kind {
		s.Fatalf("got the error %v, want one of kind %s", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			s.Errorf("the error %q doesn't name %q", err, w)
		}
	}
}

func (s *session) scale(r imx.Release, n int) {
	s.Helper()
	s.must(s.Engine.Scale(s.Context(), admission.ForTrial(r), r, n))
}

func (s *session) route(w imx.Weights, rs ...imx.Release) {
	s.Helper()
	s.must(s.Engine.Route(s.Context(), engine.Route{Service: rs[0].Service, Releases: rs, Weights: w}))
}

func (s *session) observe() imx.Seen {
	s.Helper()
	seen, err := s.Engine.Observe(s.Context())
	s.must(err)
	return seen
}

// until waits for a state of the engine and returns it.
func (s *session) until(what string, cond func(imx.Seen) bool) imx.Seen {
	s.Helper()
	patience := time.After(30 * time.Second)
	for {
		seen := s.observe()
		if cond(seen) {
			return seen
		}
		if s.Pass != nil {
			s.Pass()
		}
		select {
		case <-s.changed:
		case <-time.After(50 * time.Millisecond): // some conditions are about more than Observe
		case <-patience:
			s.Fatalf("waited in vain until %s; the engine has %+v", what, seen)
		}
	}
}

// untilAll waits until exactly n instances of the release are in the phase.
func (s *session) untilAll(r imx.Release, n int, p imx.Phase) []imx.Instance {
	s.Helper()
	var found []imx.Instance
	s.until(string(p), func(seen imx.Seen) bool {
		found = of(seen, r, p)
		return len(found) == n
	})
	return found
}

// healthy starts n instances of the release and waits for their health.
func (s *session) healthy(r imx.Release, n int) []imx.Instance {
	s.Helper()
	s.scale(r, n)
	return s.untilAll(r, n, imx.Healthy)
}

// find returns an instance as it is now.
func (s *session) find(id string) imx.Instance {
	s.Helper()
	for _, x := range s.observe().Instances {
		if x.ID == id {
			return x
		}
	}
	s.Fatalf("instance %s isn't there any more", id)
	return imx.Instance{}
}

func (s *session) logs(id string, o imx.LogOptions) string {
	s.Helper()
	r, err := s.Engine.Logs(s.Context(), id, o)
	s.must(err)
	text, err := io.ReadAll(r)
	s.must(errors.Join(err, r.Close()))
	return string(text)
}

// of returns the release's instances that are in one of the phases, all if none is given.
func of(seen imx.Seen, r imx.Release, phases ...imx.Phase) []imx.Instance {
	var found []imx.Instance
	for _, x := range seen.Instances {
		if x.Service == r.Service && x.Release == r.Number && (len(phases) == 0 || slices.Contains(phases, x.Phase)) {
			found = append(found, x)
		}
	}
	return found
}

func ids(instances []imx.Instance) []string {
	var list []string
	for _, x := range instances {
		list = append(list, x.ID)
	}
	return list
}

// total sums up what Send counted for instances of a release.
func total(counts map[string]int, instances []imx.Instance) int {
	n := 0
	for _, x := range instances {
		n += counts[x.ID]
	}
	return n
}
