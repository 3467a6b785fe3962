// Package healthcheck asks whether what is at an address can take traffic: by HTTP, by TCP or by gRPC, as a service's health check
// says. It runs no commands, which are asked within an instance, and decides nothing about what follows.
package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"

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

func askHTTP(ctx context.Context, h imx.HTTPCheck, address netip.Addr, port int) error {
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+endpoint(address, port)+h.Path, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "imx-health")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	// The body belongs to the answer, but an endless one must not keep the check busy.
	_, err = io.CopyN(io.Discard, response.Body, 1<<20)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	err = errors.Join(err, response.Body.Close())
	if err == nil && !expected(h, response.StatusCode) {
		return errors.New(response.Status)
	}
	return err
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
