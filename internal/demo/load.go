package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// load sends requests to the shop until it is stopped: half of its workers keep their
// connections, half open a new one for each request, as different clients do.
type load struct {
	base string // "http://127.0.0.1:8080"

	sent, failed atomic.Int64
	mu           sync.Mutex
	first        string // the first failure, for a person
}

const (
	loadWorkers   = 8
	loadPerSecond = 400
	loadMost      = 400_000 // an end, whatever happens
	loadTimeout   = 10 * time.Second
)

// run returns when ctx ends or loadMost requests were sent.
func (l *load) run(ctx context.Context) {
	limit := rate.NewLimiter(loadPerSecond, loadWorkers)
	var workers sync.WaitGroup
	for i := range loadWorkers {
		workers.Go(func() {
			client := &http.Client{Timeout: loadTimeout, Transport: &http.Transport{DisableKeepAlives: i%2 == 0}}
			defer client.CloseIdleConnections()
			for n := 0; limit.Wait(ctx) == nil && l.sent.Load() < loadMost; n++ {
				path := "/"
				if n%2 == 1 {
					path = "/api/visit"
				}
				l.note(l.request(ctx, client, path))
			}
		})
	}
	workers.Wait()
}

// request sends one request. It isn't cut off when the load stops: a request counts only whole.
func (l *load) request(ctx context.Context, client *http.Client, path string) error {
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, l.base+path, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", path, resp.Status, strings.TrimSpace(string(body)))
	}
	return nil
}

func (l *load) note(err error) {
	l.sent.Add(1)
	if err == nil {
		return
	}
	l.failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == "" {
		l.first = err.Error()
	}
}

// page fetches the shop's front page.
func (l *load) page(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.base+"/", http.NoBody)
	if err != nil {
		return "", err
	}
	client := &http.Client{Timeout: loadTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return string(body), err
}
