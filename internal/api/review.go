package api

import (
	"context"
	"net/http"

	"imx"
)

// Desk shows what waits to be released, and takes people's answers to it.
type Desk interface {
	// Candidates lists them, the newest first.
	Candidates(ctx context.Context) ([]imx.Candidate, error)
	// Candidate returns one with what it would change now. Errors: NotFound.
	Candidate(ctx context.Context, id string) (imx.CandidateView, error)
	// Review takes a signed answer. Errors: NotFound; Conflict; Refused for one that can't count.
	Review(ctx context.Context, by imx.Principal, id string, req imx.ReviewRequest) (imx.Candidate, error)
}

// Sources are the repositories that are followed.
type Sources interface {
	Sources(ctx context.Context) ([]imx.SourceView, error)
	Source(ctx context.Context, name string) (imx.SourceView, error)
	Add(ctx context.Context, by imx.Principal, req imx.SourceRequest) (imx.SourceView, error)
	Remove(ctx context.Context, by imx.Principal, name string) error
	// Refresh looks at one now. What is wrong with it is in the answer.
	Refresh(ctx context.Context, by imx.Principal, name string, report imx.Report) (imx.SourceView, error)
}

func reviewRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/v1/candidates", answer: "list of Candidate", form: formJSON, serve: candidates,
			says: "What waits to be released, and a number of those that were settled last; the newest first.",
		},
		{
			method: http.MethodGet, path: "/v1/candidates/{candidate}", answer: "CandidateView", form: formJSON, serve: candidate,
			says: "A candidate; of an open one also what releasing it would change now, and what the policy says of it.",
		},
		{
			method: http.MethodPost, path: "/v1/candidates/{candidate}/reviews", body: "ReviewRequest", answer: "Candidate", form: formJSON, serve: reviewCandidate,
			says: "A person's answer to a candidate: a sigstore bundle over an in-toto statement with a `ReviewPredicate`, about the plan " +
				"and each image, signed with the person's SSH key. A no ends the candidate. docs/review.md describes it.",
		},
		{
			method: http.MethodPost, path: "/v1/candidates/{candidate}/release", answer: "ApplyResult", form: formUpdates, serve: releaseCandidate,
			says: "Releases a candidate as it was planned, if the policy admits it now, and waits for the rollouts. Conflict if it isn't open, " +
				"or if services stand elsewhere than when it was made.",
		},
		{
			method: http.MethodGet, path: "/v1/sources", answer: "list of SourceView", form: formJSON, serve: sources,
			says: "The repositories that are followed, sorted by name.",
		},
		{
			method: http.MethodPost, path: "/v1/sources", body: "SourceRequest", answer: "SourceView", form: formJSON, serve: addSource,
			says: "Follows a repository, or changes how. Without a secret, one that the source has stays, unless unhook takes it away.",
		},
		{
			method: http.MethodGet, path: "/v1/sources/{source}", answer: "SourceView", form: formJSON, serve: oneSource,
			says: "A source, and what became of its newest commit.",
		},
		{
			method: http.MethodDelete, path: "/v1/sources/{source}", answer: "{}", form: formJSON, serve: removeSource,
			says: "Stops following a repository. Its candidates stay.",
		},
		{
			method: http.MethodPost, path: "/v1/sources/{source}/refresh", answer: "SourceView", form: formUpdates, serve: refreshSource,
			says: "Looks at a repository now, also at a commit that failed before. What is wrong is told by the result, not by the status.",
		},
	}
}

func candidates(s *server, r *request) error { return answer(r, s.Desk.Candidates) }

func candidate(s *server, r *request) error {
	return answer(r, func(ctx context.Context) (imx.CandidateView, error) {
		return s.Desk.Candidate(ctx, r.PathValue("candidate"))
	})
}

func reviewCandidate(s *server, r *request) error {
	return asked(r, func(ctx context.Context, by imx.Principal, req imx.ReviewRequest) (imx.Candidate, error) {
		return s.Desk.Review(ctx, by, r.PathValue("candidate"), req)
	})
}

func releaseCandidate(s *server, r *request) error {
	return stream(r, func(ctx context.Context, report imx.Report) (imx.ApplyResult, error) {
		return s.Applier.Release(ctx, r.by, r.PathValue("candidate"), report)
	})
}

func sources(s *server, r *request) error { return answer(r, s.Sources.Sources) }

func addSource(s *server, r *request) error { return asked(r, s.Sources.Add) }

func oneSource(s *server, r *request) error {
	return answer(r, func(ctx context.Context) (imx.SourceView, error) { return s.Sources.Source(ctx, r.PathValue("source")) })
}

func removeSource(s *server, r *request) error {
	return answer(r, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.Sources.Remove(ctx, r.by, r.PathValue("source"))
	})
}

func refreshSource(s *server, r *request) error {
	return stream(r, func(ctx context.Context, report imx.Report) (imx.SourceView, error) {
		return s.Sources.Refresh(ctx, r.by, r.PathValue("source"), report)
	})
}
