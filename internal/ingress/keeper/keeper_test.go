package keeper_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"imx"
)

func TestRequestsComeToServicesByHostAndPath(t *testing.T) {
	w := newWorld(t)
	w.release(1, imx.Route{Host: "shop.example"}, imx.Route{Host: "shop.example", Path: "/api/", Strip: true}, imx.Route{Host: "*.shop.example", Path: "/only"})
	c := w.client()
	w.serves(c, w.url("/"), "shop-1-0")
	for path, want := range map[string]string{
		"/a%2fb/c?q": "200 shop-1-0 shop.example:PORT /a%2fb/c 0", "/api/v1/x": "200 shop-1-0 shop.example:PORT /v1/x 0", "/api": "200 shop-1-0 shop.example:PORT / 0",
		"/x/%2e%2e/y": "400 the path isn't one that can be routed", "/a/..%2fb": "400 the path isn't one that can be routed",
	} {
		status, body := w.get(c, w.url(path))
		if got := fmt.Sprint(status, " ", strings.ReplaceAll(body, strconv.Itoa(w.ingress.HTTPS), "PORT")); got != want {
			t.Errorf("%s: %s, not %s", path, got, want)
		}
	}
	resp, err := c.Get("http://shop.example:" + strconv.Itoa(w.ingress.HTTP) + "/x?y=z")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if at := resp.Header.Get("Location"); resp.StatusCode != http.StatusPermanentRedirect || at != w.url("/x?y=z") {
		t.Errorf("%d to %s", resp.StatusCode, at)
	}
	if status, _ := w.get(c, "http://stranger.example:"+strconv.Itoa(w.ingress.HTTP)+"/"); status != http.StatusNotFound {
		t.Errorf("a name that nobody routes is answered with %d", status)
	}
}

func TestWhoAsksIsToldToServicesAndNotBelievedFromOutside(t *testing.T) {
	w := newWorld(t)
	w.release(1, imx.Route{Host: "shop.example", HSTS: imx.Duration(time.Hour)})
	c := w.client()
	w.serves(c, w.url("/"), "shop-1-0")
	req, _ := http.NewRequest(http.MethodGet, w.url("/"), nil)
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Forwarded"} {
		req.Header.Set(name, "liar")
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	want := "[127.0.0.1] [https] [shop.example:" + strconv.Itoa(w.ingress.HTTPS) + "] [] []"
	if got := resp.Header.Get("Forwarded-To"); got != want || resp.ProtoMajor != 2 || resp.Header.Get("Strict-Transport-Security") != "max-age=3600" {
		t.Errorf("%s by HTTP/%d, %v", got, resp.ProtoMajor, resp.Header)
	}
}

