package measure_test

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/measure"
)

// world is a service with instances that are real servers on this machine, each on a loopback address of its own, and the same port.
type world struct {
	tb      testing.TB
	now     time.Time
	state   *imx.State
	port    int
	apps    map[string]*app
	counter *measure.Counter
	told    atomic.Int64
}

// app is an instance's program.
type app struct {
	requests, errors atomic.Int64
	said             atomic.Value // in place of its metrics
	server           *httptest.Server
}

func (a *app) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if said, is := a.said.Load().(func(http.ResponseWriter)); is && said != nil {
		said(w)
		return
	}
	fmt.Fprintf(w, "requests_total{code=\"200\"} %d\n", a.requests.Load()-a.errors.Load())
	if a.errors.Load() > 0 { // a series is there once there is something to count
		fmt.Fprintf(w, "requests_total{code=\"500\"} %d\n", a.errors.Load())
	}
}

func (a *app) answer(requests, errors int64) {
	a.requests.Add(requests)
	a.errors.Add(errors)
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	address, is := free.Addr().(*net.TCPAddr)
	if !is {
		tb.Fatalf("listening at %v", free.Addr())
	}
	port := address.Port
	_ = free.Close()
	w := &world{tb: tb, now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), port: port, apps: map[string]*app{}}
	w.state = &imx.State{Services: map[string]imx.Service{}, Instances: map[string]imx.Instance{}}
	m := rule()
	spec := imx.Spec{
		Name: "web", Ports: []imx.Port{{Name: "http", Container: port}}, Health: imx.Health{HTTP: &imx.HTTPCheck{Port: "http", Path: "/"}},
		Deploy: &imx.Deploy{Strategy: imx.Canary, Steps: []imx.Step{{Share: 50}}, Window: imx.Duration(time.Hour), Judge: &m},
	}
	release := func(n int) imx.Release {
		return imx.Release{Service: "web", Number: n, Spec: spec, State: imx.ReleaseGood}
	}
	w.state.Services["web"] = imx.Service{
		Name: "web", Address: netip.MustParseAddr("127.0.0.1"), Replicas: 1, CurrentReplicas: 1, Current: 1, Target: 2,
		Releases: []imx.Release{release(1), release(2)}, Routes: imx.Weights{1: 50, 2: 50}, Rollout: imx.Rollout{Since: w.now},
	}
	w.restart()
	return w
}

// restart is a server that starts anew.
func (w *world) restart() {
	w.counter = measure.New(measure.Config{
		State: func() *imx.State { return w.state }, Changed: func() <-chan struct{} { return nil },
		Counted: func() { w.told.Add(1) }, Now: func() time.Time { return w.now },
	})
}

// start adds an instance.
func (w *world) start(id string, release int) *app {
	w.tb.Helper()
	address := netip.AddrFrom4([4]byte{127, 0, 0, byte(len(w.apps) + 1)})
	l, err := net.Listen("tcp4", netip.AddrPortFrom(address, uint16(w.port)).String())
	if err != nil {
		w.tb.Fatal(err)
	}
	a := &app{}
	a.server = &httptest.Server{Listener: l, Config: &http.Server{Handler: a}}
	a.server.Start()
	w.tb.Cleanup(a.server.Close)
	w.apps[id] = a
	w.state.Instances[id] = imx.Instance{ID: id, Service: "web", Release: release, Address: address, Phase: imx.Healthy, Started: w.now}
	return a
}

func (w *world) end(id string) {
	in := w.state.Instances[id]
	in.Phase = imx.Ended
	w.state.Instances[id] = in
	w.apps[id].server.Close()
}

func (w *world) change(f func(v *imx.Service)) {
	v := w.state.Services["web"]
	f(&v)
	w.state.Services["web"] = v
}

// round lets time pass and reads.
func (w *world) round() map[int]imx.Counted {
	w.now = w.now.Add(measure.Every)
	w.counter.Round(w.tb.Context())
	return w.counter.Counted(w.state.Services["web"])
}

// expect compares requests and errors by release.
func (w *world) expect(got map[int]imx.Counted, want map[int][2]float64) {
	w.tb.Helper()
	is := map[int][2]float64{}
	for n, c := range got {
		is[n] = [2]float64{c.Requests, c.Errors}
	}
	if diff := cmp.Diff(want, is); diff != "" {
		w.tb.Errorf("counted (-want +got):\n%s", diff)
	}
}

