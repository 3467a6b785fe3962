package cli_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// between PORT URL WORD stands at a port before a server until the script ends, and flips one bit of each answer whose path has the word.
func between(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: between PORT URL WORD")
	}
	to, err := url.Parse(args[1])
	ts.Check(err)
	l, err := net.Listen("tcp", "127.0.0.1:"+args[0])
	ts.Check(err)
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ModifyResponse: func(resp *http.Response) error {
			if !strings.Contains(resp.Request.URL.Path, args[2]) || resp.StatusCode != http.StatusOK {
				return nil
			}
			b, err := io.ReadAll(resp.Body)
			if err == nil && len(b) > 0 {
				b[len(b)/2] ^= 1
			}
			resp.Body = io.NopCloser(bytes.NewReader(b))
			resp.Header.Set("Content-Length", strconv.Itoa(len(b)))
			return err
		},
	}}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(l) }()
	ts.Defer(func() { _ = srv.Close(); <-ended })
}
