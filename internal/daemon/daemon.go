// Package daemon is the server's wiring: it opens every part, joins them, runs them and closes
// them again. It holds no decisions.
package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"imx"
	"imx/internal/api"
	"imx/internal/policy"
)

// DefaultListen is where the registry answers, apart from the unix socket.
const DefaultListen = "127.0.0.1:5050"

// SocketName is the name of the server's socket in its data folder.
const SocketName = "imx.sock"

// Config is what a server is started with.
type Config struct {
	Data      string    // folder that holds everything
	Listen    string    // TCP address of the registry; "" means DefaultListen, "none" means the socket only
	Anonymous Anonymous // what whoever shows no token may do at Listen
	Network   string    // address range in CIDR form; "" means the one it had, or else a free one
	// Refuse is the least level of which an unwaived finding refuses a template; "" refuses none.
	Refuse      imx.Level
	Environment Environment
	Keys        Keys
	SourceSize  imx.Size      // that the copy of each followed repository may have; 0 means the usual
	Prove       time.Duration // how often a way back is proved, and its root read; 0 means the usual
	Version     imx.Version
	// Probe is a static program that is imx, to run in instances that are tested; "" means this one.
	Probe string
	Log   io.Writer
	Ready func() // called once requests are answered; nil is allowed
}

// Keys says where the server's own keys are.
type Keys struct {
	// Identity is the file with the age identity that keys are sealed to; "" means the one in the data folder.
	Identity string
	Token    string // of PKCS#11 that has the keys, as keyring.OpenToken takes it; "" means that files have them
}

// Environment says whose policy says what may run here.
type Environment struct {
	Name   string        // "" means the one that the data folder has, policy.Development in a new one
	Change policy.Change // it may be another than the data folder has
}

// Run serves until ctx ends. Instances go on without it.
// Errors: Conflict if another server holds the data folder or the listen address; as suitable.
func Run(ctx context.Context, cfg Config) error {
	if err := suitable(); err != nil {
		return err
	}
	s, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.close()
	listeners, err := listen(ctx, cfg)
	if err != nil {
		return err
	}
	stop := ctx
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.engine.Run(ctx, s.loop.Poke) })
	group.Go(func() error { return s.loop.Run(ctx) })
	group.Go(func() error { return s.scaler.Run(ctx) })
	group.Go(func() error { return s.counter.Run(ctx) })
	group.Go(func() error { return s.judge.Run(ctx) })
	group.Go(func() error { return s.collect(ctx) })
	group.Go(func() error { return s.keeper.Run(ctx) })
	group.Go(func() error { return s.scanner.Run(ctx) })
	group.Go(func() error { return s.follower.Run(ctx) })
	group.Go(func() error { return s.registrar.follower.Run(ctx) })
	handler := s.handler(cfg.Version)
	for _, l := range listeners {
		server := &http.Server{Handler: handler, ConnContext: api.ConnContext, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn)}
		if l.Addr().Network() != "unix" {
			everybody := cfg.Anonymous.rights(l.Addr())
			server.Handler, server.ConnContext = s.public(s.offering(everybody, s.behind(everybody))), nil
		}
		server.BaseContext = func(net.Listener) context.Context { return ctx }
		group.Go(func() error { return serve(ctx, server, l) })
	}
	notify(ctx, "READY=1")
	if cfg.Ready != nil {
		cfg.Ready()
	}
	if err := group.Wait(); err != nil && stop.Err() == nil {
		return err
	}
	return nil // being asked to stop is no failure
}

// serve answers on l until ctx ends, then lets open requests end for a moment.
func serve(ctx context.Context, server *http.Server, l net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if server.Shutdown(last) != nil {
		return server.Close()
	}
	return nil
}

// maxData is how many bytes a data folder's path may have: sun_path of unix(7) holds 107 and a zero, and the longest path of a socket in it is
// the ingress' control's.
const maxData = 107 - len("/ingress/0123456789abcdef.sock")

// listen opens the unix socket, for root alone, and the registry's address.
func listen(ctx context.Context, cfg Config) ([]net.Listener, error) {
	path := filepath.Join(cfg.Data, SocketName)
	if len(cfg.Data) > maxData {
		return nil, imx.Errorf(imx.Invalid, "the data folder's path %s has %d bytes, and may have %d: the sockets in it have paths of at most 107, which Linux allows", cfg.Data, len(cfg.Data), maxData).
			WithHint("choose a shorter --data")
	}
	// The data folder's lock is held, so a socket that is there belongs to a server that is gone.
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	unix, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, imx.Errorf(imx.Conflict, "can't listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, unix.Close())
	}
	address := cfg.Listen
	switch address {
	case "none":
		return []net.Listener{unix}, nil
	case "":
		address = DefaultListen
	}
	tcp, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		_ = unix.Close()
		return nil, imx.Errorf(imx.Conflict, "the registry can't listen on %s: %w", address, err).
			WithHint("choose another address with --listen, or --listen none for the unix socket alone")
	}
	return []net.Listener{unix, tcp}, nil
}

// notify tells systemd, where it started the server (sd_notify(3)).
func notify(ctx context.Context, state string) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unixgram", socket)
	if err != nil {
		return // systemd then waits for its own time limit and says so
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(state))
}
