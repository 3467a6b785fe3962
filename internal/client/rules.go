package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"imx"
)

// Tokens returns the registry's tokens, the newest first.
func (c *Client) Tokens(ctx context.Context) ([]imx.RegistryToken, error) {
	return read[[]imx.RegistryToken](ctx, c, "/v1/registry/tokens", nil)
}

// MakeToken makes a token for the registry. Nobody can ask for its secret again.
func (c *Client) MakeToken(ctx context.Context, req imx.TokenRequest) (imx.NewToken, error) {
	return short[imx.NewToken](ctx, c, call{http.MethodPost, "/v1/registry/tokens", req}, nil)
}

// RevokeToken ends a token, by its id.
func (c *Client) RevokeToken(ctx context.Context, id string) (imx.RegistryToken, error) {
	return short[imx.RegistryToken](ctx, c, call{http.MethodDelete, "/v1/registry/tokens/" + url.PathEscape(id), nil}, nil)
}

// Quotas returns the registry's quotas, and how much of each is used.
func (c *Client) Quotas(ctx context.Context) ([]imx.RegistryUse, error) {
	return read[[]imx.RegistryUse](ctx, c, "/v1/registry/quotas", nil)
}

// SetQuota bounds what may be pushed, and returns all quotas.
func (c *Client) SetQuota(ctx context.Context, q imx.RegistryQuota) ([]imx.RegistryUse, error) {
	return short[[]imx.RegistryUse](ctx, c, call{http.MethodPut, "/v1/registry/quotas", q}, nil)
}

// Pulls returns the registry's audit trail from a time on, all that is kept for the zero Time.
func (c *Client) Pulls(ctx context.Context, since time.Time) ([]imx.RegistryPull, error) {
	query := url.Values{}
	if !since.IsZero() {
		query.Set("since", since.UTC().Format(time.RFC3339))
	}
	return read[[]imx.RegistryPull](ctx, c, "/v1/registry/audit", query)
}

// Mirrors returns the rules by which repositories are copied, and how each did.
func (c *Client) Mirrors(ctx context.Context) ([]imx.MirrorStatus, error) {
	return read[[]imx.MirrorStatus](ctx, c, "/v1/registry/mirrors", nil)
}

// SetMirror begins to copy repositories, and returns all such rules.
func (c *Client) SetMirror(ctx context.Context, m imx.RegistryMirror) ([]imx.MirrorStatus, error) {
	return short[[]imx.MirrorStatus](ctx, c, call{http.MethodPut, "/v1/registry/mirrors", m}, nil)
}

// RemoveMirror ends such a rule.
func (c *Client) RemoveMirror(ctx context.Context, name string) error {
	_, err := short[struct{}](ctx, c, call{http.MethodDelete, "/v1/registry/mirrors/" + url.PathEscape(name), nil}, nil)
	return err
}

// CheckRegistry has the server read every byte of its registry. Damage isn't an error: the RegistryCheck tells of it.
func (c *Client) CheckRegistry(ctx context.Context, req imx.RegistryCheckRequest, report imx.Report) (imx.RegistryCheck, error) {
	return long[imx.RegistryCheck](ctx, c, call{http.MethodPost, "/v1/registry/fsck", req}, report)
}

// Transport makes requests of the server's own distribution API, whatever host they name.
func (c *Client) Transport() http.RoundTripper { return c.http.Transport }
