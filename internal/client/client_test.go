// These tests exist because a command's user sees the client's errors first: no server, a socket that
// may not be opened, a server that goes away or isn't imx. The routes are tested in package api.
package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/client"
)

// serve answers on a new socket with a handler.
func serve(t *testing.T, handler http.HandlerFunc) *client.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	_ = server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return client.New(socket)
}

func version(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, `{"version":"7","more":"than known"}`)
}

func quiet(imx.Progress) {}

func wants(t *testing.T, err error, kind imx.Kind, message, hint string) {
	t.Helper()
	var e *imx.Error
	if !errors.As(err, &e) || e.Kind != kind || !strings.Contains(e.Message, message) || !strings.Contains(e.Hint, hint) {
		t.Errorf("got %v (%s; %s), want %s (%s; %s)", err, imx.KindOf(err), imx.AsError(err).Hint, message, kind, hint)
	}
}

func TestWithoutServerOneErrorTellsHowToStartOne(t *testing.T) {
	none := filepath.Join(t.TempDir(), "imx.sock")
	_, err := client.New(none).Version(t.Context())
	wants(t, err, imx.Unavailable, "no imx server answers at "+none, "start one with: imx server --data ")

	stale := filepath.Join(t.TempDir(), "imx.sock")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	_ = listener.Close()
	for _, err := range client.New(stale).Events(t.Context(), 0, false) {
		wants(t, err, imx.Unavailable, "no imx server answers at "+stale, "imx server")
	}
	_, err = client.New(filepath.Join(stale, "imx.sock")).Version(t.Context())
	wants(t, err, imx.Unavailable, "no imx server answers at ", "imx server")
}

func TestLongSocketPathWorks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has another way to a long path")
	}
	folder := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(folder) // so that the server, too, has a short path
	listener, err := net.Listen("unix", "imx.sock")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(version)}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	v, err := client.New(filepath.Join(folder, "imx.sock")).Version(t.Context())
	if err != nil || v.Version != "7" {
		t.Errorf("got %v, %v", v, err)
	}
	_, err = client.New(filepath.Join(folder, "other.sock")).Version(t.Context())
	wants(t, err, imx.Unavailable, "no imx server answers at "+folder, "imx server")
	_, err = client.New(filepath.Join(folder, strings.Repeat("x", 108))).Version(t.Context())
	wants(t, err, imx.Invalid, "is too long", "at most 80")
}

func TestServerThatGoesAwayIsNotMistakenForAnAnswer(t *testing.T) {
	lines := make(chan string, 1)
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, <-lines)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	for _, line := range []string{"", "{\"progress\":{\"step\":\"fetch\",\"status\":\"running\"}}\n", `{"resu`} {
		lines <- line
		_, err := c.Plan(t.Context(), imx.PlanRequest{}, quiet)
		wants(t, err, imx.Unavailable, "stopped in the middle of its answer", "look with imx status")
	}
	lines <- `{"index":0,"time":"2026-01-02T03:04:05Z","by":"imx","kind":"server-started","body":{}}` + "\n"
	n := 0
	for _, err := range c.Events(t.Context(), 0, false) {
		if n++; n == 2 {
			wants(t, err, imx.Unavailable, "stopped in the middle of its answer", "look with imx status")
		}
	}
	if n != 2 {
		t.Errorf("one event and one error make %d", n)
	}
}

func TestAnswerWithoutALastLineIsAnError(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"progress":{"step":"fetch"}}`)
	})
	_, err := c.Apply(t.Context(), imx.PlanRequest{}, quiet)
	wants(t, err, imx.Unavailable, "stopped in the middle of its answer", "look with imx status")
}

func TestStrangersAndNewerServersAreToldApart(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/version":
			version(w, r)
		case "/v1/status":
			http.Error(w, "<html>bad gateway</html>", http.StatusBadGateway)
		case "/v1/services":
			_, _ = io.WriteString(w, "<html>")
		case "/v1/log":
			_, _ = io.WriteString(w, `{"index":0,"time":"2026-01-02T03:04:05Z","by":"imx","kind":"moon-landed","body":{}}`)
		}
	})
	if v, err := c.Version(t.Context()); err != nil || v.Version != "7" {
		t.Errorf("a field that isn't known yet gave %v, %v", v, err)
	}
	_, err := c.Status(t.Context(), time.Time{})
	wants(t, err, imx.Internal, `answered 502 Bad Gateway in a form that this imx doesn't know: "<html>bad`, "imx version")
	_, err = c.Services(t.Context())
	wants(t, err, imx.Internal, "answered what this imx can't read", "imx version")
	for _, err := range c.Events(t.Context(), 0, false) {
		wants(t, err, imx.Invalid, `event kind "moon-landed" isn't known`, "or a newer one")
	}
}

func TestGivingUpIsSaidSo(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the person pressed Ctrl-C"))
	_, err := client.New(filepath.Join(t.TempDir(), "s")).Version(ctx)
	wants(t, err, imx.Unavailable, "the request was given up: the person pressed Ctrl-C", "")
}

func TestSocketOfAnotherUserIsRefused(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("needs root on Linux, to become somebody else")
	}
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	if err := os.Chmod(socket, 0o600); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		_, err = client.New(socket).Version(t.Context())
	})
	wants(t, err, imx.Refused, "you may not open "+socket, "run the command as root")
}

// A path of the server's other than an image's would answer about itself.
func TestWhatCannotBeAnImagesNameIsNotFound(t *testing.T) {
	c := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the server was asked") })
	for _, wanted := range []string{"", ".", "..", "../../etc/passwd", "web/", "/web", "a//b"} {
		_, err := c.Image(t.Context(), wanted)
		wants(t, err, imx.NotFound, "there is no image or service", "imx image list")
	}
}
