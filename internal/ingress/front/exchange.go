package front

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"imx"
	"imx/internal/ingress"
)

// exchange is a request and what became of it.
type exchange struct {
	in       imx.Ingress
	route    ingress.Route
	line     imx.AccessLine
	client   netip.Addr
	bodyRead atomic.Bool
	tooMuch  atomic.Bool
	ends     []func()
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange) // the proxy is given no other request
	return x
}

// door is what one port of the machine leads to.
type door struct {
	s    *Server
	port int
}

// ServeHTTP implements http.Handler.
func (d door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	l := d.s.live.Load()
	in, ok := l.ports[d.port]
	if !ok || d.s.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	if !ok {
		http.Error(w, "nothing is served here any more", http.StatusServiceUnavailable)
		return
	}
	x := &exchange{in: in, client: clientOf(r)}
	x.line = imx.AccessLine{
		Time: began.UTC(), Ingress: in.Name, Client: x.client.String(), Host: bounded(r.Host), Method: bounded(r.Method), Path: bounded(r.URL.EscapedPath()),
		Protocol: r.Proto, TLS: tlsName(r),
	}
	rec := &recorder{ResponseWriter: w}
	defer func() { // also where the proxy gives a response up that has begun
		for _, end := range x.ends {
			end()
		}
		x.line.Status, x.line.Bytes, x.line.Seconds = rec.status, rec.bytes, time.Since(began).Seconds()
		d.s.record(x.line)
	}()
	d.serve(rec, r, x, l)
}

// bounded keeps a line of the log short.
func bounded(s string) string {
	const most = 2048
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

func clientOf(r *http.Request) netip.Addr {
	a, _ := netip.ParseAddrPort(r.RemoteAddr) // the server's own writing
	return a.Addr().Unmap()
}

func (d door) serve(w http.ResponseWriter, r *http.Request, x *exchange, l *live) {
	host := imx.HostName(r.Host)
	if r.TLS == nil && l.authority != nil && l.authority.Challenge(w, r) {
		return
	}
	if r.TLS == nil && x.in.HTTPS != 0 {
		redirect(w, r, x.in, host, l)
		return
	}
	if r.Method == http.MethodConnect || !ingress.Clean(r.URL.Path) {
		refuse(w, x, http.StatusBadRequest, "the path isn't one that can be routed")
		return
	}
	var ok bool
	if x.route, ok = l.table.Match(x.in.Name, host, r.URL.Path); !ok {
		refuse(w, x, http.StatusNotFound, "no route leads there")
		return
	}
	if x.route.Rate > 0 && !d.s.allow(x.route, x.client) {
		w.Header().Set("Retry-After", "1")
		refuse(w, x, http.StatusTooManyRequests, "too many requests")
		return
	}
	most := int64(x.route.Body)
	if most == 0 {
		most = int64(imx.DefaultRouteBody)
	}
	if r.ContentLength > most {
		refuse(w, x, http.StatusRequestEntityTooLarge, "the request is larger than "+imx.Size(most).String())
		return
	}
	if r.ContentLength != 0 && x.route.Protocol != "h2c" {
		r.Body = &steady{http.MaxBytesReader(w, r.Body, most), http.NewResponseController(w)}
	}
	if x.route.HSTS > 0 && r.TLS != nil {
		w.Header().Set("Strict-Transport-Security", "max-age="+strconv.FormatInt(int64(time.Duration(x.route.HSTS).Seconds()), 10))
	}
	d.s.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
}

// redirect tells a client to come by HTTPS. Where no route is for the host, it is told nothing: it may be a name that somebody made up.
func redirect(w http.ResponseWriter, r *http.Request, in imx.Ingress, host string, l *live) {
	if !l.table.Knows(in.Name, host) || r.Method == http.MethodConnect {
		http.Error(w, "no route leads there", http.StatusNotFound)
		return
	}
	if in.HTTPS != 443 {
		host = net.JoinHostPort(host, strconv.Itoa(in.HTTPS))
	}
	w.Header().Set("Location", "https://"+host+r.URL.RequestURI())
	w.WriteHeader(http.StatusPermanentRedirect)
}

func refuse(w http.ResponseWriter, x *exchange, status int, why string) {
	x.line.Fault = why
	http.Error(w, why, status)
}

// newProxy makes what hands requests on, for all routes.
func newProxy(s *Server) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			x := exchangeOf(p.In.Context())
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = "http", "instance", p.In.Host
			if x.route.Strip {
				strip(p.Out, x.route.Prefix())
			}
			// What comes from outside says nothing of who it comes from.
			p.Out.Header.Del("X-Real-Ip")
			p.SetXForwarded()
		},
		Transport:    balancer{s},
		BufferPool:   &buffers{},
		ErrorLog:     s.quiet,
		ErrorHandler: failed,
	}
}

// strip takes a prefix off a request's path, in whichever way that is written.
func strip(r *http.Request, prefix string) {
	raw, ok := strings.CutPrefix(r.URL.RawPath, prefix)
	if !ok || prefix == "" {
		raw = ""
	}
	r.URL.Path, r.URL.RawPath = "/"+strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, prefix), "/"), ""
	if raw != "" {
		r.URL.RawPath = "/" + strings.TrimPrefix(raw, "/")
	}
}

// failed answers a request that no instance answered.
func failed(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r.Context())
	switch {
	case x.tooMuch.Load():
		refuse(w, x, http.StatusRequestEntityTooLarge, "the request is larger than it may be")
	case r.Context().Err() != nil:
		x.line.Fault = "the client went away"
		w.WriteHeader(clientGone)
	case errors.Is(err, errNobody):
		w.Header().Set("Retry-After", "1")
		refuse(w, x, http.StatusServiceUnavailable, errNobody.Error())
	case errors.Is(err, errFull):
		w.Header().Set("Retry-After", "1")
		refuse(w, x, http.StatusServiceUnavailable, errFull.Error())
	case errors.Is(err, errAsleep):
		w.Header().Set("Retry-After", "5")
		refuse(w, x, http.StatusServiceUnavailable, errAsleep.Error())
		x.line.Fault = err.Error()
	case errors.Is(err, errSlow):
		refuse(w, x, http.StatusGatewayTimeout, errSlow.Error())
	default:
		refuse(w, x, http.StatusBadGateway, "the instance gave no answer")
		x.line.Fault += ": " + err.Error()
	}
}

// clientGone is what access logs have for a request that nobody waited for; nobody gets it. It is no error of the service's.
const clientGone = 499

// steady is a body that has to come steadily: a client that sends a byte now and then holds an instance for no price.
type steady struct {
	body    io.ReadCloser
	control *http.ResponseController
}

// stall is how long the next part of a body may take.
const stall = time.Minute

// Read implements io.Reader.
func (b *steady) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(stall)) // a connection that has none has ended
	n, err := b.body.Read(p)
	if err != nil {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// Close implements io.Closer.
func (b *steady) Close() error {
	_ = b.control.SetReadDeadline(time.Time{})
	return b.body.Close()
}

// recorder notes what is answered.
type recorder struct {
	http.ResponseWriter

	status int
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// buffers implements httputil.BufferPool.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p[:]
	}
	return make([]byte, bufferSize)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(p []byte) { b.pool.Put((*[bufferSize]byte)(p)) }
