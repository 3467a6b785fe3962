package keeper_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"imx"
	"imx/internal/control"
	"imx/internal/eventlog"
	"imx/internal/ingress/acme"
	"imx/internal/ingress/front"
	"imx/internal/ingress/keeper"
)

// A keeper starts the program that it is part of: here, this one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == front.Word {
		os.Exit(front.Main(context.Background(), os.Args[2:], os.Stderr, func(dir *os.Root) front.Authority { return acme.Open(dir, 0) }))
	}
	if len(os.Args) == 4 && os.Args[1] == bareWord {
		os.Exit(bare(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

// world is a log, a keeper on it that can be ended and begun anew, and instances on addresses of the loopback interface.
type world struct {
	*control.Control

	t       testing.TB
	place   keeper.Place
	keeper  *keeper.Keeper
	end     func()
	dir     string
	ingress imx.Ingress
	port    int // of all instances
	servers map[string]*instance
	pool    *x509.CertPool
	applies int
}

type instance struct {
	imx.Instance

	server *http.Server
	asked  atomic.Int64
}

// newWorld begins a world, with changes made before its keeper.
func newWorld(tb testing.TB, changes ...func(*world)) *world {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("only root starts a front")
	}
	dir, err := os.MkdirTemp("", "imx") //nolint:usetesting // a test's own has its name in it, and a socket's path is short
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	w := &world{t: tb, dir: dir, servers: map[string]*instance{}, pool: x509.NewCertPool()}
	log, _, err := eventlog.Open(eventlog.Config{Dir: filepath.Join(w.dir, "log"), Now: time.Now})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = log.Close() })
	w.Control, err = control.Open(control.Config{Log: log, Now: time.Now, Network: netip.MustParsePrefix("10.0.0.0/24"), Version: "test", NewID: func() string {
		w.applies++
		return fmt.Sprint("apply", w.applies)
	}})
	if err != nil {
		tb.Fatal(err)
	}
	w.place = keeper.Place{Dir: filepath.Join(w.dir, "ingress"), ID: fmt.Sprintf("%06x", os.Getpid()&0xffffff)}
	w.port = freePort(tb)
	w.ingress = imx.Ingress{Name: "public", HTTP: freePort(tb), HTTPS: freePort(tb)}
	w.ingress.Certificates = []imx.CertificateFiles{{Host: "shop.example", Certificate: filepath.Join(w.dir, "c.pem"), Key: filepath.Join(w.dir, "c.key")}}
	w.certify(1)
	for _, change := range changes {
		change(w)
	}
	w.begin()
	tb.Cleanup(func() {
		w.end()
		if err := w.place.Purge(context.Background()); err != nil {
			tb.Error(err)
		}
		if left, err := w.place.Traces(); err != nil || len(left) > 0 {
			tb.Errorf("%v, %v", left, err)
		}
	})
	return w
}

// freePort returns one that nobody has just now.
func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	at, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	return int(at.Port())
}

// begin starts a keeper, as a server does.
func (w *world) begin() {
	w.t.Helper()
	w.keeper = keeper.New(keeper.Config{Control: w.Control, Place: w.place, Version: "test", Log: slog.New(slog.NewTextHandler(w.t.Output(), nil))})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	k := w.keeper
	go func() { ended <- k.Run(ctx) }()
	w.end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
}

// certify writes a certificate with a serial number.
func (w *world) certify(serial int64) {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	like := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"shop.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, like, like, key.Public(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	w.pool.AppendCertsFromPEM(chain)
	files := w.ingress.Certificates[0]
	if err := errors.Join(os.WriteFile(files.Certificate, chain, 0o600), os.WriteFile(files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600)); err != nil {
		w.t.Fatal(err)
	}
}

// release makes a release of service shop with routes and so many instances, gives it the traffic, and ends the others.
func (w *world) release(instances int, routes ...imx.Route) {
	w.t.Helper()
	for i := range routes {
		routes[i].Ingress, routes[i].Port = "public", "http"
	}
	number := len(w.State().Services["shop"].Releases) + 1
	r := imx.Release{Service: "shop", Number: number, Address: netip.MustParseAddr("10.0.0.1"), Apply: fmt.Sprint("a", number), Spec: imx.Spec{
		Name: "shop", Replicas: instances, Routes: routes, Ports: []imx.Port{{Name: "http", Container: w.port}},
	}}
	w.record(imx.ApplyStarted{Apply: r.Apply}, imx.Applied{Apply: r.Apply, Releases: []imx.Release{r}, Ingresses: []imx.Ingress{w.ingress}})
	for i := range instances {
		w.start(number, i)
	}
	w.record(imx.TrafficMoved{Service: "shop", Weights: imx.Weights{number: 100}}, imx.RolloutFinished{Service: "shop", Release: number})
}

