package api

import (
	"context"
	"encoding/json"
	"net/http"

	"imx"
)

// Upstreams knows the servers whose releases may be taken over, and what they need to know of this one.
type Upstreams interface {
	// Export returns the public keys by which another server believes this one.
	Export(ctx context.Context) (imx.KeyExport, error)
	// Upstreams lists them, sorted by environment.
	Upstreams(ctx context.Context) ([]imx.Upstream, error)
	// SetUpstream makes one known, or changes what is known of it. Errors: Invalid; Conflict for what can't be believed.
	SetUpstream(ctx context.Context, by imx.Principal, req imx.UpstreamRequest) (imx.Upstream, error)
	// RemoveUpstream ends one, and its keys. Errors: NotFound.
	RemoveUpstream(ctx context.Context, by imx.Principal, environment, reason string) error
}

// Offers states what runs here, for the server of the next environment.
type Offers interface {
	// Offer returns a signed statement of the plan of a service, or of the one that there is for "". Errors: Invalid; NotFound; Conflict where it can't be taken over.
	Offer(ctx context.Context, service, asked string) (json.RawMessage, error)
}

func upstreamRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/v1/keys/export", answer: "KeyExport", form: formJSON, serve: exportKeys,
			says: "The public keys by which another server believes what this one states and offers, and those of its own upstreams.",
		},
		{
			method: http.MethodGet, path: "/v1/upstreams", answer: "list of Upstream", form: formJSON, serve: upstreams,
			says: "The servers whose releases may be taken over, sorted by environment.",
		},
		{
			method: http.MethodPost, path: "/v1/upstreams", body: "UpstreamRequest", answer: "Upstream", form: formJSON, serve: setUpstream,
			says: "Makes such a server known, or changes what is known of it: what isn't given stays, keys are added, and those that ended there end here.",
		},
		{
			method: http.MethodDelete, path: "/v1/upstreams/{environment}", answer: "{}", form: formJSON, serve: removeUpstream,
			query: []parameter{{"reason", "why; the log tells it"}},
			says:  "Ends such a server, and its keys. What was taken over from there stays.",
		},
		{
			method: http.MethodGet, path: "/v1/offers", answer: "the bundle", form: formJSON, serve: offered,
			query: []parameter{
				{"service", "whose plan is meant; the one that there is if it isn't given"},
				{"asked", "what the answer is for alone: 16 to 128 letters and digits that nobody asked with before"},
			},
			says: "States, signed, which plan runs here, since when, and as which images: a sigstore bundle with an Offer. The same is at the registry's TCP address, " +
				"`/imx/v1/offers`, for those who may pull all images of the plan.",
		},
	}
}

func exportKeys(s *server, r *request) error { return answer(r, s.Trust.Export) }

func upstreams(s *server, r *request) error { return answer(r, s.Trust.Upstreams) }

func offered(s *server, r *request) error {
	return answer(r, func(ctx context.Context) (json.RawMessage, error) {
		return s.Offers.Offer(ctx, r.query.Get("service"), r.query.Get("asked"))
	})
}

func setUpstream(s *server, r *request) error { return asked(r, s.Trust.SetUpstream) }

func removeUpstream(s *server, r *request) error {
	return answer(r, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.Trust.RemoveUpstream(ctx, r.by, r.PathValue("environment"), r.query.Get("reason"))
	})
}
