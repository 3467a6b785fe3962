package acme_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
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

// A keeper starts the program that it is part of: here, this one, which looks after its certificates more often than imx does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == front.Word {
		os.Exit(front.Main(context.Background(), os.Args[2:], os.Stderr, func(dir *os.Root) front.Authority { return acme.Open(dir, 500*time.Millisecond) }))
	}
	os.Exit(m.Run())
}

// freePort returns one that nobody has just now.
func freePort(t *testing.T) int {
	t.Helper()
	l, port := listen(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return port
}

// open starts a keeper on a log of its own that has a release of service shop, behind an ingress with ACME.
func open(t *testing.T, in imx.Ingress) {
	t.Helper()
	dir, err := os.MkdirTemp("", "imx") // a test's own has its name in it, and a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	events, _, err := eventlog.Open(eventlog.Config{Dir: filepath.Join(dir, "log"), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = events.Close() })
	c, err := control.Open(control.Config{Log: events, Now: time.Now, Network: netip.MustParsePrefix("10.0.0.0/24"), Version: "test", NewID: func() string { return "a1" }})
	if err != nil {
		t.Fatal(err)
	}
	at := instance(t)
	began := imx.Instance{ID: "shop-1-a", Service: "shop", Release: 1, Phase: imx.Starting, Address: at.Addr()}
	healthy := began
	healthy.Phase = imx.Healthy
	r := imx.Release{Service: "shop", Number: 1, Address: netip.MustParseAddr("10.0.0.1"), Apply: "a1", Spec: imx.Spec{
		Name: "shop", Replicas: 1, Routes: []imx.Route{{Host: host, Ingress: in.Name, Port: "http"}}, Ports: []imx.Port{{Name: "http", Container: int(at.Port())}},
	}}
	if err := c.Record(imx.Server, imx.ApplyStarted{Apply: "a1"}, imx.Applied{Apply: "a1", Releases: []imx.Release{r}, Ingresses: []imx.Ingress{in}},
		imx.InstanceStarted{Instance: began}, imx.InstanceChanged{Instance: healthy},
		imx.TrafficMoved{Service: "shop", Weights: imx.Weights{1: 100}}, imx.RolloutFinished{Service: "shop", Release: 1}); err != nil {
		t.Fatal(err)
	}
	keep(t, c, keeper.Place{Dir: filepath.Join(dir, "ingress"), ID: fmt.Sprintf("%06x", os.Getpid()&0xffffff)})
}

// keep runs a keeper until the test's end.
func keep(t *testing.T, c *control.Control, place keeper.Place) {
	t.Helper()
	k := keeper.New(keeper.Config{Control: c, Place: place, Version: "test", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, place.Purge(context.Background())); err != nil {
			t.Error(err)
		}
	})
}

// instance answers requests, and the kind that stays open by what it is sent.
func instance(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.9:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "shop") })}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return netip.MustParseAddrPort(l.Addr().String())
}

// visitor asks again and again, over one connection that stays and over new ones, until it is told to end; whoever vouches for the
// certificates, they have to be the host's and to be in force.
type visitor struct {
	port       int
	sent, lost atomic.Int64
	last       atomic.Value
	serials    sync.Map
}

func (v *visitor) client() *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			c, err := x509.ParseCertificate(raw[0])
			if err != nil {
				return err
			}
			if now := time.Now(); now.After(c.NotAfter) {
				return fmt.Errorf("the certificate ended at %s", c.NotAfter)
			}
			v.serials.Store(c.SerialNumber.Text(16), true)
			return c.VerifyHostname(host)
		}},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(v.port))
		},
	}}
}

func (v *visitor) ask(c *http.Client) {
	v.sent.Add(1)
	resp, err := c.Get("https://" + host + ":" + strconv.Itoa(v.port) + "/")
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		err = errors.Join(err, resp.Body.Close())
		if resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d", resp.StatusCode)
		}
	}
	if err != nil {
		v.lost.Add(1)
		v.last.Store(err.Error())
	}
}

// visit asks until done is closed.
func (v *visitor) visit(done <-chan struct{}) {
	stays, tick := v.client(), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			v.ask(stays)
			c := v.client()
			v.ask(c)
			c.CloseIdleConnections()
		}
	}
}

func (v *visitor) seen() (n int) {
	v.serials.Range(func(any, any) bool { n++; return true })
	return n
}

// The process that answers from outside, confined as it is, gets its own certificate by questions that come to its own ports, and another
// before that ends; who is connected, and who connects, notices nothing.
func TestTheIngressGetsItsCertificateThroughItsOwnPortsAndRenewsItWithoutALostRequest(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root starts a front")
	}
	for name, plain := range map[string]bool{"http-01": true, "tls-alpn-01": false} {
		t.Run(name, func(t *testing.T) {
			httpPort, httpsPort := freePort(t), freePort(t)
			directory, roots := pebble(t, httpPort, httpsPort, 24)
			in := imx.Ingress{Name: "public", HTTPS: httpsPort, ACME: &imx.ACME{Email: "ops@shop.example", Directory: directory, Roots: roots}}
			if plain {
				in.HTTP = httpPort
			}
			open(t, in)
			v := &visitor{port: httpsPort}
			until(t, "there is a certificate", func() bool { return shown(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: httpsPort}) != "" })
			done := make(chan struct{})
			var visiting sync.WaitGroup
			visiting.Go(func() { v.visit(done) })
			until(t, "it was renewed twice", func() bool { return v.seen() >= 3 })
			close(done)
			visiting.Wait()
			if lost := v.lost.Load(); lost > 0 {
				t.Errorf("%d of %d requests were lost, the last: %v", lost, v.sent.Load(), v.last.Load())
			}
			t.Logf("%d requests, %d certificates", v.sent.Load(), v.seen())
		})
	}
}
