package api

import (
	"context"
	"io"
	"net/http"

	"imx"
)

// Ingresses shows and ends where requests come in from outside.
type Ingresses interface {
	// Ingresses are all of them, sorted by name.
	Ingresses(ctx context.Context) ([]imx.IngressView, error)
	// Remove takes one down. Errors: NotFound; Conflict while a service has a route of it.
	Remove(ctx context.Context, by imx.Principal, name string) error
	// Restart has another process answer, and drops no connection. Errors: NotFound without an ingress.
	Restart(ctx context.Context) error
	// AccessLog returns lines of the access log. The handler closes it.
	AccessLog(ctx context.Context, o imx.LogOptions) (io.ReadCloser, error)
}

func ingressRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/v1/ingresses", answer: "list of IngressView", form: formJSON, serve: ingresses,
			says: "Where requests come in from outside, sorted by name: ports, routes with what came of their requests, certificates.",
		},
		{
			method: http.MethodDelete, path: "/v1/ingresses/{ingress}", answer: "{}", form: formJSON, serve: removeIngress,
			says: "Takes an ingress down. 409 while a service has a route of it.",
		},
		{
			method: http.MethodPost, path: "/v1/ingress/restart", answer: "{}", form: formJSON, serve: restartIngress,
			says: "Has another process answer in place of the present one, which finishes what it has. No connection is dropped.",
		},
		{
			method: http.MethodGet, path: "/v1/ingress/logs", answer: "lines of AccessLine", form: formText, serve: accessLog,
			query: []parameter{
				{"follow", "`true` goes on with new lines until the client leaves"},
				{"tail", "only the last so many of the lines already written; 0 means all"},
			},
			says: "The access log of all ingresses: a JSON object for each request, after its end.",
		},
	}
}

func ingresses(s *server, r *request) error { return answer(r, s.Ingresses.Ingresses) }

func removeIngress(s *server, r *request) error {
	return answer(r, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.Ingresses.Remove(ctx, r.by, r.PathValue("ingress"))
	})
}

func restartIngress(s *server, r *request) error {
	return answer(r, func(ctx context.Context) (struct{}, error) { return struct{}{}, s.Ingresses.Restart(ctx) })
}

func accessLog(s *server, r *request) error {
	return copyLog(r, s.Ingresses.AccessLog)
}
