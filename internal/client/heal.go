package client

import (
	"context"
	"net/http"
	"net/url"

	"imx"
)

// Taint has an instance replaced though it runs. Errors: NotFound; Invalid without a reason; Conflict for one that stops or has ended.
func (c *Client) Taint(ctx context.Context, instance, reason string) (imx.Instance, error) {
	return c.ofInstance(ctx, instance, "taint", reason)
}

// Untaint takes that back. Errors: NotFound; Conflict for one that isn't tainted, or stops already.
func (c *Client) Untaint(ctx context.Context, instance, reason string) (imx.Instance, error) {
	return c.ofInstance(ctx, instance, "untaint", reason)
}

func (c *Client) ofInstance(ctx context.Context, instance, what, reason string) (imx.Instance, error) {
	path := "/v1/instances/" + url.PathEscape(instance) + "/" + what
	return short[imx.Instance](ctx, c, call{http.MethodPost, path, imx.ReasonRequest{Reason: reason}}, nil)
}