func (w *world) record(bodies ...imx.Body) {
	w.t.Helper()
	if err := w.Record(imx.Server, bodies...); err != nil {
		w.t.Fatal(err)
	}
}

// start starts an instance that says its name, what it was asked, and echoes what is upgraded.
func (w *world) start(release, i int) {
	w.t.Helper()
	in := &instance{Instance: imx.Instance{
		ID: fmt.Sprintf("shop-%d-%d", release, i), Service: "shop", Release: release, Phase: imx.Healthy,
		Address: netip.AddrFrom4([4]byte{127, 0, byte(10 + release), byte(1 + i)}),
	}}
	l, err := net.Listen("tcp", netip.AddrPortFrom(in.Address, uint16(w.port)).String())
	if err != nil {
		w.t.Fatal(err)
	}
	in.server = &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		in.asked.Add(1)
		if r.Header.Get("Upgrade") != "" {
			echo(rw)
			return
		}
		body, _ := io.ReadAll(r.Body)
		rw.Header().Set("Forwarded-To", fmt.Sprint(r.Header["X-Forwarded-For"], r.Header["X-Forwarded-Proto"], r.Header["X-Forwarded-Host"], r.Header["X-Real-Ip"], r.Header["Forwarded"]))
		fmt.Fprintf(rw, "%s %s %s %d", in.ID, r.Host, r.URL.EscapedPath(), len(body))
	})}
	go func() { _ = in.server.Serve(l) }()
	w.t.Cleanup(func() { _ = in.server.Close() })
	w.servers[in.ID] = in
	began := in.Instance
	began.Phase = imx.Starting
	w.record(imx.InstanceStarted{Instance: began}, imx.InstanceChanged{Instance: in.Instance})
}

func echo(rw http.ResponseWriter) {
	conn, buffered, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	_, _ = io.Copy(conn, buffered)
}

// client reaches the ingress as everybody outside does; whatever the name, it is this machine.
func (w *world) client() *http.Client {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: w.pool}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+port)
		},
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (w *world) url(path string) string {
	return "https://shop.example:" + strconv.Itoa(w.ingress.HTTPS) + path
}

// get returns a status and a body.
func (w *world) get(c *http.Client, url string) (int, string) {
	w.t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(bytes.TrimSpace(body))
}

// patience is for a machine that has much else to do.
const patience = 40 * time.Second

// until waits for a condition.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(end) {
			w.t.Fatalf("it never came to this: %s; %+v", what, w.keeper.Views(w.State()))
		}
	}
}

// serves waits until a request is answered with a body that begins so.
func (w *world) serves(c *http.Client, url, begins string) {
	w.t.Helper()
	w.until(url+" is answered with "+begins, func() bool {
		status, body := w.get(c, url)
		return status == http.StatusOK && len(body) >= len(begins) && body[:len(begins)] == begins
	})
}

// under sends requests from several clients, over kept and new connections, while f runs, and returns how many there were. None may fail.
func (w *world) under(path string, f func()) int64 {
	w.t.Helper()
	var sent, lost atomic.Int64
	var last atomic.Value
	done := make(chan struct{})
	var sending sync.WaitGroup
	for i := range 4 {
		c := w.client()
		sending.Go(func() {
			defer c.CloseIdleConnections()
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				if i%2 == 1 && n%8 == 0 {
					c.CloseIdleConnections()
				}
				sent.Add(1)
				if status, body := w.get(c, w.url(path)); status != http.StatusOK {
					lost.Add(1)
					last.Store(fmt.Sprint(status, " ", body))
				}
			}
		})
	}
	f()
	close(done)
	sending.Wait()
	if n := lost.Load(); n > 0 {
		w.t.Errorf("%d of %d requests were lost, the last with %v", n, sent.Load(), last.Load())
	}
	return sent.Load()
}

// more waits until the load has sent so many requests more.
func (w *world) more(n int64) {
	w.t.Helper()
	asked := func() (sum int64) {
		for _, in := range w.servers {
			sum += in.asked.Load()
		}
		return sum
	}
	from := asked()
	w.until(fmt.Sprint(n, " more requests"), func() bool { return asked() >= from+n })
}

// process is the front's number.
func (w *world) process() int {
	views := w.keeper.Views(w.State())
	if len(views) == 0 {
		return 0
	}
	return views[0].Process.Pid
}
