package load_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"imx/internal/load"
)

func TestWhatIsLostAndWhatIsRefusedAreCountedApart(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n := asked.Add(1); {
		case r.URL.Path == "/other": // counts only
		case n%10 == 0:
			http.Error(w, "no", http.StatusServiceUnavailable)
		case n%10 == 1:
			w.Header().Set("Content-Length", "9") // and closes the connection after less
			_, _ = w.Write([]byte("part"))
		}
	}))
	defer server.Close()
	l := load.New(load.Config{Base: server.URL, Paths: []string{"/", "/other"}, PerSecond: 1e6, Most: 400})
	l.Run(t.Context())
	c := l.Counts()
	if c.Sent != 400 || asked.Load() < 400 || c.Lost == 0 || c.Refused == 0 || c.Failed() != c.Lost+c.Refused || c.Failed() > 100 {
		t.Errorf("%+v of %d that came", c, asked.Load())
	}
	if !strings.Contains(c.First, "Z GET /: ") {
		t.Errorf("the first that failed: %s", c.First)
	}
}
