// These tests exist because the API is public: other programs than the client meet its statuses,
// its error bodies and its refusals, and any bytes may come in.

package api_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/api"
)

// pair returns the two ends of a unix socket.
func pair(tb testing.TB) (server, peer net.Conn) {
	tb.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	ends := make([]net.Conn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		ends[i], err = net.FileConn(f)
		if err != nil {
			tb.Fatal(err)
		}
		_ = f.Close()
		tb.Cleanup(func() { _ = ends[i].Close() })
	}
	return ends[0], ends[1]
}

func TestStatusesAndErrorBodies(t *testing.T) {
	m := newMemory()
	server, _ := pair(t)
	ctx := api.ConnContext(t.Context(), server)
	handler := api.New(api.Config{Applier: m, Taker: m, Operator: m, Viewer: m, Logs: m, Freezer: m, Scanner: m, Registry: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "registry "+r.URL.Path) })})
	for _, x := range []struct {
		method, target, body string
		status               int
		says                 string
	}{
		{"GET", "/v1/version", "", 200, `"version":"0.1"`},
		{"HEAD", "/v1/version", "", 200, ""},
		{"GET", "/v2/", "", 200, "registry /v2/"},
		{"GET", "/v2/shop/../web/manifests/x", "", 200, "registry"},
		{"GET", "/", "", 404, "there is nothing at /"},
		{"GET", "/v1", "", 404, "there is nothing at /v1"},
		{"GET", "/v1//version", "", 404, "there is nothing at /v1//version"},
		{"GET", "/v1/version/", "", 404, "there is nothing at /v1/version/"},
		{"PUT", "/v1/status", "", 405, "/v1/status takes GET, not PUT"},
		{"POST", "/v1/services", "", 405, "/v1/services takes DELETE and GET, not POST"},
		{"GET", "/v1/status?when=now", "", 400, `GET /v1/status has no query parameter \"when\"`},
		{"GET", "/v1/status?at=yesterday", "", 400, `at=\"yesterday\" is not a time`},
		{"GET", "/v1/status?%zz", "", 400, "the query can't be read"},
		{"GET", "/v1/log?from=-1", "", 400, `from=\"-1\" is not a whole number from 0 on`},
		{"GET", "/v1/log?follow=yes", "", 400, `follow=\"yes\" is neither true nor false`},
		{"GET", "/v1/log?from=1000", "", 200, ""},
		{"POST", "/v1/plan", "", 400, "the request's body can't be read: EOF"},
		{"POST", "/v1/plan", `{"plate":{}}`, 400, `unknown field \"plate\"`},
		{"POST", "/v1/plan", `{} {}`, 400, "something follows its end"},
		{"POST", "/v1/plan", `{"lock":{"images":[{"name":7}]}}`, 400, "cannot unmarshal number"},
		{"POST", "/v1/plan", `{"template":{"images":[{"files":[{"digest":"md5:0"}]}]}}`, 400, "is not a digest"},
		{"POST", "/v1/plan", `{"template":{"source":{"folder":"` + strings.Repeat("x", api.MaxBody) + `"}}}`, 413, "larger than the 16.0 MiB"},
		{"POST", "/v1/promote", `{"from":"dev"}`, 404, `no upstream \"dev\" is known`},
		{"POST", "/v1/promote", `{"from":"staging","account":"mallory"}`, 400, `unknown field \"account\"`},
		{"POST", "/v1/promote", `{"from":"staging","services":["web"]}`, 200, `"origin":{"environment":"staging"`},
		{"POST", "/v1/archives/freeze", `{"name":"shop"}`, 404, "there is no imx.lock"},
		{"GET", "/v1/archives", "", 200, `"frozen":null`},
		{"POST", "/v1/services/web/scale", `{}`, 400, "scaling needs a number"},
		{"POST", "/v1/services/web/scale", `{"replicas":1}`, 404, "there is no service"},
		{"POST", "/v1/services/web/rollback", `{"to":-1}`, 400, "-1 is not a release's number"},
		{"DELETE", "/v1/services", "", 400, "which services shall be destroyed"},
		{"DELETE", "/v1/services/web?volumes=1", "", 400, "neither true nor false"},
		{"DELETE", "/v1/services/web", "", 404, "there is no service"},
		{"GET", "/v1/instances/a%2Fb/why", "", 404, `there is no instance \"a/b\"`},
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(ctx, x.method, x.target, strings.NewReader(x.body)))
		if w.Code != x.status || !strings.Contains(w.Body.String(), x.says) {
			t.Errorf("%s %s %.40s: got %d %s, want %d %s", x.method, x.target, x.body, w.Code, w.Body, x.status, x.says)
		}
		if allow := w.Header().Get("Allow"); (allow != "") != (x.status == http.StatusMethodNotAllowed) {
			t.Errorf("%s %s: Allow is %q", x.method, x.target, allow)
		}
	}
}

// Whoever comes in by another way than the unix socket is nobody.
func TestCallerThatTheKernelDoesNotNameIsRefused(t *testing.T) {
	m := newMemory()
	handler := api.New(api.Config{Applier: m, Operator: m, Viewer: m, Logs: m, Freezer: m, Scanner: m})
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/version", http.NoBody))
	if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "can't tell who is asking") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	other, _ := net.Pipe()
	if ctx := api.ConnContext(t.Context(), other); ctx != t.Context() {
		t.Error("a pipe got a caller")
	}
}

func FuzzRequests(f *testing.F) {
	f.Add("POST", "/v1/plan", `{"template":{"services":[{"name":"web"}]},"lock":null,"update":true}`)
	f.Add("POST", "/v1/apply", `{"template":{"images":[{"name":"a","files":[{"path":"/x","mode":"0644","content":"eA=="}]}]}}`)
	f.Add("POST", "/v1/services/web/scale", `{"replicas":3}`)
	f.Add("DELETE", "/v1/services?service=web&volumes=true", "")
	f.Add("GET", "/v1/log?from=0&follow=false", "")
	f.Add("GET", "/v1/instances/x/logs?tail=1&times=true", "")
	f.Add("CONNECT", "/v1/../v1", "\x00")
	server, _ := pair(f)
	f.Fuzz(func(t *testing.T, method, target, body string) {
		at, err := url.ParseRequestURI(target)
		if err != nil || strings.Contains(target, "follow=true") || strings.HasPrefix(at.Path, "/v2/") {
			return
		}
		m := newMemory()
		ctx, cancel := context.WithCancel(api.ConnContext(t.Context(), server))
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, method, "http://imx", io.NopCloser(strings.NewReader(body)))
		if err != nil {
			return
		}
		r.URL = at
		w := httptest.NewRecorder()
		api.New(api.Config{Applier: m, Operator: m, Viewer: m, Logs: m, Freezer: m, Scanner: m}).ServeHTTP(w, r)
		if w.Code < http.StatusBadRequest {
			return
		}
		var e imx.Error
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Kind == "" || e.Message == "" {
			t.Errorf("%d with the body %q", w.Code, w.Body)
		}
		if e.Kind == imx.Internal && !strings.Contains(body, "broken") {
			t.Errorf("%s %s %q failed: %v", method, target, body, e)
		}
	})
}
