package keeper_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"imx"
)

// asleep makes a release of service shop that sleeps, whose requests wait for a time at most, and a door at which connections wake it. What knocks is
// counted.
func (w *world) asleep(wait time.Duration) (knocks *atomic.Int64) {
	w.t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.9.1"), uint16(w.port)).String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() })
	knocks = &atomic.Int64{}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			knocks.Add(1)
			_ = conn.Close()
		}
	}()
	route := imx.Route{Host: "shop.example", Ingress: "public", Port: "http", Timeout: imx.Duration(wait)}
	r := imx.Release{Service: "shop", Number: 1, Address: netip.MustParseAddr("127.0.9.1"), Apply: "a1", Spec: imx.Spec{
		Name: "shop", Replicas: 1, Routes: []imx.Route{route}, Ports: []imx.Port{{Name: "http", Container: w.port}},
		Scale: &imx.Scaling{Max: 1, Idle: imx.Duration(time.Minute)},
	}}
	w.record(imx.ApplyStarted{Apply: r.Apply}, imx.Applied{Apply: r.Apply, Releases: []imx.Release{r}, Ingresses: []imx.Ingress{w.ingress}},
		imx.TrafficMoved{Service: "shop", Weights: imx.Weights{1: 100}}, imx.RolloutFinished{Service: "shop", Release: 1}, imx.Scaled{Service: "shop"})
	w.until("the process listens", func() bool { v := w.keeper.Views(w.State()); return len(v) == 1 && len(v[0].Listening) == 2 })
	return knocks
}

// waiting is how many requests wait.
func (w *world) waiting() int { return w.keeper.Views(w.State())[0].Process.Waiting }

// ask sends so many requests at once and returns their answers, as status and body, when all are there.
func (w *world) ask(n int) func() []string {
	answers := make([]string, n)
	var asking sync.WaitGroup
	for i := range n {
		c := w.client()
		asking.Go(func() {
			status, body := w.get(c, w.url("/"))
			answers[i] = fmt.Sprint(status, " ", body)
		})
	}
	return func() []string { asking.Wait(); return answers }
}

func TestRequestsToAServiceThatSleepsWakeItAndWait(t *testing.T) {
	w := newWorld(t)
	knocks := w.asleep(patience)
	answers := w.ask(20)
	w.until("all wait", func() bool { return w.waiting() == 20 })
	w.until("somebody knocked", func() bool { return knocks.Load() > 0 })
	w.record(imx.Scaled{Service: "shop", Replicas: 1, Reason: "a connection came"})
	w.start(1, 0)
	for _, got := range answers() {
		if !strings.HasPrefix(got, "200 shop-1-0 ") {
			t.Errorf("%s", got)
		}
	}
	if n := knocks.Load(); n > 2 {
		t.Errorf("%d connections were made to wake it", n)
	}
	w.until("nobody waits", func() bool { return w.waiting() == 0 })
	w.until("the requests count as use of the service", func() bool { return w.keeper.Asked()["shop"] == 20 })
}

func TestRequestsThatWaitAreAnsweredAlsoWhileAnotherProcessTakesOver(t *testing.T) {
	w := newWorld(t)
	w.asleep(patience)
	pid := w.process()
	answers := w.ask(3)
	w.until("all wait", func() bool { return w.waiting() == 3 })
	w.keeper.Restart()
	w.record(imx.Scaled{Service: "shop", Replicas: 1, Reason: "a connection came"})
	w.start(1, 0)
	for _, got := range answers() {
		if !strings.HasPrefix(got, "200 shop-1-0 ") {
			t.Errorf("%s", got)
		}
	}
	w.until("another process answers", func() bool { now := w.process(); return now != 0 && now != pid })
}

