package local

import (
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

// check asks an instance whether it can take traffic. A nil error says yes; any other is worded
// for people: "GET /healthz on port 8080: 503 Service Unavailable".
func check(ctx context.Context, r imx.Release, address netip.Addr) error {
	h := r.Spec.Health
	timeout := time.Duration(h.Timeout)
	if timeout <= 0 {
		timeout = time.Second
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s", timeout)) //nolint:err113 // its words are its meaning
	defer cancel()
	switch {
	case h.HTTP != nil:
		port := containerPort(r.Spec, h.HTTP.Port)
		if err := checkHTTP(ctx, *h.HTTP, address, port); err != nil {
			return fmt.Errorf("GET %s on port %d: %w", h.HTTP.Path, port, plain(ctx, err))
		}
	case h.TCP != nil:
		port := containerPort(r.Spec, h.TCP.Port)
		if err := checkTCP(ctx, address, port); err != nil {
			return fmt.Errorf("connecting to port %d: %w", port, plain(ctx, err))
		}
	}
	return nil
}

// checkUntil is check, given up when stop is closed.
func checkUntil(ctx context.Context, stop <-chan struct{}, r imx.Release, address netip.Addr) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the check
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return check(ctx, r, address)
}

// containerPort is the number of a port of the service, 0 for an unknown one.
func containerPort(s imx.Spec, name string) int {
	for _, p := range s.Ports {
		if p.Name == name {
			return p.Container
		}
	}
	return 0
}

func checkTCP(ctx context.Context, address netip.Addr, port int) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp4", endpoint(address, port))
	if err != nil {
		return err
	}
	return conn.Close()
}

func checkHTTP(ctx context.Context, h imx.HTTPCheck, address netip.Addr, port int) error {
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

// plain takes from a network error what a person doesn't need: the layers' names and addresses.
func plain(ctx context.Context, err error) error {
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
