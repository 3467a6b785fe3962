package healthcheck_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/healthcheck"
)

func ask(t *testing.T, h imx.Health, at netip.AddrPort, limit time.Duration) string {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errors.New("no answer in time"))
	defer cancel()
	err := healthcheck.Ask(ctx, h, []imx.Port{{Name: "p", Container: int(at.Port())}}, at.Addr())
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), fmt.Sprint(at.Port()), "N")
}

// served is a program that reads a request and answers it with these bytes.
func served(t *testing.T, answer string) netip.AddrPort {
	t.Helper()
	l := listening(t)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1<<10))
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}()
	return where(l)
}

func where(l net.Listener) netip.AddrPort { return netip.MustParseAddrPort(l.Addr().String()) }

func listening(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestWhatAnInstanceAnswersToAGETIsRead(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
	for name, c := range map[string]struct{ answer, want string }{
		"good":                           {head + "ok", ""},
		"good, after one that announces": {"HTTP/1.1 103 Early Hints\r\n\r\n" + head + "ok", ""},
		"good, with a body to its end":   {"HTTP/1.0 204 Empty\r\n\r\n", ""},
		"not good":                       {"HTTP/1.1 503 Busy\r\n\r\n", "GET /well?so=1 on port N: 503 Busy"},
		"nothing":                        {"", "GET /well?so=1 on port N: the connection was closed without an answer"},
		"a part of a body":               {head + "o", "GET /well?so=1 on port N: the connection was closed without an answer"},
		"something else":                 {"220 mail\r\n\r\n", `GET /well?so=1 on port N: malformed HTTP status code "mail"`},
	} {
		h := imx.Health{HTTP: &imx.HTTPCheck{Port: "p", Path: "/well?so=1"}}
		if got := ask(t, h, served(t, c.answer), time.Minute); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A kept connection would take a worker of a server that has few, and wouldn't tell whether a new one is taken.
func TestEachCheckIsOneRequestOnAConnectionOfItsOwn(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]string{}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked[r.RemoteAddr] = fmt.Sprint(r.Method, " ", r.RequestURI, " ", r.UserAgent(), " ", r.Close, " ", r.Host)
	}))
	defer s.Close()
	at := netip.MustParseAddrPort(s.Listener.Addr().String())
	for range 3 {
		if got := ask(t, imx.Health{HTTP: &imx.HTTPCheck{Port: "p", Path: "/a%20b?c"}}, at, time.Minute); got != "" {
			t.Fatal(got)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(asked) != 3 {
		t.Errorf("3 checks came over %d connections", len(asked))
	}
	for _, got := range asked {
		if want := "GET /a%20b?c imx-health true " + at.String(); got != want {
			t.Errorf("it was asked %q, want %q", got, want)
		}
	}
}

func TestWhoTakesNoConnectionOrGivesNoAnswerIsNamed(t *testing.T) {
	gone := listening(t)
	nobody := where(gone)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	silent := where(listening(t)) // the kernel takes connections for it
	full := filled(t)
	byHTTP := imx.Health{HTTP: &imx.HTTPCheck{Port: "p", Path: "/"}}
	byTCP := imx.Health{TCP: &imx.TCPCheck{Port: "p"}}
	for name, c := range map[string]struct {
		health imx.Health
		at     netip.AddrPort
		want   string
	}{
		"nobody listens, by HTTP":       {byHTTP, nobody, "GET / on port N: connection refused"},
		"nobody listens, by TCP":        {byTCP, nobody, "connecting to port N: connection refused"},
		"it listens and says nothing":   {byHTTP, silent, "GET / on port N: no answer in time"},
		"it listens, which is enough":   {byTCP, silent, ""},
		"it accepts no more, by HTTP":   {byHTTP, full, "GET / on port N: no answer in time"},
		"it accepts no more, by TCP":    {byTCP, full, "connecting to port N: no answer in time"},
		"an address that none can have": {byTCP, netip.MustParseAddrPort("[::1]:1"), "connecting to port N: address family not supported by protocol"},
	} {
		if got := ask(t, c.health, c.at, 200*time.Millisecond); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// filled is an address whose program accepts nothing, and has as many connections waiting as the kernel keeps for it.
func filled(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	own, ok := name.(*unix.SockaddrInet4)
	if !ok {
		t.Fatalf("it listens at a %T", name)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4(own.Addr), uint16(own.Port))
	conn, err := net.Dial("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return at
}
