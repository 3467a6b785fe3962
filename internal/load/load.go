// Package load sends requests to one address at a steady rate and counts those that weren't answered well: what a service's
// users would notice. It knows nothing of what answers.
package load

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Config says what is sent.
type Config struct {
	Base      string        // "http://127.0.0.1:8080"
	Paths     []string      // asked for in turn by each worker; none means "/"
	Workers   int           // half of them keep their connections, half open a new one for each request; 0 means 8
	PerSecond float64       // of all of them; 0 means 400
	Most      int64         // an end, whatever happens; 0 means 400,000
	Timeout   time.Duration // of one request; 0 means 10 s
}

// Load is one run of requests.
type Load struct {
	cfg    Config
	mu     sync.Mutex
	counts Counts
}

// Counts are what became of the requests.
type Counts struct {
	Sent    int64
	Refused int64  // answered with another status than 200
	Lost    int64  // not answered whole
	First   string // the first that was either, and when it ended, for a person
	// FirstLost is the first that wasn't answered whole.
	FirstLost string
}

// Since is what became of those that were sent after an earlier count; one that was under way then counts to it when it ends.
func (c Counts) Since(earlier Counts) Counts {
	c.Sent, c.Refused, c.Lost = c.Sent-earlier.Sent, c.Refused-earlier.Refused, c.Lost-earlier.Lost
	return c
}

// Failed is how many weren't answered well.
func (c Counts) Failed() int64 { return c.Refused + c.Lost }

// New returns a Load. It starts nothing.
func New(cfg Config) *Load {
	if len(cfg.Paths) == 0 {
		cfg.Paths = []string{"/"}
	}
	if cfg.Workers == 0 {
		cfg.Workers = 8
	}
	if cfg.PerSecond == 0 {
		cfg.PerSecond = 400
	}
	if cfg.Most == 0 {
		cfg.Most = 400_000
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	return &Load{cfg: cfg}
}

// Counts is what became of the requests so far.
func (l *Load) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// Run sends until ctx ends or Most requests were sent. A request isn't cut off when the load stops: it counts only whole.
func (l *Load) Run(ctx context.Context) {
	limit := rate.NewLimiter(rate.Limit(l.cfg.PerSecond), l.cfg.Workers)
	var workers sync.WaitGroup
	for i := range l.cfg.Workers {
		workers.Go(func() {
			client := &http.Client{Timeout: l.cfg.Timeout, Transport: &http.Transport{DisableKeepAlives: i%2 == 0}}
			defer client.CloseIdleConnections()
			for n := 0; limit.Wait(ctx) == nil && l.take(); n++ {
				l.request(ctx, client, l.cfg.Paths[n%len(l.cfg.Paths)])
			}
		})
	}
	workers.Wait()
}

// take counts one more request, unless there were enough.
func (l *Load) take() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts.Sent >= l.cfg.Most {
		return false
	}
	l.counts.Sent++
	return true
}

func (l *Load) request(ctx context.Context, client *http.Client, path string) {
	status, err := get(context.WithoutCancel(ctx), client, l.cfg.Base+path)
	switch {
	case err != nil:
		l.note(fmt.Sprintf("GET %s: %v", path, err), &l.counts.Lost, &l.counts.FirstLost)
	case status != "":
		l.note(fmt.Sprintf("GET %s: %s", path, status), &l.counts.Refused)
	}
}

func (l *Load) note(what string, count *int64, firsts ...*string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*count++
	what = time.Now().UTC().Format("15:04:05.000Z ") + what
	for _, first := range append(firsts, &l.counts.First) {
		if *first == "" {
			*first = what
		}
	}
}

// get asks once. It returns "" for an answer with status 200, or else the status and what was said.
func get(ctx context.Context, client *http.Client, url string) (status string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil || response.StatusCode == http.StatusOK {
		return "", err
	}
	return response.Status + ": " + strings.TrimSpace(string(body)), nil
}
