package api

import (
	"context"
	"net/http"

	"imx"
)

func verdictRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/v1/verify/{subject}", answer: "Verification", form: formJSON, serve: verifySubject,
			query: []parameter{
				{"purpose", "`start` (an instance of a release that was admitted is started: the default for a service or an instance) or `release`"},
				{"detail", "`true` adds the values that each condition looked at, and the document that all of them saw"},
			},
			says: "Whether an image, a service's current release or an instance's may run: each condition of the environment's policy, and the evidence " +
				"that it stands on. That it may not is told by the answer, not by the status.",
		},
		{
			method: http.MethodGet, path: "/v1/policy", answer: "PolicyView", form: formJSON, serve: showPolicy,
			query: []parameter{{"environment", "whose policy; the server's own if it isn't given"}},
			says:  "An environment's policy and what its conditions ask for. Not found for one that isn't known.",
		},
		{
			method: http.MethodPut, path: "/v1/policy", body: "PolicyRequest", answer: "PolicyView", form: formJSON, serve: setPolicy,
			says: "Gives an environment a policy, makes the environment where it isn't known, and says whose running releases that changes something for; with `dryRun` it only says that. Rules " +
				"that don't compile are refused, with file and line. A policy that is imx's own for the environment is kept as that: as none of its own.",
		},
		{
			method: http.MethodGet, path: "/v1/exceptions", answer: "list of Exception", form: formJSON, serve: listExceptions,
			says: "The exceptions that haven't ended, in the order of their ends.",
		},
		{
			method: http.MethodPost, path: "/v1/exceptions", body: "Exception", answer: "Exception", form: formJSON, serve: except,
			says: "Excuses a condition of the server's policy until a moment. `id`, `owner` and `made` are the server's to say.",
		},
		{
			method: http.MethodPost, path: "/v1/exceptions/{exception}/end", body: "EndRequest", answer: "{}", form: formJSON, serve: endException,
			says: "Ends an exception before its time.",
		},
	}
}

func verifySubject(s *server, r *request) error {
	detail, err := r.boolean("detail")
	if err != nil {
		return err
	}
	q := imx.VerifyQuery{Subject: r.PathValue("subject"), Purpose: imx.Purpose(r.query.Get("purpose")), Detail: detail}
	return answer(r, func(ctx context.Context) (imx.Verification, error) { return s.Judge.Verify(ctx, q) })
}

func showPolicy(s *server, r *request) error {
	return answer(r, func(context.Context) (imx.PolicyView, error) { return s.Judge.Policy(r.query.Get("environment")) })
}

func setPolicy(s *server, r *request) error {
	var req imx.PolicyRequest
	if err := r.read(&req); err != nil {
		return err
	}
	return answer(r, func(ctx context.Context) (imx.PolicyView, error) { return s.Judge.SetPolicy(ctx, r.by, req) })
}

func listExceptions(s *server, r *request) error { return r.answer(s.Judge.Exceptions()) }

func except(s *server, r *request) error {
	var x imx.Exception
	if err := r.read(&x); err != nil {
		return err
	}
	return answer(r, func(context.Context) (imx.Exception, error) { return s.Judge.Except(r.by, x) })
}

func endException(s *server, r *request) error {
	var req imx.EndRequest
	if err := r.read(&req); err != nil {
		return err
	}
	return answer(r, func(context.Context) (struct{}, error) {
		return struct{}{}, s.Judge.EndException(r.by, r.PathValue("exception"), req.Reason)
	})
}
