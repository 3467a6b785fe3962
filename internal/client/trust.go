package client

import (
	"context"
	"net/http"
	"net/url"

	"imx"
)

// Keys returns all keys whose signatures count, or did: imx's own first.
func (c *Client) Keys(ctx context.Context) ([]imx.Key, error) {
	return read[[]imx.Key](ctx, c, "/v1/keys", nil)
}

// RotateKey makes a new key of a role of imx's own. Errors: Invalid for a role without one.
func (c *Client) RotateKey(ctx context.Context, role imx.Role) (imx.Key, error) {
	return short[imx.Key](ctx, c, call{http.MethodPost, "/v1/keys/rotate", imx.RotateRequest{Role: role}}, nil)
}

// EndKey ends a key. Errors: NotFound; Conflict for one that ended before.
func (c *Client) EndKey(ctx context.Context, req imx.KeyEndRequest) (imx.Key, error) {
	return short[imx.Key](ctx, c, call{http.MethodPost, "/v1/keys/end", req}, nil)
}

// People returns who is known, with their keys, sorted by name.
func (c *Client) People(ctx context.Context) ([]imx.KnownPerson, error) {
	return read[[]imx.KnownPerson](ctx, c, "/v1/people", nil)
}

// SetPerson makes somebody known, or changes what is known of them.
func (c *Client) SetPerson(ctx context.Context, req imx.PersonRequest) (imx.KnownPerson, error) {
	return short[imx.KnownPerson](ctx, c, call{http.MethodPost, "/v1/people", req}, nil)
}

// RemovePerson ends what somebody may do, and their keys. Errors: NotFound.
func (c *Client) RemovePerson(ctx context.Context, name imx.Principal, reason string) error {
	_, err := short[struct{}](ctx, c, call{http.MethodDelete, "/v1/people/" + url.PathEscape(string(name)), nil}, url.Values{"reason": {reason}})
	return err
}
