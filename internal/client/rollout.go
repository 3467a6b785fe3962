package client

import (
	"context"
	"net/http"

	"imx"
)

// History returns what the log has of a service's rollouts, the oldest first. Errors: NotFound.
func (c *Client) History(ctx context.Context, service string) ([]imx.Event, error) {
	return read[[]imx.Event](ctx, c, servicePath(service)+"/history", nil)
}

// Promote lets a rollout go on past the step that it is at, or past all of them, and returns the service as it was then, as the next
// three do. Errors: NotFound; Conflict where nothing is rolled out, or nothing waits.
func (c *Client) Promote(ctx context.Context, service string, req imx.PromoteRequest) (imx.Service, error) {
	return short[imx.Service](ctx, c, call{http.MethodPost, servicePath(service) + "/rollout/promote", req}, nil)
}

// Pause stops a rollout where it is, until it is promoted. Errors: NotFound; Conflict where nothing is rolled out.
func (c *Client) Pause(ctx context.Context, service, reason string) (imx.Service, error) {
	return short[imx.Service](ctx, c, call{http.MethodPost, servicePath(service) + "/rollout/pause", imx.ReasonRequest{Reason: reason}}, nil)
}

// Abort gives a rollout up. Errors: NotFound; Invalid without a reason; Conflict where nothing is rolled out.
func (c *Client) Abort(ctx context.Context, service, reason string) (imx.Service, error) {
	return short[imx.Service](ctx, c, call{http.MethodPost, servicePath(service) + "/rollout/abort", imx.ReasonRequest{Reason: reason}}, nil)
}

// ReleaseHold lets a service go on that is held. Errors: NotFound; Invalid without a reason; Conflict for one that isn't held.
func (c *Client) ReleaseHold(ctx context.Context, service, reason string) (imx.Service, error) {
	return short[imx.Service](ctx, c, call{http.MethodPost, servicePath(service) + "/hold/release", imx.ReasonRequest{Reason: reason}}, nil)
}

// Rollout returns how a service's rollout stands, with what is counted of its releases. Errors: NotFound.
func (c *Client) Rollout(ctx context.Context, service string) (imx.RolloutView, error) {
	return read[imx.RolloutView](ctx, c, servicePath(service)+"/rollout", nil)
}