func TestWhatIsAnsweredSinceTheStepIsCountedByRelease(t *testing.T) {
	w := newWorld(t)
	w.now = w.now.Add(-time.Hour)
	old := w.start("a", 1)
	old.answer(5000, 50)
	w.now = w.now.Add(time.Hour)
	fresh := w.start("b", 2)
	w.expect(w.round(), map[int][2]float64{1: {0, 0}, 2: {0, 0}})
	old.answer(100, 1)
	fresh.answer(20, 10)
	w.expect(w.round(), map[int][2]float64{1: {100, 1}, 2: {20, 10}})
	second := w.start("c", 2) // it appears: all that it ever answered is of this step
	second.answer(3, 0)
	w.end("b") // it ends: what it answered stays counted
	w.expect(w.round(), map[int][2]float64{1: {100, 1}, 2: {23, 10}})
	w.change(func(v *imx.Service) { v.Rollout = imx.Rollout{Step: 1, Since: w.now} })
	if got := w.counter.Counted(w.state.Services["web"]); got != nil {
		t.Errorf("at once after another step began there is %v", got)
	}
	second.answer(4, 1)
	w.expect(w.round(), map[int][2]float64{1: {0, 0}, 2: {4, 1}})
	if w.told.Load() == 0 {
		t.Error("nobody was told")
	}
}

func TestACounterThatBeginsAnewGoesOn(t *testing.T) {
	w := newWorld(t)
	old, fresh := w.start("a", 1), w.start("b", 2)
	old.answer(10, 0)
	fresh.answer(100, 0)
	w.round()
	fresh.requests.Store(30)
	w.expect(w.round(), map[int][2]float64{1: {10, 0}, 2: {130, 0}})
}

func TestAServerThatStartsAnewCountsBothFromThenOn(t *testing.T) {
	w := newWorld(t)
	old, fresh := w.start("a", 1), w.start("b", 2)
	old.answer(1000, 50)
	fresh.answer(100, 5)
	w.round()
	w.restart()
	w.expect(w.round(), map[int][2]float64{1: {0, 0}, 2: {0, 0}})
	old.answer(10, 0)
	fresh.answer(7, 1)
	w.expect(w.round(), map[int][2]float64{1: {10, 0}, 2: {7, 1}})
}

func TestNothingIsCountedUntilBothCanBeRead(t *testing.T) {
	w := newWorld(t)
	old, fresh := w.start("a", 1), w.start("b", 2)
	old.said.Store(func(rw http.ResponseWriter) { rw.WriteHeader(http.StatusNotFound) })
	old.answer(1000, 50)
	fresh.answer(100, 5)
	got := w.round()
	w.expect(got, map[int][2]float64{1: {0, 0}, 2: {0, 0}})
	if want := fmt.Sprintf("a: GET /metrics on port %d: 404 Not Found", w.port); got[1].Missing != want || got[2].Missing != "" {
		t.Errorf("missing are %q and %q, want %q of the first", got[1].Missing, got[2].Missing, want)
	}
	old.said.Store((func(http.ResponseWriter))(nil))
	w.round()
	old.answer(10, 0)
	fresh.answer(7, 1)
	w.expect(w.round(), map[int][2]float64{1: {10, 0}, 2: {7, 1}})
}

