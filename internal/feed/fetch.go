package feed

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"imx"
	"imx/internal/vuln"
)

// stall is how long a transfer may bring nothing.
const stall = 30 * time.Second

// NewClient returns a client that follows redirects over http and https alone, so that no address can lead to files of
// this machine.
func NewClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: stall, DisableCompression: true, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) >= 10 || r.URL.Scheme != "http" && r.URL.Scheme != "https" {
				return fmt.Errorf("redirected to %q, which isn't followed", r.URL.Scheme)
			}
			return nil
		},
	}
}

// Fetch brings a feed from the URL that req.Source has, and keeps it as Put does. Errors: Invalid for what is no http
// or https URL; NotFound where it isn't there; Unavailable where nobody answers or the transfer breaks off; as Put.
func (s *Store) Fetch(ctx context.Context, client *http.Client, req imx.FeedRequest) (imx.Feed, error) {
	f, _, err := s.fetch(ctx, client, req, validators{})
	return f, err
}

// Refetch is Fetch for a feed that came from the URL before. It brings nothing, and returns the feed that there is, where
// the URL still has what was brought then. Errors: as Fetch; NotFound for a feed that there isn't.
func (s *Store) Refetch(ctx context.Context, client *http.Client, req imx.FeedRequest) (f imx.Feed, came bool, err error) {
	s.mu.Lock()
	known, err := s.find(req.Name)
	s.mu.Unlock()
	if err != nil {
		return imx.Feed{}, false, err
	}
	if known.Feed.Source != req.Source || req.Anyway {
		known.From = validators{}
	}
	f, came, err = s.fetch(ctx, client, req, known.From)
	if err == nil && !came {
		f = s.aged(known.Feed)
	}
	return f, came, err
}

// fetch brings a feed, unless its URL still has what the validators say.
func (s *Store) fetch(ctx context.Context, client *http.Client, req imx.FeedRequest, known validators) (f imx.Feed, came bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := get(ctx, client, req.Source, known)
	if err != nil {
		return imx.Feed{}, false, about(req.Name, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read from
	if resp.StatusCode == http.StatusNotModified {
		return imx.Feed{}, false, nil
	}
	from := validators{ETag: resp.Header.Get("ETag"), Modified: resp.Header.Get("Last-Modified")}
	if req.Date, err = http.ParseTime(from.Modified); err != nil {
		req.Date, from.Modified = time.Time{}, ""
	}
	body := newStalling(resp.Body, cancel)
	defer body.timer.Stop()
	f, err = s.put(ctx, delivery{req, from}, body)
	return f, err == nil, err
}

// get asks for what is at an address. The answer is OK, or NotModified if known has anything.
func get(ctx context.Context, client *http.Client, address string, known validators) (*http.Response, error) {
	if _, err := URLName(address); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, imx.Errorf(imx.Invalid, "%q is no URL: %w", address, err)
	}
	r.Header.Set("User-Agent", "imx")
	if known.ETag != "" {
		r.Header.Set("If-None-Match", known.ETag)
	}
	if known.Modified != "" {
		r.Header.Set("If-Modified-Since", known.Modified)
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, imx.Errorf(imx.Unavailable, "%w", err).WithHint("the feed that was there stays as it was")
	}
	switch {
	case resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusNotModified && known != validators{}:
		return resp, nil
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusGone:
		err = imx.Errorf(imx.NotFound, "%s answers %s", address, resp.Status)
	default:
		err = imx.Errorf(imx.Unavailable, "%s answers %s", address, resp.Status)
	}
	_ = resp.Body.Close()
	return nil, err
}

// stalling ends a transfer that brings nothing for too long. How long its reader takes between two reads, or after the
// last, doesn't count.
type stalling struct {
	r     io.Reader
	timer *time.Timer
}

func newStalling(r io.Reader, end context.CancelCauseFunc) *stalling {
	s := &stalling{r: r, timer: time.AfterFunc(stall, func() { end(fmt.Errorf("nothing came for %s", stall)) })}
	s.timer.Stop()
	return s
}

// Read implements io.Reader.
func (s *stalling) Read(p []byte) (int, error) {
	s.timer.Reset(stall)
	defer s.timer.Stop()
	return s.r.Read(p)
}

// URLName returns the name that a feed of a URL gets: its last part, without the ending. Errors: Invalid for what is no
// http or https URL.
func URLName(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", imx.Errorf(imx.Invalid, "%q is not an http or https URL", address)
	}
	return vuln.FeedName(u.Path), nil
}
