package api

import (
	"context"
	"net/http"

	"imx"
)

// Healer takes what people say of instances that run. Errors: NotFound for an unknown one, Conflict for one that stops or has ended.
type Healer interface {
	// Taint has it replaced: a healthy one comes first. Errors: Invalid without a reason.
	Taint(by imx.Principal, instance, reason string) (imx.Instance, error)
	// Untaint takes that back. Errors: Conflict for one that isn't tainted.
	Untaint(by imx.Principal, instance, reason string) (imx.Instance, error)
}

func healRoutes() []route {
	return []route{
		{
			method: http.MethodPost, path: "/v1/instances/{instance}/taint", body: "ReasonRequest", answer: "Instance", form: formJSON, serve: taint,
			says: "Has an instance replaced though it runs: a healthy one comes first, then it finishes its connections and stops.",
		},
		{
			method: http.MethodPost, path: "/v1/instances/{instance}/untaint", body: "ReasonRequest", answer: "Instance", form: formJSON, serve: untaint,
			says: "Takes that back, if the instance hasn't been told to stop yet. A reason isn't needed.",
		},
	}
}

func taint(s *server, r *request) error {
	return asked(r, func(_ context.Context, by imx.Principal, req imx.ReasonRequest) (imx.Instance, error) {
		return s.Healer.Taint(by, r.PathValue("instance"), req.Reason)
	})
}

func untaint(s *server, r *request) error {
	return asked(r, func(_ context.Context, by imx.Principal, req imx.ReasonRequest) (imx.Instance, error) {
		return s.Healer.Untaint(by, r.PathValue("instance"), req.Reason)
	})
}