func TestAnInstanceThatDiesLosesNoRequestThatCanBeRepeated(t *testing.T) {
	w := newWorld(t)
	w.release(3, imx.Route{Host: "shop.example"})
	w.serves(w.client(), w.url("/"), "shop-1-")
	w.under("/", func() {
		w.more(50)
		_ = w.servers["shop-1-1"].server.Close()
		w.more(100)
	})
	// Of what has a body nothing had reached the dead one.
	c := w.client()
	for range 20 {
		resp, err := c.Post(w.url("/"), "text/plain", strings.NewReader("12345"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.HasSuffix(string(body), " 5") {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
	}
}

func TestWithoutAnInstanceTheAnswerIsToComeAgain(t *testing.T) {
	w := newWorld(t)
	w.release(1, imx.Route{Host: "shop.example"})
	c := w.client()
	w.serves(c, w.url("/"), "shop-1-0")
	in := w.servers["shop-1-0"].Instance
	in.Phase = imx.Stopping
	w.record(imx.InstanceChanged{Instance: in})
	w.until("503", func() bool { status, _ := w.get(c, w.url("/")); return status == http.StatusServiceUnavailable })
	w.until("nobody is held to send it requests", func() bool { return len(w.keeper.Open()) == 0 })
}

func TestClientsHaveLimits(t *testing.T) {
	w := newWorld(t)
	w.ingress.Limits = imx.IngressLimits{PerClient: 6, HeaderTimeout: imx.Duration(300 * time.Millisecond)}
	w.release(1, imx.Route{Host: "shop.example", Body: 10}, imx.Route{Host: "shop.example", Path: "/rare", Rate: 2})
	c := w.client()
	w.serves(c, w.url("/"), "shop-1-0")
	for body, want := range map[string]int{"0123456789": http.StatusOK, "0123456789a": http.StatusRequestEntityTooLarge} {
		for _, length := range []int64{int64(len(body)), -1} {
			req, _ := http.NewRequest(http.MethodPost, w.url("/"), io.NopCloser(strings.NewReader(body)))
			req.ContentLength = length
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%d bytes, announced as %d: %d", len(body), length, resp.StatusCode)
			}
		}
	}
	many := 0
	for range 10 {
		if status, _ := w.get(c, w.url("/rare")); status == http.StatusTooManyRequests {
			many++
		}
	}
	if many < 5 {
		t.Errorf("%d of 10 requests were too many", many)
	}
	slow, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(w.ingress.HTTP))
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	_, _ = io.WriteString(slow, "GET / HTTP/1.1\r\nHost: ")
	_ = slow.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, slow); err != nil {
		t.Errorf("a header that never ends keeps its connection: %v", err)
	}
	w.tooMany()
}

// tooMany opens connections until one is closed at once.
func (w *world) tooMany() {
	w.t.Helper()
	for range 20 {
		conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(w.ingress.HTTP))
		if err != nil {
			w.t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if n, _ := conn.Read(make([]byte, 1)); n == 0 {
			return
		}
	}
	w.t.Error("one client has any number of connections")
}

