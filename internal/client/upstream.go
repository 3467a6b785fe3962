package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"imx"
)

// ExportKeys returns the public keys by which another server believes this one.
func (c *Client) ExportKeys(ctx context.Context) (imx.KeyExport, error) {
	return read[imx.KeyExport](ctx, c, "/v1/keys/export", nil)
}

// Upstreams returns the servers whose releases may be taken over, sorted by environment.
func (c *Client) Upstreams(ctx context.Context) ([]imx.Upstream, error) {
	return read[[]imx.Upstream](ctx, c, "/v1/upstreams", nil)
}

// SetUpstream makes such a server known, or changes what is known of it.
func (c *Client) SetUpstream(ctx context.Context, req imx.UpstreamRequest) (imx.Upstream, error) {
	return short[imx.Upstream](ctx, c, call{http.MethodPost, "/v1/upstreams", req}, nil)
}

// Offer returns a signed statement of the plan of a service, or of the one that there is for "": a sigstore bundle that answers what was asked.
func (c *Client) Offer(ctx context.Context, service, asked string) (json.RawMessage, error) {
	return read[json.RawMessage](ctx, c, "/v1/offers", url.Values{"service": {service}, "asked": {asked}})
}

// RemoveUpstream ends such a server, and its keys. Errors: NotFound.
func (c *Client) RemoveUpstream(ctx context.Context, environment, reason string) error {
	_, err := short[struct{}](ctx, c, call{http.MethodDelete, "/v1/upstreams/" + url.PathEscape(environment), nil}, url.Values{"reason": {reason}})
	return err
}
