package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"imx"
)

// Scan returns which vulnerabilities images have. The report gets the progress.
func (c *Client) Scan(ctx context.Context, req imx.ScanRequest, report imx.Report) (imx.ScanResult, error) {
	return long[imx.ScanResult](ctx, c, call{http.MethodPost, "/v1/scan", req}, report)
}

// Excuse states that vulnerabilities don't affect an image, and returns all that was stated of it as an OpenVEX
// document. Naming no vulnerability states nothing.
func (c *Client) Excuse(ctx context.Context, image string, req imx.VEXRequest) (json.RawMessage, error) {
	return short[json.RawMessage](ctx, c, call{http.MethodPost, "/v1/images/" + url.PathEscape(image) + "/vex", req}, nil)
}

// Feeds returns the feeds of vulnerabilities, sorted by name: those of now for the zero Time, else those of that moment.
func (c *Client) Feeds(ctx context.Context, at time.Time) ([]imx.Feed, error) {
	return read[[]imx.Feed](ctx, c, "/v1/feeds", moment(at))
}

// AddFeed sends a feed, of any length.
func (c *Client) AddFeed(ctx context.Context, req imx.FeedRequest, r io.Reader) (imx.Feed, error) {
	query := url.Values{"source": {req.Source}, "anyway": {strconv.FormatBool(req.Anyway)}}
	if req.Format != "" {
		query.Set("format", string(req.Format))
	}
	if !req.Date.IsZero() {
		query.Set("date", req.Date.UTC().Format(time.RFC3339))
	}
	return short[imx.Feed](ctx, c, call{http.MethodPut, feedPath(req.Name), r}, query)
}

// RefreshFeeds fetches feeds anew, and returns those that were brought.
func (c *Client) RefreshFeeds(ctx context.Context, req imx.RefreshRequest, report imx.Report) ([]imx.Feed, error) {
	return long[[]imx.Feed](ctx, c, call{http.MethodPost, "/v1/feeds", req}, report)
}

// RemoveFeed forgets a feed.
func (c *Client) RemoveFeed(ctx context.Context, name string) error {
	_, err := short[struct{}](ctx, c, call{http.MethodDelete, feedPath(name), nil}, nil)
	return err
}

func feedPath(name string) string { return "/v1/feeds/" + url.PathEscape(name) }
