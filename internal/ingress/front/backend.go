package front

import (
	"context"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"imx"
	"imx/internal/ingress"
)

// backend is an instance as this process reaches it.
type backend struct {
	at      netip.AddrPort
	http    *http.Transport
	h2c     *http.Transport
	open    atomic.Int64 // requests that aren't over
	suspect atomic.Int64 // Unix nanoseconds until which it is, for having failed to answer
	gone    atomic.Bool  // the configuration has it no more
}

// Of one that fails to answer, others are preferred for so long. imx' own checks go on meanwhile.
const suspicion = 2 * time.Second

func newBackend(at netip.AddrPort) *backend {
	dialer := &net.Dialer{Timeout: 2 * time.Second, KeepAlive: 30 * time.Second}
	transport := func() *http.Transport {
		return &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "tcp", at.String())
			},
			MaxIdleConnsPerHost: 512, IdleConnTimeout: time.Minute, DisableCompression: true,
			MaxResponseHeaderBytes: 1 << 20, WriteBufferSize: 16 << 10, ReadBufferSize: 16 << 10,
		}
	}
	b := &backend{at: at, http: transport(), h2c: transport()}
	b.h2c.Protocols = new(http.Protocols)
	b.h2c.Protocols.SetUnencryptedHTTP2(true)
	return b
}

func (b *backend) transport(protocol string) *http.Transport {
	if protocol == "h2c" {
		return b.h2c
	}
	return b.http
}

func (b *backend) enter() { b.open.Add(1) }

// leave is the end of a request. The connections of an instance that takes no more are closed then.
func (b *backend) leave() {
	if b.open.Add(-1) == 0 && b.gone.Load() {
		b.closeIdle()
	}
}

func (b *backend) retire() {
	b.gone.Store(true)
	if b.open.Load() == 0 {
		b.closeIdle()
	}
}

func (b *backend) closeIdle() {
	b.http.CloseIdleConnections()
	b.h2c.CloseIdleConnections()
}

func (b *backend) failed() { b.suspect.Store(time.Now().Add(suspicion).UnixNano()) }

func (b *backend) isSuspect() bool { return b.suspect.Load() > time.Now().UnixNano() }

// backends are those that the configuration has, and those that still have requests.
type backends struct {
	mu  sync.Mutex
	all map[string]*backend // by the instance's id and port
}

func backendKey(in ingress.Instance) string { return in.ID + " " + in.At.String() }

// settle makes the backends those of a configuration.
func (bs *backends) settle(c ingress.Config) map[string]*backend {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	wanted := map[string]*backend{}
	for _, p := range c.Pools {
		for _, in := range p.Instances {
			key := backendKey(in)
			b := bs.all[key]
			if b == nil {
				b = newBackend(in.At)
			}
			b.gone.Store(false)
			wanted[key] = b
		}
	}
	for key, b := range bs.all {
		if wanted[key] != nil {
			continue
		}
		b.retire()
		if b.open.Load() == 0 {
			delete(bs.all, key)
		}
	}
	maps.Copy(bs.all, wanted)
	return wanted
}

// busy counts the requests by instance's address.
func (bs *backends) busy() map[netip.Addr]int {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	counts := map[netip.Addr]int{}
	for _, b := range bs.all {
		if n := b.open.Load(); n > 0 {
			counts[b.at.Addr()] += int(n)
		}
	}
	return counts
}

// suspects are the ids of instances that lately failed to answer.
func (l *live) suspects() []string {
	var ids []string
	seen := map[string]bool{}
	for _, p := range l.config.Pools {
		for _, in := range p.Instances {
			if b := l.backends[backendKey(in)]; b != nil && b.isSuspect() && !seen[in.ID] {
				seen[in.ID] = true
				ids = append(ids, in.ID)
			}
		}
	}
	return ids
}

var (
	errNobody = errors.New("no instance takes requests")
	errSlow   = errors.New("no response began within the route's timeout")
)

// balancer sends a request to an instance, and to another one where that is safe.
type balancer struct{ s *Server }

// RoundTrip implements http.RoundTripper. The request's exchange is in its context.
func (b balancer) RoundTrip(req *http.Request) (*http.Response, error) {
	x := exchangeOf(req.Context())
	tried := map[string]bool{}
	var last error
	waited := false
	for {
		l := b.s.live.Load()
		in, ok := l.config.Pools[x.route.Pool].Pick(func(in ingress.Instance) ingress.Load {
			at := l.backends[backendKey(in)]
			return ingress.Load{Open: int(at.open.Load()), Suspect: at.isSuspect(), Tried: tried[in.ID]}
		}, rand.IntN)
		if !ok {
			if last != nil {
				return nil, last
			}
			if waited {
				return nil, errNobody
			}
			if err := b.s.awaken(req, x); err != nil {
				return nil, err
			}
			waited = true
			continue
		}
		tried[in.ID] = true
		response, err := x.try(req, in, l.backends[backendKey(in)])
		if err == nil {
			return response, nil
		}
		last = err
		if x.line.Retries >= retries(x.route.Route) || !x.repeatable(req, err) {
			return nil, err
		}
		x.line.Retries++
	}
}

func retries(r imx.Route) int {
	if r.Retries == nil {
		return imx.DefaultRetries
	}
	return *r.Retries
}

// try sends the request to one instance. It counts as that one's until the exchange's end, or its failure.
func (x *exchange) try(req *http.Request, in ingress.Instance, b *backend) (*http.Response, error) {
	x.line.Target = imx.Target{Service: x.route.Service, Release: in.Release, Instance: in.ID}
	ctx, cancel := context.WithCancelCause(req.Context())
	timeout := x.route.Timeout
	if timeout == 0 {
		timeout = imx.DefaultRouteTimeout
	}
	slow := time.AfterFunc(time.Duration(timeout), func() { cancel(errSlow) })
	b.enter()
	out := req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		out.Body = held{req.Body, x}
	}
	response, err := b.transport(x.route.Protocol).RoundTrip(out)
	if !slow.Stop() && err == nil {
		_ = response.Body.Close() // it came too late
		err = errSlow
	}
	if err != nil {
		if errors.Is(context.Cause(ctx), errSlow) {
			err = errSlow
		}
		cancel(nil)
		b.leave()
		if req.Context().Err() == nil && !x.tooMuch.Load() {
			b.failed()
		}
		return nil, err
	}
	x.ends = append(x.ends, func() { cancel(nil); b.leave() })
	return response, nil
}

// repeatable reports whether a request that failed can be sent to another instance without being done twice: nothing of it
// reached the one that failed, or doing it twice is doing it once, and none of its body was read.
func (x *exchange) repeatable(req *http.Request, err error) bool {
	if req.Context().Err() != nil || errors.Is(err, errSlow) || x.bodyRead.Load() {
		return false
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return req.Body == nil || req.Body == http.NoBody
	}
	return false
}

// held is a request's body that stays open when an instance couldn't be reached, for the next.
type held struct {
	io.ReadCloser

	x *exchange
}

// Read implements io.Reader.
func (h held) Read(p []byte) (int, error) {
	h.x.bodyRead.Store(true)
	n, err := h.ReadCloser.Read(p)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		h.x.tooMuch.Store(true)
	}
	return n, err
}

// Close implements io.Closer. The server closes the body itself.
func (held) Close() error { return nil }
