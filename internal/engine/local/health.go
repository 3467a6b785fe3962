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
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imx"
)

// timeout is how long one question to an instance may take.
func timeout(h imx.Health, p imx.Phase) time.Duration {
	t := time.Duration(h.Timeout)
	if p == imx.Starting && h.Start != nil && h.Start.Timeout > 0 {
		t = time.Duration(h.Start.Timeout)
	}
	if t <= 0 {
		return time.Second
	}
	return t
}

// interval is how long after one question the next one comes.
func interval(h imx.Health, p imx.Phase) time.Duration {
	every := time.Duration(h.Every)
	if every <= 0 {
		every = time.Second
	}
	switch {
	case p != imx.Starting:
		return every
	case h.Start != nil && h.Start.Every > 0:
		return time.Duration(h.Start.Every)
	case h.Command != nil:
		return min(every, eagerCommand)
	}
	return min(every, eager)
}

// check asks an instance whether it can take traffic. A nil error says yes; any other is worded
// for people: "GET /healthz on port 8080: 503 Service Unavailable".
func (e *Engine) check(ctx context.Context, in *instance, x imx.Instance) error {
	spec := in.release.Spec
	h, limit := spec.Health, timeout(spec.Health, x.Phase)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit)) //nolint:err113 // its words are its meaning
	defer cancel()
	switch {
	case h.HTTP != nil:
		port := containerPort(spec, h.HTTP.Port)
		if err := checkHTTP(ctx, *h.HTTP, x.Address, port); err != nil {
			return fmt.Errorf("GET %s on port %d: %w", h.HTTP.Path, port, plain(ctx, err))
		}
	case h.TCP != nil:
		port := containerPort(spec, h.TCP.Port)
		if err := checkTCP(ctx, x.Address, port); err != nil {
			return fmt.Errorf("connecting to port %d: %w", port, plain(ctx, err))
		}
	case h.GRPC != nil:
		port := containerPort(spec, h.GRPC.Port)
		if err := checkGRPC(ctx, endpoint(x.Address, port), h.GRPC.Service); err != nil {
			return fmt.Errorf("asking the health service on port %d: %w", port, plain(ctx, err))
		}
	case h.Command != nil:
		if err := e.checkCommand(ctx, in, h.Command.Command); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(h.Command.Command, " "), plain(ctx, err))
		}
	}
	return nil
}

// checkUntilTold is check, given up when the instance is told to stop.
func (e *Engine) checkUntilTold(ctx context.Context, in *instance, x imx.Instance) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the check
		select {
		case <-in.told:
			cancel()
		case <-ctx.Done():
		}
	}()
	return e.check(ctx, in, x)
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

// checkCommand runs a command beside the instance's first process. When its time is over it is killed, and when it
// is over, whatever it has left running.
func (e *Engine) checkCommand(ctx context.Context, in *instance, args []string) error {
	id := in.record.Instance.ID // never changes
	if err := e.cgroups.clearAside(id); err != nil {
		return err // a server that died may have left something there
	}
	way, err := e.cgroups.openAside(id)
	if err != nil {
		return err
	}
	defer way.close()
	var said tailWriter
	code, err := e.runBeside(ctx, in, besideArgs{args, way, func(crun int) error { return e.cgroups.endAside(id, crun) }}, &said)
	if cleared := e.cgroups.clearAside(id); err == nil {
		err = cleared
	}
	switch {
	case err != nil:
		return err
	case code != 0:
		return fmt.Errorf("it exited with %d%s", code, said.quoted()) //nolint:err113 // its words are its meaning
	}
	return nil
}

// tailWriter keeps the end of what is written.
type tailWriter struct{ kept []byte }

// Write implements io.Writer.
func (w *tailWriter) Write(p []byte) (int, error) {
	const enough = 200
	w.kept = append(w.kept, p...)
	w.kept = append([]byte(nil), w.kept[max(0, len(w.kept)-enough):]...)
	return len(p), nil
}

// quoted is the last line of it, after a colon; nothing where nothing was written.
func (w *tailWriter) quoted() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(w.kept), ""))
	if text == "" {
		return ""
	}
	return ": " + text[strings.LastIndexByte(text, '\n')+1:]
}
