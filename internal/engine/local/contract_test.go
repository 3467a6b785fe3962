// That instances on a real machine keep the engines' common contract: real processes, real network
// namespaces, real rules. Needs root, conmon and crun.

package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/engine"
	"imx/internal/engine/enginetest"
	"imx/internal/engine/local"
)

func TestTheLocalEngineKeepsTheContract(t *testing.T) {
	enginetest.Suite(t, func(t *testing.T) enginetest.World {
		m := newMachine(t)
		return enginetest.World{
			Engine: m.open(t),
			Release: func(service string, number int, f enginetest.Fate) imx.Release {
				r := m.release(service, number)
				switch f {
				case enginetest.Well:
				case enginetest.Sickly:
					r.Spec.Environment["SICK"] = "1"
				case enginetest.Crashy:
					r.Spec.Environment["CRASH"] = "3"
				}
				return r
			},
			Restart: func(t *testing.T) engine.Engine { t.Helper(); return m.open(t) },
			Sicken:  m.sicken,
			Heal:    func(t *testing.T, id string) { t.Helper(); m.signal(t, id, unix.SIGCONT); m.tell(t, id, "/heal") },
			Crash: func(t *testing.T, id string, code int) {
				t.Helper()
				m.tell(t, id, "/exit?code="+strconv.Itoa(code))
				m.awaitGone(t, id)
			},
			Send: func(t *testing.T, service string, n int) map[string]int {
				t.Helper()
				return m.send(t, m.ports[m.services[service]], n)
			},
			Preview: func(t *testing.T, _ string, n int) map[string]int {
				t.Helper()
				return m.send(t, m.ports[previewPort], n)
			},
			PreviewPort: int(m.ports[previewPort]),
			Hold:        m.hold,
		}
	})
}

func (m *machine) open(tb testing.TB) *local.Engine {
	tb.Helper()
	e, err := local.Open(tb.Context(), m.cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// release makes a release of the test's image whose service is published on a port of its own.
func (m *machine) release(service string, number int) imx.Release {
	if m.services == nil {
		m.services = map[string]int{}
	}
	if _, known := m.services[service]; !known {
		m.services[service] = len(m.services)
	}
	index := m.services[service]
	b := m.cfg.Network.Addr().As4()
	b[3] = byte(index + 1)
	return imx.Release{
		Service: service, Number: number, Image: m.image, Address: netip.AddrFrom4(b),
		Config: imx.ImageSpec{User: "app", Command: []string{"/bin/app"}},
		Spec: imx.Spec{
			Name: service, Environment: map[string]string{"PORT": "80"},
			Ports:  []imx.Port{{Name: "http", Container: 80, Publish: int(m.ports[index])}},
			Health: imx.Health{Every: imx.Duration(100 * time.Millisecond), Timeout: imx.Duration(5 * time.Second), Failures: 2, HTTP: &imx.HTTPCheck{Port: "http", Path: "/healthz"}},
			Grace:  imx.Duration(10 * time.Second),
		},
	}
}

// instance asks a fresh look at the disk where an instance is: the engine's answer may be older.
func (m *machine) instance(tb testing.TB, id string) imx.Instance {
	tb.Helper()
	var r struct{ Instance imx.Instance }
	readJSON(tb, m.cfg.Dir+"/instances/"+id+"/instance.json", &r)
	return r.Instance
}

// ask sends a request to one instance, past all routes.
func (m *machine) ask(t *testing.T, id, path string) (string, error) {
	t.Helper()
	return get(t.Context(), fmt.Sprintf("http://%s:80%s", m.instance(t, id).Address, path))
}

// tell asks for something that the instance may not live to answer.
func (m *machine) tell(t *testing.T, id, path string) {
	t.Helper()
	if _, err := m.ask(t, id, path); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		t.Fatal(err)
	}
}

// sicken makes an instance say that it isn't well, or one that is frozen, and can't be told, not answer when it goes on.
func (m *machine) sicken(t *testing.T, id string) {
	t.Helper()
	if m.instance(t, id).Phase == imx.Warm {
		m.signal(t, id, unix.SIGSTOP)
		return
	}
	m.tell(t, id, "/sick")
}

func (m *machine) signal(t *testing.T, id string, s unix.Signal) {
	t.Helper()
	if err := unix.Kill(m.instance(t, id).Pid, s); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) awaitGone(t *testing.T, id string) {
	t.Helper()
	pid := m.instance(t, id).Pid
	await(t, "process of "+id+" is gone", func() bool { return pid == 0 || unix.Kill(pid, 0) != nil })
}

// previewPort is the index of the port that no service of a test publishes.
const previewPort = 3

// send asks who is behind a published port n times, on this machine's loopback address.
func (m *machine) send(t *testing.T, port uint16, n int) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for range n {
		id, err := get(t.Context(), fmt.Sprintf("http://127.0.0.1:%d/id", port))
		if err != nil {
			id = ""
		}
		counts[id]++
	}
	return counts
}

// hold keeps a connection to the service's published port.
func (m *machine) hold(t *testing.T, service string) (id string, use func() error, end func()) {
	t.Helper()
	transport := &http.Transport{DialContext: (&net.Dialer{KeepAlive: -1}).DialContext}
	client := http.Client{Transport: transport}
	ask := func() (string, error) {
		return getWith(t.Context(), &client, fmt.Sprintf("http://127.0.0.1:%d/id", m.ports[m.services[service]]))
	}
	id, err := ask()
	if err != nil {
		t.Fatal(err)
	}
	use = func() error {
		got, err := ask()
		if err == nil && got != id {
			err = fmt.Errorf("the connection to %s was lost; another led to %s", id, got)
		}
		return err
	}
	t.Cleanup(transport.CloseIdleConnections)
	return id, use, transport.CloseIdleConnections
}

func get(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return getWith(ctx, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, address)
}

func getWith(ctx context.Context, client *http.Client, address string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func query(values map[string]string) string {
	q := url.Values{}
	for k, v := range values {
		q.Set(k, v)
	}
	return "?" + q.Encode()
}

// await waits for something that nobody announces.
func await(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	patience := time.After(30 * time.Second)
	for !cond() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-patience:
			tb.Fatalf("waited in vain until the %s", what)
		}
	}
}
