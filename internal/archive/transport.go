package archive

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"imx"
)

// pace is the least that a transfer has to bring: so many bytes in each stretch of time. A mirror that sends
// a byte now and then would else hold a build for as long as it likes.
type pace struct {
	every time.Duration
	bytes int64
}

// watch calls the transfer off when a stretch brought too little, until stop is called.
func (p pace) watch(came *atomic.Int64, cancel context.CancelCauseFunc) (stop func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(p.every)
		defer tick.Stop()
		for before := int64(0); ; {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			now := came.Load()
			if now-before < p.bytes {
				cancel(p.tooSlow(now - before))
				return
			}
			before = now
		}
	}()
	return func() { close(done) }
}

func (p pace) tooSlow(n int64) error {
	if n == 0 {
		return unavailable("nothing came for %s", p.every)
	}
	return unavailable("only %d bytes came in %s, wanted are %d at least", n, p.every, p.bytes)
}

// attempts is how often a transfer is begun that breaks off or isn't answered; apt's default too.
const attempts = 3

// request asks for one file of a mirror.
type request struct {
	root  *url.URL
	path  string    // below the root; a valid fs path
	size  int64     // exact size in bytes; -1 if unknown
	limit int64     // the most bytes that are read
	since time.Time // if set, only a newer file is wanted
}

// response is a file that is being transferred. Its reader fails when the file is cut, too long, or stalls.
type response struct {
	modified    time.Time // zero if the mirror doesn't say
	notModified bool      // the file isn't newer than asked for; there is no body
	*body
}

// newClient returns a client that follows redirects over http and https alone. What it brings is
// verified, so another host is no danger; another scheme could reach this machine's own files.
func newClient(given *http.Client) *http.Client {
	var c http.Client
	if given != nil {
		c = *given
	} else {
		c.Transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout:   10 * time.Second,
			MaxIdleConnsPerHost:   downloads,
			IdleConnTimeout:       30 * time.Second,
			DisableCompression:    true, // files are compressed, and their sizes are checked
			ForceAttemptHTTP2:     true,
			ExpectContinueTimeout: time.Second,
		}
	}
	c.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("redirects in a circle")
		}
		if r.URL.Scheme != "http" && r.URL.Scheme != "https" {
			return fmt.Errorf("redirects to an address of the kind %q, which isn't followed", r.URL.Scheme)
		}
		return nil
	}
	return &c
}