func TestWhyMetricsCantBeReadIsToldInWords(t *testing.T) {
	w := newWorld(t)
	w.start("a", 1)
	fresh := w.start("b", 2)
	for want, said := range map[string]func(http.ResponseWriter){
		"b: GET /metrics on port %d: it answers more than 4 MiB":                  func(rw http.ResponseWriter) { _, _ = rw.Write([]byte(strings.Repeat("# x\n", 2<<20))) },
		"b: GET /metrics on port %d: 302 Found":                                   func(rw http.ResponseWriter) { rw.Header().Set("Location", "/"); rw.WriteHeader(http.StatusFound) },
		"b: what it answers isn't Prometheus' text format":                        func(rw http.ResponseWriter) { _, _ = rw.Write([]byte("<html>")) },
		"none of its series is requests_total":                                    func(rw http.ResponseWriter) { _, _ = rw.Write([]byte("other 1\n")) },
		"b: GET /metrics on port %d: the connection was closed without an answer": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		if strings.Contains(want, "%d") {
			want = fmt.Sprintf(want, w.port)
		}
		fresh.said.Store(said)
		if got := w.round()[2].Missing; !strings.HasPrefix(got, want) {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
	w.change(func(v *imx.Service) {
		v.Releases[1].Spec.Ports = nil
	})
	if got := w.round()[2].Missing; got != `b: release 2 has no port "http"` {
		t.Errorf("without the port it says %q", got)
	}
}

func TestOfAServiceThatHasFinishedAllThatIsKnownOfTheReleaseBeforeIsTold(t *testing.T) {
	w := newWorld(t)
	w.now = w.now.Add(-time.Hour)
	old := w.start("a", 1)
	old.answer(5000, 50)
	w.now = w.now.Add(time.Hour)
	fresh := w.start("b", 2)
	fresh.answer(9, 9)
	w.round()
	w.change(func(v *imx.Service) { v.Current, v.Finished, v.Rollout = 2, w.now, imx.Rollout{} })
	w.end("a")
	fresh.answer(20, 2)
	w.expect(w.round(), map[int][2]float64{1: {5000, 50}, 2: {20, 2}})
	w.now = w.now.Add(time.Hour) // the window is over
	if got := w.round(); got != nil {
		t.Errorf("after its window there is %v", got)
	}
	w.now = w.now.Add(-time.Hour)
	w.restart() // a new server doesn't know the one before
	w.expect(w.round(), map[int][2]float64{2: {0, 0}})
}

func TestProbesAreCountedWhileBothHaveTraffic(t *testing.T) {
	w := newWorld(t)
	old := w.start("a", 1)
	w.start("b", 2)
	w.round()
	for range 4 {
		w.counter.Probe(t.Context()) // the service's address is the first instance's
	}
	old.said.Store(func(rw http.ResponseWriter) { rw.WriteHeader(http.StatusBadGateway) })
	w.counter.Probe(t.Context())
	c := w.counter.Counted(w.state.Services["web"])[2]
	if want := fmt.Sprintf("GET / on port %d: 502 Bad Gateway", w.port); c.Probed != 5 || c.Missed != 1 || c.Miss != want {
		t.Errorf("counted %+v", c)
	}
	w.change(func(v *imx.Service) { v.Routes = imx.Weights{1: 100} })
	w.round()
	w.counter.Probe(t.Context())
	if c := w.counter.Counted(w.state.Services["web"])[2]; c.Probed != 5 {
		t.Errorf("without traffic to the new one, there are %d probes", c.Probed)
	}
}

// Whatever happens to instances and to the server, no more is counted of a release than it answered, and errors only that were.
func TestNoMoreIsCountedThanWasAnswered(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		answered := map[int][2]float64{}
		w.start("i0", 1)
		w.start("i1", 2)
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			id := rapid.SampledFrom(slices.Sorted(maps.Keys(w.apps))).Draw(rt, "instance")
			in := w.state.Instances[id]
			switch rapid.SampledFrom([]string{"answer", "answer", "answer", "start", "end", "restart", "sick", "well"}).Draw(rt, "what") {
			case "answer":
				n, bad := rapid.Int64Range(0, 50).Draw(rt, "n"), rapid.Int64Range(0, 1).Draw(rt, "bad")
				if in.Phase == imx.Ended {
					continue
				}
				w.apps[id].answer(n+bad, bad)
				sum := answered[in.Release]
				answered[in.Release] = [2]float64{sum[0] + float64(n+bad), sum[1] + float64(bad)}
			case "start":
				if len(w.apps) < 6 {
					w.start(fmt.Sprint("i", len(w.apps)), rapid.IntRange(1, 2).Draw(rt, "release"))
				}
			case "end":
				w.end(id)
			case "restart":
				w.restart()
			case "sick":
				w.apps[id].said.Store(func(rw http.ResponseWriter) { rw.WriteHeader(http.StatusTeapot) })
			case "well":
				w.apps[id].said.Store((func(http.ResponseWriter))(nil))
			}
			for n, c := range w.round() {
				if c.Requests > answered[n][0] || c.Errors > answered[n][1] || c.Errors > c.Requests {
					rt.Fatalf("release %d answered %v, counted is %+v", n, answered[n], c)
				}
			}
		}
		for _, a := range w.apps {
			a.server.Close()
		}
	})
}
