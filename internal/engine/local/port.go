package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/engine"
)

// A published port is held by a socket that is bound to it and never listens: connections go to
// instances before any socket of the machine sees them, but others that want the port learn that
// it is taken.

// portsFree reports whether a release's published ports are free or its own service's.
func (e *Engine) portsFree(r imx.Release) error {
	e.rules.mu.Lock()
	defer e.rules.mu.Unlock()
	for _, port := range engine.Ports(r) {
		if other := e.portOwner(port, r.Service); other != "" {
			return taken(port, r.Service, "service "+strconv.Quote(other))
		}
		if e.rules.held[port] != nil {
			continue
		}
		socket, err := bindPort(port, r.Service)
		if err != nil {
			return err
		}
		_ = socket.Close() // nothing was written
	}
	return nil
}

// hold binds the published ports of a route's releases, all or none.
func (e *Engine) hold(r engine.Route) error {
	e.rules.mu.Lock()
	defer e.rules.mu.Unlock()
	bound := map[int]io.Closer{}
	for _, release := range r.Releases {
		for _, port := range engine.Ports(release) {
			err := e.holdOne(port, r.Service, bound)
			if err != nil {
				for _, socket := range bound {
					_ = socket.Close() // nothing was written
				}
				return err
			}
		}
	}
	maps.Copy(e.rules.held, bound)
	return nil
}

func (e *Engine) holdOne(port int, service string, bound map[int]io.Closer) error {
	if other := e.portOwner(port, service); other != "" {
		return taken(port, service, "service "+strconv.Quote(other))
	}
	if e.rules.held[port] != nil || bound[port] != nil {
		return nil
	}
	socket, err := bindPort(port, service)
	if err == nil {
		bound[port] = socket
	}
	return err
}

// holdPorts binds the ports of all routes, after a restart. One that somebody took meanwhile is
// reported; its traffic goes to the instances all the same.
func (e *Engine) holdPorts(ctx context.Context) {
	e.mu.Lock()
	routes := make([]engine.Route, 0, len(e.routes))
	for _, r := range e.routes {
		routes = append(routes, r)
	}
	e.mu.Unlock()
	for _, r := range routes {
		if err := e.hold(r); err != nil {
			e.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a published port is not held", slog.Any("error", err))
		}
	}
}

// dropPorts frees the ports; their traffic goes on.
func (e *Engine) dropPorts() {
	e.rules.mu.Lock()
	defer e.rules.mu.Unlock()
	e.rules.drop()
}

func (r *rules) drop() {
	for port, socket := range r.held {
		_ = socket.Close() // nothing was written
		delete(r.held, port)
	}
}

// releasePorts closes the sockets of ports that no route publishes any more.
func (e *Engine) releasePorts() {
	e.rules.mu.Lock()
	defer e.rules.mu.Unlock()
	for port, socket := range e.rules.held {
		if e.portOwner(port, "") == "" {
			_ = socket.Close() // nothing was written
			delete(e.rules.held, port)
		}
	}
}

// portOwner names the service, other than the given one, whose route publishes the port.
func (e *Engine) portOwner(port int, except string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for service, route := range e.routes {
		for _, r := range route.Releases {
			if service != except && slices.Contains(engine.Ports(r), port) {
				return service
			}
		}
	}
	return ""
}

// socket is a bound socket's descriptor.
type socket int

// Close frees the port.
func (s socket) Close() error { return unix.Close(int(s)) }

func bindPort(port int, service string) (io.Closer, error) {
	fd, err := tryBind(port, 0)
	if errors.Is(err, unix.EADDRINUSE) && len(listeners(port)) == 0 {
		// Connections that are over may still block the port for a minute (TIME_WAIT).
		fd, err = tryBind(port, 1)
	}
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, taken(port, service, portHolder(port))
	case err != nil:
		return nil, fmt.Errorf("holding port %d for service %q: %w", port, service, err)
	}
	return socket(fd), nil
}

// tryBind binds a socket on all addresses. With reuse 1 it does so past connections that are
// over; the option is taken back at once, so that nobody else may bind beside it.
func tryBind(port, reuse int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	var address unix.Sockaddr = &unix.SockaddrInet6{Port: port}
	if errors.Is(err, unix.EAFNOSUPPORT) { // a machine without IPv6
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		address = &unix.SockaddrInet4{Port: port}
	}
	if err != nil {
		return -1, err
	}
	if _, six := address.(*unix.SockaddrInet6); six {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
	}
	err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, reuse))
	if err == nil {
		err = unix.Bind(fd, address)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func taken(port int, service, holder string) error {
	by := ""
	if holder != "" {
		by = " by " + holder
	}
	return imx.Errorf(imx.Conflict, "port %d, which service %q publishes, is taken%s", port, service, by).
		WithHint("publish another port, or end what holds this one")
}

// portHolder names the process that listens on a port, "" if it can't be known.
func portHolder(port int) string {
	inodes := listeners(port)
	if len(inodes) == 0 {
		return ""
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return ""
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !slices.Contains(inodes, target) {
			continue
		}
		pid := strings.Split(link, "/")[2]
		name, err := os.ReadFile("/proc/" + pid + "/comm")
		if err == nil {
			return fmt.Sprintf("process %s (%s)", pid, strings.TrimSpace(string(name)))
		}
	}
	return ""
}

// listeners returns the TCP sockets that listen on a port, as /proc/<pid>/fd names them.
func listeners(port int) []string {
	var inodes []string
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(file)
		if err != nil {
			continue // no IPv6
		}
		inodes = append(inodes, listening(f, port)...)
		_ = f.Close() // read-only
	}
	return inodes
}

// listening reads /proc/net/tcp (proc_net(5)): number, local address, remote address, state, ...,
// the socket's inode in the tenth field.
func listening(r io.Reader, port int) []string {
	const listen = "0A"
	suffix := fmt.Sprintf(":%04X", port)
	var inodes []string
	for lines := bufio.NewScanner(r); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) > 9 && strings.HasSuffix(f[1], suffix) && f[3] == listen {
			inodes = append(inodes, "socket:["+f[9]+"]")
		}
	}
	return inodes
}
