package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"imx"
)

// Ingresses returns where requests come in from outside, sorted by name.
func (c *Client) Ingresses(ctx context.Context) ([]imx.IngressView, error) {
	return read[[]imx.IngressView](ctx, c, "/v1/ingresses", nil)
}

// RemoveIngress takes an ingress down. Errors: NotFound; Conflict while a service has a route of it.
func (c *Client) RemoveIngress(ctx context.Context, name string) error {
	_, err := short[struct{}](ctx, c, call{http.MethodDelete, "/v1/ingresses/" + url.PathEscape(name), nil}, nil)
	return err
}

// RestartIngress has another process answer, and returns before it does. NotFound without an ingress.
func (c *Client) RestartIngress(ctx context.Context) error {
	_, err := short[struct{}](ctx, c, call{http.MethodPost, "/v1/ingress/restart", nil}, nil)
	return err
}

// AccessLog returns the access log of the ingresses: lines of JSON. The caller closes the reader.
func (c *Client) AccessLog(ctx context.Context, o imx.LogOptions) (io.ReadCloser, error) {
	query := url.Values{"follow": {strconv.FormatBool(o.Follow)}, "tail": {strconv.Itoa(o.Tail)}}
	lines, err := c.send(ctx, call{http.MethodGet, "/v1/ingress/logs", nil}, query)
	if err != nil {
		return nil, err
	}
	return logReader{lines, c}, nil
}
