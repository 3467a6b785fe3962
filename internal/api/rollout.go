package api

import (
	"context"
	"net/http"
	"strings"

	"imx"
)

// Rollouts takes what people say of rollouts that are under way, and of holds. Errors: NotFound for an unknown service;
// Conflict where nothing is rolled out, or held.
type Rollouts interface {
	// PromoteRollout goes on past the step that it is at, or past all of them.
	PromoteRollout(by imx.Principal, service string, req imx.PromoteRequest) (imx.Service, error)
	// PauseRollout stops it where it is, until somebody promotes it.
	PauseRollout(by imx.Principal, service, reason string) (imx.Service, error)
	// AbortRollout gives it up.
	AbortRollout(by imx.Principal, service, reason string) (imx.Service, error)
	// ReleaseHold lets a service go on that was held.
	ReleaseHold(by imx.Principal, service, reason string) (imx.Service, error)
}

func rolloutRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/v1/services/{service}/rollout", answer: "RolloutView", form: formJSON, serve: rollout,
			says: "How a service's rollout stands: its step, its shares, what was counted of both releases, and what that comes to. Of a service " +
				"that nothing is rolled out of, what is counted while its current release may still be gone back from.",
		},
		{
			method: http.MethodGet, path: "/v1/services/{service}/history", answer: "list of Event", form: formJSON, serve: history,
			says: "What the log has of a service's rollouts, the oldest first: releases that were made, steps and why they were taken, what they " +
				"waited for, what people said, ends, rollbacks and holds.",
		},
		{
			method: http.MethodPost, path: "/v1/services/{service}/rollout/promote", body: "PromoteRequest", answer: "Service", form: formJSON, serve: promote,
			says: "Goes on past the step that the service's rollout is at, or past all of them. Answers with the service as it was then, as the next three do.",
		},
		{
			method: http.MethodPost, path: "/v1/services/{service}/rollout/pause", body: "ReasonRequest", answer: "Service", form: formJSON, serve: pause,
			says: "Stops the service's rollout where it is, until it is promoted. A reason isn't needed.",
		},
		{
			method: http.MethodPost, path: "/v1/services/{service}/rollout/abort", body: "ReasonRequest", answer: "Service", form: formJSON, serve: abort,
			says: "Gives the service's rollout up: the current release gets all the traffic back at once.",
		},
		{
			method: http.MethodPost, path: "/v1/services/{service}/hold/release", body: "ReasonRequest", answer: "Service", form: formJSON, serve: releaseHold,
			says: "Lets a service go on that was rolled back and is held there.",
		},
	}
}

func rollout(s *server, r *request) error {
	return answer(r, func(ctx context.Context) (imx.RolloutView, error) {
		return s.Viewer.Rollout(ctx, r.PathValue("service"))
	})
}

func history(s *server, r *request) error {
	return answer(r, func(ctx context.Context) ([]imx.Event, error) { return s.Viewer.History(ctx, r.PathValue("service")) })
}

func promote(s *server, r *request) error {
	return asked(r, func(_ context.Context, by imx.Principal, req imx.PromoteRequest) (imx.Service, error) {
		return s.Rollouts.PromoteRollout(by, r.PathValue("service"), req)
	})
}

func pause(s *server, r *request) error {
	return asked(r, func(_ context.Context, by imx.Principal, req imx.ReasonRequest) (imx.Service, error) {
		return s.Rollouts.PauseRollout(by, r.PathValue("service"), req.Reason)
	})
}

func abort(s *server, r *request) error { return reasoned(r, s.Rollouts.AbortRollout) }

func releaseHold(s *server, r *request) error { return reasoned(r, s.Rollouts.ReleaseHold) }

// reasoned does what isn't done without a reason. Errors: Invalid.
func reasoned(r *request, do func(by imx.Principal, service, reason string) (imx.Service, error)) error {
	return asked(r, func(_ context.Context, by imx.Principal, req imx.ReasonRequest) (imx.Service, error) {
		reason := strings.TrimSpace(req.Reason)
		if reason == "" {
			return imx.Service{}, imx.Errorf(imx.Invalid, "this needs a reason").WithHint("say why: the log keeps it")
		}
		return do(by, r.PathValue("service"), reason)
	})
}