func TestACertificateAndRoutesChangeWithoutALostRequest(t *testing.T) {
	w := newWorld(t)
	w.release(2, imx.Route{Host: "shop.example"})
	w.serves(w.client(), w.url("/"), "shop-1-")
	serial := func() string {
		conn, err := tls.Dial("tcp", "127.0.0.1:"+strconv.Itoa(w.ingress.HTTPS), &tls.Config{ServerName: "shop.example", InsecureSkipVerify: true})
		if err != nil {
			return err.Error()
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	sent := w.under("/", func() {
		w.more(50)
		w.certify(2)
		w.until("the new certificate is shown", func() bool { return serial() == "2" })
		w.release(2, imx.Route{Host: "shop.example"}, imx.Route{Host: "shop.example", Path: "/new"})
		w.serves(w.client(), w.url("/new"), "shop-2-")
		for i := range 10 {
			w.ingress.Limits.Idle = imx.Duration(time.Minute + time.Duration(i)*time.Second) // another server on the same socket, each time
			w.release(1, imx.Route{Host: "shop.example"}, imx.Route{Host: "shop.example", Path: fmt.Sprint("/", i)})
		}
		w.serves(w.client(), w.url("/9"), "shop-12-")
		w.more(50)
	})
	t.Logf("%d requests", sent)
}

func TestFilesThatDoNotFitLeaveTheCertificateOfBefore(t *testing.T) {
	w := newWorld(t)
	w.release(1, imx.Route{Host: "shop.example"})
	c := w.client()
	w.serves(c, w.url("/"), "shop-1-0")
	if err := os.WriteFile(w.ingress.Certificates[0].Key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.until("the fault is shown", func() bool {
		v := w.keeper.Views(w.State())[0]
		return len(v.Certificates) == 1 && v.Certificates[0].Fault != "" && v.Certificates[0].Serial == "1"
	})
	c.CloseIdleConnections()
	w.serves(c, w.url("/"), "shop-1-0")
}

func TestTheServersEndIsNoneOfTheIngress(t *testing.T) {
	w := newWorld(t)
	w.release(2, imx.Route{Host: "shop.example"})
	w.serves(w.client(), w.url("/"), "shop-1-")
	pid := w.process()
	w.under("/", func() {
		w.end()
		w.more(50)
		w.begin()
		w.release(2, imx.Route{Host: "shop.example"})
		w.serves(w.client(), w.url("/"), "shop-2-")
	})
	if now := w.process(); now != pid {
		t.Errorf("process %d answers, and %d did before", now, pid)
	}
}

func TestAProcessThatIsKilledIsReplacedAndItsSocketsWait(t *testing.T) {
	w := newWorld(t)
	w.release(1, imx.Route{Host: "shop.example"})
	c := w.client()
	w.serves(c, w.url("/"), "shop-1-0")
	pid := w.process()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.CloseIdleConnections()
	if status, body := w.get(c, w.url("/")); status != http.StatusOK {
		t.Errorf("a new connection isn't answered: %d %s", status, body)
	}
	if now := w.process(); now == pid {
		t.Error("the same process answers")
	}
}

func TestAnotherProcessTakesOverWithoutADroppedConnection(t *testing.T) {
	w := newWorld(t)
	w.release(2, imx.Route{Host: "shop.example"})
	w.serves(w.client(), w.url("/"), "shop-1-")
	pid := w.process()
	conn := w.upgraded()
	w.under("/", func() {
		w.more(50)
		w.keeper.Restart()
		w.until("another process answers", func() bool { now := w.process(); return now != 0 && now != pid })
		w.more(200)
	})
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("the old process is gone, and has a connection: %v", err)
	}
	w.says(conn)
	_ = conn.Close()
	w.until("the old process ends with its last connection", func() bool {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

// upgraded is a connection that an instance echoes.
func (w *world) upgraded() *tls.Conn {
	w.t.Helper()
	conn, err := tls.Dial("tcp", "127.0.0.1:"+strconv.Itoa(w.ingress.HTTPS), &tls.Config{ServerName: "shop.example", RootCAs: w.pool, NextProtos: []string{"http/1.1"}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil {
		defer resp.Body.Close() // what was upgraded has none
	}
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		w.t.Fatalf("%+v, %v", resp, err)
	}
	w.says(conn)
	return conn
}

func (w *world) says(conn net.Conn) {
	w.t.Helper()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(conn, "hello\n")
	got := make([]byte, 6)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello\n" {
		w.t.Errorf("%q, %v", got, err)
	}
}

func TestARollbackBringsItsRouteBack(t *testing.T) {
	w := newWorld(t)
	w.release(1, imx.Route{Host: "shop.example", Path: "/old"})
	c := w.client()
	w.serves(c, w.url("/old"), "shop-1-0")
	w.release(1, imx.Route{Host: "shop.example", Path: "/new"})
	w.serves(c, w.url("/new"), "shop-2-0")
	if status, _ := w.get(c, w.url("/old")); status != http.StatusNotFound {
		t.Errorf("the old route answers %d", status)
	}
	w.record(imx.RolledBack{Service: "shop", From: 2, To: 1}, imx.TrafficMoved{Service: "shop", Weights: imx.Weights{1: 1}}, imx.RolloutFinished{Service: "shop", Release: 1})
	w.serves(c, w.url("/old"), "shop-1-0")
	w.until("the new route is gone", func() bool { status, _ := w.get(c, w.url("/new")); return status == http.StatusNotFound })
}

func TestACanaryHasItsShareAndItsCounts(t *testing.T) {
	w := newWorld(t)
	w.release(2, imx.Route{Host: "shop.example"})
	c := w.client()
	w.serves(c, w.url("/"), "shop-1-")
	r := w.State().Services["shop"].Releases[0]
	r.Number, r.Apply = 2, "a2"
	w.record(imx.ApplyStarted{Apply: "a2"}, imx.Applied{Apply: "a2", Releases: []imx.Release{r}})
	w.start(2, 0)
	w.record(imx.TrafficMoved{Service: "shop", Weights: imx.Weights{1: 75, 2: 25}})
	w.serves(c, w.url("/"), "shop-2-0")
	before := w.servers["shop-2-0"].asked.Load()
	for range 400 {
		w.get(c, w.url("/"))
	}
	if got := w.servers["shop-2-0"].asked.Load() - before; got < 60 || got > 145 {
		t.Errorf("it has %d of 400 requests", got)
	}
	counts := w.keeper.Views(w.State())[0].Routes[0].Counts
	if len(counts) != 2 || counts[1].Release != 2 || counts[1].Requests != w.servers["shop-2-0"].asked.Load() || counts[1].Errors != 0 || counts[1].Seconds <= 0 {
		t.Errorf("%+v", counts)
	}
}

func TestEachRequestHasALineInTheAccessLog(t *testing.T) {
	w := newWorld(t)
	w.release(1, imx.Route{Host: "shop.example"})
	c := w.client()
	w.serves(c, w.url("/"), "shop-1-0")
	w.get(c, w.url("/seen?secret=1"))
	var line imx.AccessLine
	w.until("the line is there", func() bool {
		log, err := w.place.AccessLog(t.Context(), imx.LogOptions{Tail: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		return json.NewDecoder(log).Decode(&line) == nil && line.Path == "/seen"
	})
	if line.Client != "127.0.0.1" || line.Status != 200 || line.TLS != "TLS 1.3" || line.Protocol != "HTTP/2.0" || line.Target != (imx.Target{Service: "shop", Release: 1, Instance: "shop-1-0"}) || line.Bytes == 0 || line.Seconds <= 0 {
		t.Errorf("%+v", line)
	}
}

func TestTheProcessHasNoRights(t *testing.T) {
	w := newWorld(t)
	w.release(1, imx.Route{Host: "shop.example"})
	w.serves(w.client(), w.url("/"), "shop-1-0")
	status, err := os.ReadFile("/proc/" + strconv.Itoa(w.process()) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nCapEff:\t0000000000000000\n", "\nCapBnd:\t0000000000000000\n", "\nNoNewPrivs:\t1\n", "\nSeccomp:\t2\n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("%q isn't in\n%s", want, status)
		}
	}
	if strings.Contains(string(status), "\nUid:\t0\t") {
		t.Errorf("it is root:\n%s", status)
	}
}

func TestAPortThatSomebodyElseHasIsAFaultUntilItIsFree(t *testing.T) {
	w := newWorld(t)
	taken, err := net.Listen("tcp", ":"+strconv.Itoa(w.ingress.HTTPS))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.keeper.Free(t.Context(), w.ingress); imx.KindOf(err) != imx.Conflict {
		t.Errorf("%v", err)
	}
	w.release(1, imx.Route{Host: "shop.example"})
	w.until("the fault is shown", func() bool {
		v := w.keeper.Views(w.State())
		return len(v) == 1 && strings.Contains(fmt.Sprint(v[0].Faults), "can't listen on port")
	})
	_ = taken.Close()
	w.serves(w.client(), w.url("/"), "shop-1-0")
	w.until("the fault is over", func() bool { return len(w.keeper.Views(w.State())[0].Faults) == 0 })
}

func TestTheLastIngressEndsTheProcess(t *testing.T) {
	w := newWorld(t)
	w.release(1, imx.Route{Host: "shop.example"})
	c := w.client()
	w.serves(c, w.url("/"), "shop-1-0")
	if w.keeper.Open()[netip.MustParseAddr("127.0.11.1")] == 0 {
		t.Errorf("nobody sends the instance requests: %v", w.keeper.Open())
	}
	c.CloseIdleConnections()
	pid := w.process()
	w.record(imx.Destroyed{Service: "shop"})
	if err := w.RemoveIngress(imx.Server, "public"); err != nil {
		t.Fatal(err)
	}
	w.until("the process ends", func() bool { return syscall.Kill(pid, 0) != nil })
	w.until("nothing is left", func() bool { left, err := w.place.Traces(); return err == nil && len(left) == 0 })
	if err := w.keeper.Free(t.Context(), w.ingress); err != nil {
		t.Error(err)
	}
}
