package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"imx"
)

// Verify returns the verdict on an image, a service or an instance, and what it stands on.
func (c *Client) Verify(ctx context.Context, q imx.VerifyQuery) (imx.Verification, error) {
	query := url.Values{"detail": {strconv.FormatBool(q.Detail)}}
	if q.Purpose != "" {
		query.Set("purpose", string(q.Purpose))
	}
	return read[imx.Verification](ctx, c, "/v1/verify/"+url.PathEscape(q.Subject), query)
}

// Policy returns an environment's policy, the server's own for "".
func (c *Client) Policy(ctx context.Context, environment string) (imx.PolicyView, error) {
	query := url.Values{}
	if environment != "" {
		query.Set("environment", environment)
	}
	return read[imx.PolicyView](ctx, c, "/v1/policy", query)
}

// SetPolicy gives an environment a policy, or says what that would change.
func (c *Client) SetPolicy(ctx context.Context, req imx.PolicyRequest) (imx.PolicyView, error) {
	return short[imx.PolicyView](ctx, c, call{http.MethodPut, "/v1/policy", req}, nil)
}

// Exceptions returns those that haven't ended.
func (c *Client) Exceptions(ctx context.Context) ([]imx.Exception, error) {
	return read[[]imx.Exception](ctx, c, "/v1/exceptions", nil)
}

// Except excuses a condition for a while.
func (c *Client) Except(ctx context.Context, x imx.Exception) (imx.Exception, error) {
	return short[imx.Exception](ctx, c, call{http.MethodPost, "/v1/exceptions", x}, nil)
}

// EndException ends an exception before its time.
func (c *Client) EndException(ctx context.Context, id, reason string) error {
	_, err := short[struct{}](ctx, c, call{http.MethodPost, "/v1/exceptions/" + url.PathEscape(id) + "/end", imx.EndRequest{Reason: reason}}, nil)
	return err
}
