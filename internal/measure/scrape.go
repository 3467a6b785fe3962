package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"imx"
	"imx/internal/healthcheck"
)

// Bounds of one reading.
const (
	MaxText  = 4 << 20 // bytes of an instance's metrics
	Patience = 2 * time.Second
)

// page is where an instance's metrics are, and what of them is counted.
type page struct {
	measure   imx.Measure
	selectors rule
}

// scrape reads an instance's counters at its own address. Its errors are worded for people.
func scrape(ctx context.Context, p page, r imx.Release, in imx.Instance) (sample, error) {
	port := 0
	for _, known := range r.Spec.Ports {
		if known.Name == p.measure.Port {
			port = known.Container
		}
	}
	if port == 0 {
		return sample{}, fmt.Errorf("release %d has no port %q", r.Number, p.measure.Port) //nolint:err113 // its words are its meaning
	}
	ctx, cancel := context.WithTimeoutCause(ctx, Patience, fmt.Errorf("no answer within %s", Patience)) //nolint:err113 // its words are its meaning
	defer cancel()
	text, err := fetch(ctx, "http://"+netip.AddrPortFrom(in.Address, uint16(port)).String()+p.measure.Path)
	if err != nil {
		return sample{}, fmt.Errorf("GET %s on port %s: %w", p.measure.Path, strconv.Itoa(port), healthcheck.Plain(ctx, err))
	}
	return p.selectors.read(text)
}

// fetch gets a page of bounded size. No connection is kept: an instance that drains would wait for it.
func fetch(ctx context.Context, url string) ([]byte, error) {
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "text/plain;version=0.0.4")
	request.Header.Set("User-Agent", "imx-metrics")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, MaxText+1))
	err = errors.Join(err, response.Body.Close())
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode != http.StatusOK:
		return nil, errors.New(response.Status)
	case len(text) > MaxText:
		return nil, fmt.Errorf("it answers more than %d MiB", MaxText>>20) //nolint:err113 // its words are its meaning
	}
	return text, nil
}
