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
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := get(ctx, client, req.Source)
	if err != nil {
		return imx.Feed{}, about(req.Name, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read from
	if req.Date, err = http.ParseTime(resp.Header.Get("Last-Modified")); err != nil {
		req.Date = time.Time{}
	}
	body := &stalling{r: resp.Body, timer: time.AfterFunc(stall, func() { cancel(fmt.Errorf("nothing came for %s", stall)) })}
	defer body.timer.Stop()
	return s.Put(ctx, req, body)
}

func get(ctx context.Context, client *http.Client, address string) (*http.Response, error) {
	if _, err := URLName(address); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, imx.Errorf(imx.Invalid, "%q is no URL: %w", address, err)
	}
	r.Header.Set("User-Agent", "imx")
	resp, err := client.Do(r)
	if err != nil {
		return nil, imx.Errorf(imx.Unavailable, "%w", err).WithHint("the feed that was there stays as it was")
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return resp, nil
	case http.StatusNotFound, http.StatusGone:
		err = imx.Errorf(imx.NotFound, "%s answers %s", address, resp.Status)
	default:
		err = imx.Errorf(imx.Unavailable, "%s answers %s", address, resp.Status)
	}
	_ = resp.Body.Close()
	return nil, err
}

// stalling puts off the end of a transfer with everything that comes.
type stalling struct {
	r     io.Reader
	timer *time.Timer
}

// Read implements io.Reader.
func (s *stalling) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.timer.Reset(stall)
	return n, err
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
