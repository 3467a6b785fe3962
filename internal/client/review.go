package client

import (
	"context"
	"net/http"
	"net/url"

	"imx"
)

// Candidates returns what waits to be released, and a number of those that were settled last; the newest first.
func (c *Client) Candidates(ctx context.Context) ([]imx.Candidate, error) {
	return read[[]imx.Candidate](ctx, c, "/v1/candidates", nil)
}

// Candidate returns a candidate with what it would change now. Errors: NotFound.
func (c *Client) Candidate(ctx context.Context, id string) (imx.CandidateView, error) {
	return read[imx.CandidateView](ctx, c, candidatePath(id), nil)
}

// Review sends a signed answer to a candidate. Errors: NotFound; Conflict; Refused for one that can't count.
func (c *Client) Review(ctx context.Context, id string, req imx.ReviewRequest) (imx.Candidate, error) {
	return short[imx.Candidate](ctx, c, call{http.MethodPost, candidatePath(id) + "/reviews", req}, nil)
}

// Release releases a candidate, and returns as Apply does. Errors: NotFound; Conflict; Refused.
func (c *Client) Release(ctx context.Context, id string, report imx.Report) (imx.ApplyResult, error) {
	return long[imx.ApplyResult](ctx, c, call{http.MethodPost, candidatePath(id) + "/release", nil}, report)
}

func candidatePath(id string) string { return "/v1/candidates/" + url.PathEscape(id) }

// Sources returns the repositories that are followed, sorted by name.
func (c *Client) Sources(ctx context.Context) ([]imx.SourceView, error) {
	return read[[]imx.SourceView](ctx, c, "/v1/sources", nil)
}

// Source returns one. Errors: NotFound.
func (c *Client) Source(ctx context.Context, name string) (imx.SourceView, error) {
	return read[imx.SourceView](ctx, c, sourcePath(name), nil)
}

// AddSource follows a repository, or changes how. Errors: Invalid.
func (c *Client) AddSource(ctx context.Context, req imx.SourceRequest) (imx.SourceView, error) {
	return short[imx.SourceView](ctx, c, call{http.MethodPost, "/v1/sources", req}, nil)
}

// RemoveSource stops following a repository. Errors: NotFound.
func (c *Client) RemoveSource(ctx context.Context, name string) error {
	_, err := short[struct{}](ctx, c, call{http.MethodDelete, sourcePath(name), nil}, nil)
	return err
}

// RefreshSource looks at a repository now. What is wrong with it is in the answer. Errors: NotFound.
func (c *Client) RefreshSource(ctx context.Context, name string, report imx.Report) (imx.SourceView, error) {
	return long[imx.SourceView](ctx, c, call{http.MethodPost, sourcePath(name) + "/refresh", nil}, report)
}

func sourcePath(name string) string { return "/v1/sources/" + url.PathEscape(name) }
