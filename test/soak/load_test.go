package soak_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

const (
	workers   = 8
	perSecond = 200
	mostSent  = 500_000 // an end, whatever happens
	patience  = 10 * time.Second
)

// load sends requests to the service's published port on this machine's loopback address. Half of its workers open a connection for
// each request, half keep theirs, and ask again on another where an idle one was closed under them, as every client of HTTP has to.
type load struct {
	target string
	sent   atomic.Int64

	mu   sync.Mutex
	lost []loss
}

// loss is a request that wasn't answered, and the address of the instance that had it; the zero one where none did.
type loss struct {
	began, ended time.Time
	had          netip.Addr
	err          error
}

func newLoad(port int) *load { return &load{target: fmt.Sprintf("127.0.0.1:%d", port)} }

// begin sends until halt is called, which returns once every request has ended.
func (l *load) begin(ctx context.Context) (halt func()) {
	ctx, cancel := context.WithCancel(ctx)
	limit := rate.NewLimiter(perSecond, workers)
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			w := newWorker(l, &http.Transport{DisableKeepAlives: i%2 == 0, MaxConnsPerHost: 1})
			defer w.client.CloseIdleConnections()
			for limit.Wait(ctx) == nil && l.sent.Add(1) <= mostSent {
				w.request(context.WithoutCancel(ctx))
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// worker has one connection at a time.
type worker struct {
	load   *load
	client http.Client
	port   atomic.Int32 // the local one of its latest connection, also of one that failed
}

func newWorker(l *load, t *http.Transport) *worker {
	w := &worker{load: l}
	dialer := net.Dialer{Control: w.bind}
	t.DialContext = dialer.DialContext
	w.client = http.Client{Transport: t, Timeout: patience}
	return w
}

// bind gives a connection its local port before it is opened: of one that is refused it couldn't be known later.
func (w *worker) bind(_, _ string, c syscall.RawConn) error {
	var err error
	outer := c.Control(func(fd uintptr) {
		if err = unix.Bind(int(fd), &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return
		}
		var a unix.Sockaddr
		if a, err = unix.Getsockname(int(fd)); err == nil {
			if a, ok := a.(*unix.SockaddrInet4); ok {
				w.port.Store(int32(a.Port))
			}
		}
	})
	if outer != nil {
		return outer
	}
	return err
}

func (w *worker) request(ctx context.Context) {
	began := time.Now()
	err := w.ask(ctx)
	if err == nil {
		return
	}
	lost := loss{began: began, ended: time.Now(), err: err}
	lost.had = whose(int(w.port.Load()))
	w.load.mu.Lock()
	defer w.load.mu.Unlock()
	w.load.lost = append(w.load.lost, lost)
}

func (w *worker) ask(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.load.target+"/id", http.NoBody)
	if err != nil {
		return err
	}
	response, err := w.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || len(body) == 0) {
		err = fmt.Errorf("it answered %s: %q", response.Status, body) //nolint:err113 // its words are its meaning
	}
	return err
}

// whose is the address of the instance that this machine's loopback connection from a port led to. The kernel remembers one that was
// reset or closed for ten seconds, and doesn't show all of them at once where others come and go meanwhile.
func whose(port int) netip.Addr {
	for range 5 {
		table, _ := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET) // nothing is found in none
		for _, flow := range table {
			if int(flow.Forward.SrcPort) == port && flow.Forward.SrcIP.IsLoopback() {
				address, _ := netip.AddrFromSlice(flow.Reverse.SrcIP.To4())
				return address
			}
		}
	}
	return netip.Addr{}
}
