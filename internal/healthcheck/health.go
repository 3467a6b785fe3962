// Package healthcheck asks whether what is at an address can take traffic: by HTTP, by TCP or by gRPC, as a service's health check
// says. It runs no commands, which are asked within an instance, and decides nothing about what follows.
package healthcheck

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"imx"
)

// Ask asks at an address of a service that has the ports. A nil error says yes, and so does a check of another kind; any other is worded
// for people: "GET /healthz on port 8080: 503 Service Unavailable". How long it may take is ctx's: the cause of its end is what is said.
func Ask(ctx context.Context, h imx.Health, ports []imx.Port, a netip.Addr) error {
	switch {
	case h.HTTP != nil:
		port := containerPort(ports, h.HTTP.Port)
		if err := askHTTP(ctx, *h.HTTP, a, port); err != nil {
			return fmt.Errorf("GET %s on port %d: %w", h.HTTP.Path, port, Plain(ctx, err))
		}
	case h.TCP != nil:
		port := containerPort(ports, h.TCP.Port)
		if err := askTCP(ctx, a, port); err != nil {
			return fmt.Errorf("connecting to port %d: %w", port, Plain(ctx, err))
		}
	case h.GRPC != nil:
		port := containerPort(ports, h.GRPC.Port)
		if err := askGRPC(ctx, endpoint(a, port), h.GRPC.Service); err != nil {
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

func askTCP(ctx context.Context, address netip.Addr, port int) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp4", endpoint(address, port))
	if err != nil {
		return err
	}
	return conn.Close()
}

// The most that is read of an answer: its head, and a body, which belongs to it, but an endless one must not keep the check busy.
const (
	mostHead = 64 << 10
	mostBody = 1 << 20
)

// askHTTP does what a client of net/http would on a connection of its own, at a third of its cost: without that one's goroutines. A server
// of 200 instances asks 200 times a second.
func askHTTP(ctx context.Context, h imx.HTTPCheck, address netip.Addr, port int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+endpoint(address, port)+h.Path, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "imx-health")
	request.Close = true
	conn, err := new(net.Dialer).DialContext(ctx, "tcp4", endpoint(address, port))
	if err != nil {
		return err
	}
	defer conn.Close() // its answer has been read, or doesn't count
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if err := request.Write(conn); err != nil {
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

func endpoint(a netip.Addr, port int) string { return net.JoinHostPort(a.String(), strconv.Itoa(port)) }
