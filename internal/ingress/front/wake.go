package front

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"imx"
)

// A request for a service that sleeps waits, as a connection at the service's own address does: this process opens one there, like any
// client of the machine, which wakes the service, and hands the request on when the configuration has an instance.

const (
	// wakeTime is how long a request waits at most; less where its route's timeout is.
	wakeTime = 30 * time.Second
	// mostWaiting and mostHeld bound the requests that wait, and what of them is in memory.
	mostWaiting = 1024
	mostHeld    = 16 << 20
	// knockAgain is how long after a connection that failed the next is tried.
	knockAgain = time.Second
)

var (
	errAsleep = errors.New("the service sleeps, and didn't wake")
	errFull   = errors.New("too many requests wait for services that sleep")
)

// sleepers are the requests that wait.
type sleepers struct {
	mu    sync.Mutex
	count int
	held  int64
	doors map[netip.AddrPort]*knocking
}

// knocking is a connection that is being opened to wake a service, for all who wait for it.
type knocking struct {
	waiting int
	end     context.CancelFunc
}

func (w *sleepers) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// enter counts a request among those that wait at a door, until it leaves.
func (w *sleepers) enter(door netip.AddrPort, size int64) (leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count >= mostWaiting || w.held+size > mostHeld {
		return nil, errFull
	}
	w.count++
	w.held += size
	if w.doors == nil {
		w.doors = map[netip.AddrPort]*knocking{}
	}
	k := w.doors[door]
	if k == nil {
		ctx, end := context.WithCancel(context.Background()) //nolint:forbidigo // it is for all who wait, whoever came first
		k = &knocking{end: end}
		w.doors[door] = k
		go knock(ctx, door)
	}
	k.waiting++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.count--
		w.held -= size
		if k.waiting--; k.waiting == 0 {
			k.end()
			delete(w.doors, door)
		}
	}, nil
}

// knock opens a connection at a service's own address, until there was one or nobody waits any more.
func knock(ctx context.Context, door netip.AddrPort) {
	for ctx.Err() == nil {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", door.String())
		if err == nil {
			_ = conn.Close() // nothing was written
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(knockAgain):
		}
	}
}

// awaken waits until there is an instance for a request, and wakes the service. Errors: errNobody where nothing would wake it, errFull,
// errAsleep with the reason.
func (s *Server) awaken(req *http.Request, x *exchange) error {
	door := s.live.Load().config.Pools[x.route.Pool].Door
	if !door.IsValid() {
		return errNobody
	}
	leave, err := s.sleepers.enter(door, inMemory(req)) //nolint:contextcheck // the door is for all who wait
	if err != nil {
		return err
	}
	defer leave()
	most := min(wakeTime, time.Duration(orDefault(x.route.Timeout, imx.DefaultRouteTimeout)))
	over := time.NewTimer(most)
	defer over.Stop()
	for {
		l := s.live.Load()
		switch p := l.config.Pools[x.route.Pool]; {
		case len(p.Instances) > 0:
			return nil
		case !p.Door.IsValid():
			return errNobody
		case p.Fault != "":
			return fmt.Errorf("%w: %s", errAsleep, p.Fault)
		}
		select {
		case <-l.replaced:
		case <-over.C:
			return fmt.Errorf("%w: no instance was healthy within %s", errAsleep, most)
		case <-req.Context().Done():
			return req.Context().Err()
		}
	}
}

// inMemory is about how much of a request that nobody has read yet is in memory: its header, and of its body what the server takes
// without being asked.
func inMemory(r *http.Request) int64 {
	n := int64(len(r.RequestURI))
	for name, values := range r.Header {
		for _, v := range values {
			n += int64(len(name) + len(v))
		}
	}
	const buffer, window = 4 << 10, 1 << 20 // of a connection by HTTP/1, of a stream by HTTP/2
	switch {
	case r.ProtoMajor < 2:
		n += buffer
	case r.ContentLength < 0:
		n += window
	default:
		n += min(r.ContentLength, window)
	}
	return n
}
