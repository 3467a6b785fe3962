package api

import (
	"context"
	"net/http"

	"imx"
)

func trustRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/v1/keys", answer: "list of Key", form: formJSON, serve: keys,
			says: "All keys whose signatures count, or did: those of imx's own parts, and people's.",
		},
		{
			method: http.MethodPost, path: "/v1/keys/rotate", body: "RotateRequest", answer: "Key", form: formJSON, serve: rotateKey,
			says: "Makes a new key of a role of imx's own, which signs from then on. What the old one signed still counts.",
		},
		{
			method: http.MethodPost, path: "/v1/keys/end", body: "KeyEndRequest", answer: "Key", form: formJSON, serve: endKey,
			says: "Ends a key: what it signs from a moment on doesn't count or, if it is compromised, nothing that it ever signed. " +
				"A key of imx's own that signs now gets a successor.",
		},
		{
			method: http.MethodGet, path: "/v1/people", answer: "list of KnownPerson", form: formJSON, serve: people,
			says: "Who is known, with their keys, sorted by name.",
		},
		{
			method: http.MethodPost, path: "/v1/people", body: "PersonRequest", answer: "KnownPerson", form: formJSON, serve: setPerson,
			says: "Makes somebody known, or changes what is known of them: what isn't given stays, and keys are added.",
		},
		{
			method: http.MethodDelete, path: "/v1/people/{person}", answer: "{}", form: formJSON, serve: removePerson,
			query: []parameter{{"reason", "why; the log tells it"}},
			says:  "Ends what somebody may do, and their keys.",
		},
	}
}

func keys(s *server, r *request) error { return answer(r, s.Trust.Keys) }

func people(s *server, r *request) error { return answer(r, s.Trust.People) }

func rotateKey(s *server, r *request) error { return asked(r, s.Trust.Rotate) }

func endKey(s *server, r *request) error { return asked(r, s.Trust.EndKey) }

func setPerson(s *server, r *request) error { return asked(r, s.Trust.SetPerson) }

// asked answers with what a part makes of the request's body.
func asked[Q, T any](r *request, do func(context.Context, imx.Principal, Q) (T, error)) error {
	var req Q
	if err := r.read(&req); err != nil {
		return err
	}
	return answer(r, func(ctx context.Context) (T, error) { return do(ctx, r.by, req) })
}

func removePerson(s *server, r *request) error {
	return answer(r, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.Trust.RemovePerson(ctx, r.by, imx.Principal(r.PathValue("person")), r.query.Get("reason"))
	})
}
