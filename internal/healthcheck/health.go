// Package healthcheck asks whether what is at an address can take traffic: by HTTP, by TCP or by gRPC, as a service's health check
// says. It runs no commands, which are asked within an instance, and decides nothing about what follows.
package healthcheck

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"

	"golang.org/x/sys/unix"

	"imx"
)

// Ask asks at an address of a service that has the ports. A nil error says yes, and so does a check of another kind; any other is worded
// for people: "GET /healthz on port 8080: 503 Service Unavailable". How long it may take is ctx's: the cause of its end is what is said.
func Ask(ctx context.Context, h imx.Health, ports []imx.Port, a netip.Addr) error {
	switch {
	case h.HTTP != nil:
		port := containerPort(ports, h.HTTP.Port)
		if err := askHTTP(ctx, *h.HTTP, endpoint(a, port)); err != nil {
			return fmt.Errorf("GET %s on port %d: %w", h.HTTP.Path, port, Plain(ctx, err))
		}
	case h.TCP != nil:
		port := containerPort(ports, h.TCP.Port)
		if err := askTCP(ctx, endpoint(a, port)); err != nil {
			return fmt.Errorf("connecting to port %d: %w", port, Plain(ctx, err))
		}
	case h.GRPC != nil:
		port := containerPort(ports, h.GRPC.Port)
		if err := askGRPC(ctx, endpoint(a, port).String(), h.GRPC.Service); err != nil {
			return fmt.Errorf("asking the health service on port %d: %w", port, Plain(ctx, err))
		}
	}
	return nil
}

// containerPort is the number of a port inside the instance, 0 for an unknown one.
func containerPort(ports []imx.Port, name string) int {
	for _, p := range ports {
		if p.Name == name {
			return p.Container
		}
	}
	return 0
}

func askTCP(ctx context.Context, to netip.AddrPort) error {
	conn, stop, err := connect(ctx, to)
	if err != nil {
		return err
	}
	stop()
	return conn.Close()
}

// The most that is read of an answer: its head, and a body, which belongs to it, but an endless one must not keep the check busy.
const (
	mostHead = 64 << 10
	mostBody = 1 << 20
)

// askHTTP does what a client of net/http would on a connection of its own, at a fifth of its cost: without that one's goroutines. It
// keeps no connection: one that is open takes a worker of a server that has few of them, and tells nothing of whether
// a new one, which is what the instance's users need, would be taken.
func askHTTP(ctx context.Context, h imx.HTTPCheck, to netip.AddrPort) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+to.String()+h.Path, http.NoBody)
	if err != nil {
		return err
	}
	conn, stop, err := connect(ctx, to)
	if err != nil {
		return err
	}
	defer stop()
	defer conn.Close() // its answer has been read, or doesn't count
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: imx-health\r\nConnection: close\r\n\r\n", request.URL.RequestURI(), request.Host); err != nil {
		return err
	}
	reader := bufio.NewReaderSize(&io.LimitedReader{R: conn, N: mostHead + mostBody}, 1<<10)
	response, err := finalAnswer(reader, request)
	if err != nil {
		return err
	}
	defer response.Body.Close() // it is read as far as it counts
	_, err = io.CopyN(io.Discard, response.Body, mostBody-mostHead)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !expected(h, response.StatusCode) {
		return errors.New(response.Status)
	}
	return nil
}

// finalAnswer reads the answer after those that only say that one will come.
func finalAnswer(r *bufio.Reader, request *http.Request) (*http.Response, error) {
	for {
		response, err := http.ReadResponse(r, request)
		if err != nil || response.StatusCode >= http.StatusOK || response.StatusCode == http.StatusSwitchingProtocols {
			return response, err
		}
		if err := response.Body.Close(); err != nil {
			return nil, err
		}
	}
}

func expected(h imx.HTTPCheck, status int) bool {
	if h.Status == 0 {
		return status >= 200 && status < 400
	}
	return status == h.Status
}

// Plain takes from a network error what a person doesn't need: the layers' names and addresses.
func Plain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if number, ok := errors.AsType[unix.Errno](err); ok {
		return number
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the connection was closed without an answer")
	}
	return err
}

func endpoint(a netip.Addr, port int) netip.AddrPort { return netip.AddrPortFrom(a, uint16(port)) } //nolint:gosec // a template's ports fit