// get transfers a file and hands it to use, again if the transfer fails and not if use does.
// Errors: NotFound where the mirror doesn't have the file, Unavailable where it doesn't answer or
// breaks off, Refused for a size other than the wanted; use's errors pass.
func (a *Archive) get(ctx context.Context, req request, use func(*response) error) error {
	var err error
	for try := range attempts {
		if try > 0 && !wait(ctx, time.Duration(try)*100*time.Millisecond) {
			break
		}
		if err = a.once(ctx, req, use); imx.KindOf(err) != imx.Unavailable {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (a *Archive) once(ctx context.Context, req request, use func(*response) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	came := new(atomic.Int64)
	stop := a.pace.watch(came, cancel)
	defer stop()

	open := a.openWeb
	if req.root.Scheme == "file" {
		open = openFile
	}
	resp, err := open(ctx, req)
	if err != nil {
		return transferError(ctx, err)
	}
	if resp.body != nil {
		defer resp.Close()
		resp.came = came
		resp.explain = func(err error) error { return transferError(ctx, err) }
	}
	err = use(resp)
	if resp.body != nil && resp.failed != nil {
		return resp.failed // not what use made of it
	}
	return err
}

func (a *Archive) openWeb(ctx context.Context, req request) (*response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, req.root.JoinPath(req.path).String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "imx")
	if !req.since.IsZero() {
		r.Header.Set("If-Modified-Since", req.since.UTC().Format(http.TimeFormat))
	}
	resp, err := a.client.Do(r)
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		modified, _ := http.ParseTime(resp.Header.Get("Last-Modified")) // a missing or odd one is as good as none
		return &response{modified: modified, body: newBody(resp.Body, req)}, nil
	case resp.StatusCode == http.StatusNotModified && !req.since.IsZero():
		return &response{notModified: true}, resp.Body.Close()
	case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone:
		err = imx.Errorf(imx.NotFound, "the mirror doesn't have it").WithHint(hintNotThere)
	default:
		err = unavailable("the mirror answers %s", resp.Status)
	}
	_ = resp.Body.Close()
	return nil, err
}

func openFile(_ context.Context, req request) (*response, error) {
	f, err := os.Open(filepath.Join(req.root.Path, filepath.FromSlash(req.path)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, imx.Errorf(imx.NotFound, "the mirror doesn't have it").WithHint(hintNotThere)
	}
	if err != nil {
		return nil, err
	}
	return &response{body: newBody(f, req)}, nil
}

// body reads a file and holds it to its size.
type body struct {
	r       io.ReadCloser
	size    int64 // exact; -1 if unknown
	limit   int64
	n       int64
	came    *atomic.Int64 // bytes so far, for whoever watches the transfer's pace
	explain func(error) error
	failed  error // the transfer's failure, as Read returned it
}

func newBody(r io.ReadCloser, req request) *body {
	return &body{r: r, size: req.size, limit: req.limit, came: new(atomic.Int64)}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.failed != nil {
		return 0, b.failed
	}
	n, err := b.r.Read(p)
	b.n += int64(n)
	b.came.Add(int64(n))
	switch {
	case b.n > b.limit:
		err = imx.Errorf(imx.Refused, "has more than the %d bytes that it may have", b.limit)
	case errors.Is(err, io.EOF) && (b.size < 0 || b.size == b.n):
		return n, io.EOF
	case errors.Is(err, io.EOF):
		err = imx.Errorf(imx.Refused, "has %d bytes, wanted %d", b.n, b.size).WithHint(hintMismatch)
	case err != nil:
		err = fmt.Errorf("%w, after %d bytes", b.explain(err), b.n)
	}
	if err != nil {
		b.failed = err
		return 0, err
	}
	return n, nil
}

// Close ends the transfer.
func (b *body) Close() error { return b.r.Close() }

const (
	hintUnavailable = "check this machine's network, then try again; with an imx.lock and its packages already here no archive is needed"
	hintNotThere    = "look whether the suite and the mirror are the ones that are meant, or take another mirror"
	hintHostile     = "nothing of it was used: take another mirror, and tell those who keep the archive if theirs says the same"
	hintMismatch    = "the mirror may be in the middle of an update: try again in a few minutes; if that doesn't help, use another mirror"
)

func unavailable(format string, args ...any) *imx.Error {
	return imx.Errorf(imx.Unavailable, format, args...).WithHint(hintUnavailable)
}

// worse reports whether failure a of a mirror is to be told rather than failure b of another: first
// what was refused, then what failed on this machine, or has other keys, then a mirror that doesn't
// answer and may have the file, and last one that doesn't have it.
func worse(a, b error) bool {
	rank := func(err error) int {
		kinds := []imx.Kind{imx.NotFound, imx.Unavailable, imx.Internal, imx.Refused}
		i := slices.Index(kinds, imx.KindOf(err))
		if isForeign(err) || i < 0 {
			return slices.Index(kinds, imx.Internal)
		}
		return i
	}
	return rank(a) > rank(b)
}

// transferError turns a failed transfer into words. The original isn't wrapped: it names the mirror's host.
func transferError(ctx context.Context, err error) error {
	var known *imx.Error
	if cause := context.Cause(ctx); errors.As(cause, &known) {
		return known // nothing came for too long
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.As(err, &known) {
		return known
	}
	var dns *net.DNSError
	var certificate *x509.UnknownAuthorityError
	var hostname *x509.HostnameError
	var timeout net.Error
	var errno syscall.Errno
	var location *url.Error
	switch {
	case errors.As(err, &dns):
		return unavailable("the mirror's name can't be resolved")
	case errors.As(err, &certificate), errors.As(err, &hostname):
		return unavailable("the mirror's certificate isn't trusted here")
	case errors.As(err, &errno):
		return unavailable("the mirror can't be reached: %s", errno.Error())
	case errors.As(err, &timeout) && timeout.Timeout():
		return unavailable("the mirror doesn't answer in time")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return unavailable("the transfer broke off")
	case errors.As(err, &location) && strings.HasPrefix(location.Err.Error(), "redirects "):
		return imx.Errorf(imx.Refused, "the mirror %w", location.Err)
	}
	return unavailable("the transfer failed")
}
