package front

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"imx"
)

// plug is a listening socket and what answers on it.
type plug struct {
	port     int
	socket   *os.File // of which each listener has a copy
	server   *http.Server
	listener *counted
	as       serving
}

// serving is what can't be changed of a server that runs: with another one, another server takes the socket over.
type serving struct {
	tls    bool
	limits imx.IngressLimits
}

// plugs are the sockets of a process.
type plugs struct {
	mu     sync.Mutex
	all    map[int]*plug
	leave  sync.WaitGroup // those that finish what they have
	conns  atomic.Int64
	groups map[string]*clients // by ingress
}

// add takes a listening socket over. It is answered on when the configuration has its port.
func (ps *plugs) add(port int, socket *os.File) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.all[port] != nil {
		_ = socket.Close() // nothing is written through it
		return nil
	}
	ps.all[port] = &plug{port: port, socket: socket}
	return nil
}

func (ps *plugs) ports() []int {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var list []int
	for port := range ps.all {
		list = append(list, port)
	}
	slices.Sort(list)
	return list
}

// sockets returns the listening sockets in the order of their ports.
func (ps *plugs) sockets() (ports []int, files []*os.File) {
	ports = ps.ports()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, port := range ports {
		files = append(files, ps.all[port].socket)
	}
	return ports, files
}

func (ps *plugs) open() int { return int(ps.conns.Load()) }

// settle answers on the sockets of a configuration's ports, and on no others.
func (ps *plugs) settle(s *Server, l *live) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.groups == nil {
		ps.groups = map[string]*clients{}
	}
	for port, p := range ps.all {
		in, ok := l.ports[port]
		wanted := serving{tls: ok && in.HTTPS == port, limits: in.Limits}
		switch {
		case !ok:
			ps.pull(p)
			_ = p.socket.Close() // nothing is written through it
			delete(ps.all, port)
		case p.server == nil || p.as != wanted:
			ps.pull(p)
			if ps.groups[in.Name] == nil {
				ps.groups[in.Name] = &clients{from: map[netip.Addr]int{}}
			}
			p.as = wanted
			ps.serve(s, p, ps.groups[in.Name])
		}
	}
}

// serve begins to answer on a socket.
func (ps *plugs) serve(s *Server, p *plug, group *clients) {
	l, err := net.FileListener(p.socket)
	if err != nil {
		return // it is no listening socket: status doesn't show it as answered on
	}
	p.listener = &counted{Listener: l, limits: p.as.limits, group: group, open: &ps.conns}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(!p.as.tls)
	p.server = &http.Server{
		Handler: door{s, p.port}, Protocols: protocols, ErrorLog: s.quiet,
		ReadHeaderTimeout: time.Duration(orDefault(p.as.limits.HeaderTimeout, imx.DefaultHeaderTimeout)),
		IdleTimeout:       time.Duration(orDefault(p.as.limits.Idle, imx.DefaultIdle)),
		MaxHeaderBytes:    int(orDefault(p.as.limits.Header, imx.DefaultHeader)),
	}
	server, listener, port := p.server, p.listener, p.port
	if !p.as.tls {
		go func() { _ = server.Serve(listener) }() // ends when the listener is closed
		return
	}
	server.TLSConfig = &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1", challengeProtocol},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certify(port, hello) },
	}
	go func() { _ = server.ServeTLS(listener, "", "") }() // the same
}

func orDefault[T comparable](v, usual T) T {
	if v == *new(T) {
		return usual
	}
	return v
}

// pull stops a server from taking connections. Those that it has are served until they end by themselves: each
// response asks for that where the port is gone, and otherwise they go on under the limits that they began with.
func (ps *plugs) pull(p *plug) {
	if p.server == nil {
		return
	}
	server, listener := p.server, p.listener
	p.server, p.listener = nil, nil
	_ = listener.Close() // what waits on the socket is left for the next
	ps.leave.Go(func() {
		listener.emptied(lastIdle)
		ctx, cancel := context.WithTimeout(context.Background(), lastRequests) //nolint:forbidigo // it outlives whoever asked for it
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
		listener.emptied(lastRequests) // Shutdown knows nothing of connections that were upgraded
	})
}

// How long connections are served after their port, or their process, was given up: to end by themselves, and then to finish
// the request that they are at.
const (
	lastIdle     = 30 * time.Second
	lastRequests = 10 * time.Minute
)

// end gives all sockets up and returns when their last connection is over.
func (ps *plugs) end() {
	ps.mu.Lock()
	for port, p := range ps.all {
		ps.pull(p)
		_ = p.socket.Close() // nothing is written through it
		delete(ps.all, port)
	}
	ps.mu.Unlock()
	ps.leave.Wait()
}

// clients counts the connections of an ingress, by where they come from.
type clients struct {
	mu    sync.Mutex
	total int
	from  map[netip.Addr]int
}

func (c *clients) enter(a netip.Addr, l imx.IngressLimits) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total >= orDefault(l.Connections, imx.DefaultConnections) || c.from[a] >= orDefault(l.PerClient, imx.DefaultPerClient) {
		return false
	}
	c.total++
	c.from[a]++
	return true
}

func (c *clients) leave(a netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.from[a]--; c.from[a] <= 0 {
		delete(c.from, a)
	}
}

// counted is a listener that takes no more connections than it may.
type counted struct {
	net.Listener

	limits imx.IngressLimits
	group  *clients
	open   *atomic.Int64 // of the process
	mine   atomic.Int64
}

// Accept implements net.Listener. What is too much is closed at once.
func (l *counted) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addressOf(conn)
		tcp, ok := conn.(*net.TCPConn)
		if !ok || !l.group.enter(from, l.limits) {
			_ = conn.Close() // nothing was written
			continue
		}
		l.open.Add(1)
		l.mine.Add(1)
		return &connection{TCPConn: tcp, left: sync.OnceFunc(func() {
			l.group.leave(from)
			l.open.Add(-1)
			l.mine.Add(-1)
		})}, nil
	}
}

func addressOf(conn net.Conn) netip.Addr {
	a, _ := netip.ParseAddrPort(conn.RemoteAddr().String()) // the kernel's own
	return a.Addr().Unmap()
}

// emptied waits until there is no connection left, or as long as it may.
func (l *counted) emptied(most time.Duration) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(most); l.mine.Load() > 0 && time.Now().Before(end); {
		<-tick.C
	}
}

// connection counts until it is closed.
type connection struct {
	*net.TCPConn

	left func()
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.left()
	return c.TCPConn.Close()
}