func TestAServiceThatDoesNotWakeIsSaidToBeAsleepAndTheLogHasTheReason(t *testing.T) {
	w := newWorld(t)
	w.asleep(5 * time.Second)
	answers := w.ask(1)
	w.until("it waits", func() bool { return w.waiting() == 1 })
	w.record(imx.Scaled{Service: "shop", Replicas: 1, Reason: "a connection came"})
	in := imx.Instance{ID: "shop-1-a", Service: "shop", Release: 1, Phase: imx.Starting, Address: netip.MustParseAddr("127.0.11.9")}
	ended := in
	ended.Phase, ended.Reason, ended.Ended, ended.Exit = imx.Ended, "exit status 7", time.Now().Add(time.Second), &imx.Exit{Code: 7}
	w.record(imx.InstanceStarted{Instance: in}, imx.InstanceEnded{Instance: ended})
	if got := answers()[0]; got != "503 the service sleeps, and didn't wake" {
		t.Errorf("%s", got)
	}
	w.logged("the service sleeps, and didn't wake: shop-1-a ended: exit status 7")

	// One that nothing is heard of has so long as its route says, and no longer. What failed before the service slept is no fault any more.
	w.record(imx.Scaled{Service: "shop"})
	w.until("nothing is at fault", func() bool { return w.patient(5 * time.Second) })
	w.logged("the service sleeps, and didn't wake: no instance was healthy within 5s")
}

// patient reports whether a request is answered with 503, after it waited for that long.
func (w *world) patient(wait time.Duration) bool {
	began := time.Now()
	resp, err := w.client().Get(w.url("/"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "" && time.Since(began) >= wait
}

// logged waits until the access log has a line with a fault.
func (w *world) logged(fault string) {
	w.t.Helper()
	w.until("the access log has "+fault, func() bool {
		log, err := w.place.AccessLog(w.t.Context(), imx.LogOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		defer log.Close()
		var line imx.AccessLine
		for d := json.NewDecoder(log); d.Decode(&line) == nil; {
			if line.Fault == fault && line.Status == http.StatusServiceUnavailable {
				return true
			}
		}
		return false
	})
}

// How many may wait, whatever their size, is TestOnlySoManyRequestsWait in package front.
func TestRequestsWaitOnlyAsLongAsThereIsRoomForWhatTheySend(t *testing.T) {
	w := newWorld(t)
	w.asleep(patience)
	const room = 15 // in 16 MiB, of a MiB and a header each
	c := w.client()
	var full, other atomic.Int64
	var asking sync.WaitGroup
	for range room + 4 {
		asking.Go(func() {
			resp, err := c.Post(w.url("/"), "text/plain", bytes.NewReader(make([]byte, 1<<20)))
			if err != nil {
				other.Add(1)
				w.t.Log(err)
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			switch {
			case resp.StatusCode == http.StatusServiceUnavailable && strings.HasPrefix(string(body), "too many requests wait for services that sleep"):
				full.Add(1)
			case !strings.HasPrefix(string(body), "shop-1-0"):
				other.Add(1)
				w.t.Log(resp.Status, string(body), err)
			}
		})
	}
	w.until("those that are too many have their answer, and the others wait", func() bool { return full.Load() == 4 && w.waiting() == room })
	w.record(imx.Scaled{Service: "shop", Replicas: 1, Reason: "a connection came"})
	w.start(1, 0)
	asking.Wait()
	if full.Load() != 4 || other.Load() > 0 {
		t.Errorf("%d were too many, %d had another answer", full.Load(), other.Load())
	}
}

func TestWhatAPersonSetToNothingIsNotWoken(t *testing.T) {
	w := newWorld(t)
	w.release(1, imx.Route{Host: "shop.example"})
	c := w.client()
	w.serves(c, w.url("/"), "shop-1-0")
	w.record(imx.Scaled{Service: "shop"})
	in := w.servers["shop-1-0"].Instance
	in.Phase = imx.Stopping
	w.record(imx.InstanceChanged{Instance: in})
	w.until("503 at once", func() bool { _, body := w.get(c, w.url("/")); return body == "no instance takes requests" })
}
