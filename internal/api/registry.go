package api

import (
	"context"
	"net/http"
	"time"

	"imx"
)

// Doorkeeper knows who may do what in the registry, how much, and who did.
type Doorkeeper interface {
	// Tokens lists them, the newest first, without their hashes.
	Tokens() []imx.RegistryToken
	MakeToken(by imx.Principal, req imx.TokenRequest) (imx.NewToken, error)
	RevokeToken(by imx.Principal, id string) (imx.RegistryToken, error)
	Quotas() ([]imx.RegistryUse, error)
	SetQuota(by imx.Principal, q imx.RegistryQuota) error
	// Pulls is the audit trail from a time on, the oldest line first.
	Pulls(since time.Time) ([]imx.RegistryPull, error)
}

// Replicas keeps the registry the same as others, and whole.
type Replicas interface {
	Mirrors() []imx.MirrorStatus
	SetMirror(by imx.Principal, m imx.RegistryMirror) error
	RemoveMirror(by imx.Principal, name string) error
	// CheckRegistry reads every byte, and repairs what is damaged where it is asked to.
	CheckRegistry(ctx context.Context, by imx.Principal, req imx.RegistryCheckRequest, report imx.Report) (imx.RegistryCheck, error)
}

// Registrar is what there is to ask of the registry beside the distribution API.
type Registrar interface {
	Doorkeeper
	Replicas
}

func registryRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/v1/registry/tokens", answer: "list of RegistryToken", form: formJSON, serve: tokens,
			says: "The registry's tokens, the newest first, those that are over too. Secrets aren't kept, and hashes not shown.",
		},
		{
			method: http.MethodPost, path: "/v1/registry/tokens", body: "TokenRequest", answer: "NewToken", form: formJSON, serve: makeToken,
			says: "Makes a token for the registry. The answer has its secret, this once.",
		},
		{
			method: http.MethodDelete, path: "/v1/registry/tokens/{token}", answer: "RegistryToken", form: formJSON, serve: revokeToken,
			says: "Ends a token, by its id.",
		},
		{
			method: http.MethodGet, path: "/v1/registry/quotas", answer: "list of RegistryUse", form: formJSON, serve: quotas,
			says: "The quotas, and how much of each is used, with the bytes of uploads that are under way.",
		},
		{
			method: http.MethodPut, path: "/v1/registry/quotas", body: "RegistryQuota", answer: "list of RegistryUse", form: formJSON, serve: setQuota,
			says: "Bounds what may be pushed into the repositories of a pattern, or by an owner of tokens, in place of an earlier bound. One without bounds ends it. " +
				"Answers with all quotas.",
		},
		{
			method: http.MethodGet, path: "/v1/registry/audit", answer: "list of RegistryPull", form: formJSON, serve: audit,
			query: []parameter{{"since", "a moment of the past, as RFC 3339; all that is kept if it isn't given"}},
			says:  "Who pulled and pushed which manifest, who read blobs without theirs, when and from where, and who was turned away; the oldest line first.",
		},
		{
			method: http.MethodGet, path: "/v1/registry/mirrors", answer: "list of MirrorStatus", form: formJSON, serve: mirrors,
			says: "The rules by which repositories are copied to and from other registries, and how each did.",
		},
		{
			method: http.MethodPut, path: "/v1/registry/mirrors", body: "RegistryMirror", answer: "list of MirrorStatus", form: formJSON, serve: setMirror,
			says: "Begins to copy repositories to another registry or from one, as soon as something new is in them, in place of an earlier rule of that name.",
		},
		{
			method: http.MethodDelete, path: "/v1/registry/mirrors/{mirror}", answer: "{}", form: formJSON, serve: removeMirror,
			says: "Ends such a rule. What it copied stays.",
		},
		{
			method: http.MethodPost, path: "/v1/registry/fsck", body: "RegistryCheckRequest", answer: "RegistryCheck", form: formUpdates, serve: checkRegistry,
			says: "Reads every byte of the registry, names what is damaged and who needs it, and repairs that from another registry. " +
				"Damage is told by the result, not by the status.",
		},
	}
}

func tokens(s *server, r *request) error { return r.answer(s.Registrar.Tokens()) }

func makeToken(s *server, r *request) error {
	var req imx.TokenRequest
	if err := r.read(&req); err != nil {
		return err
	}
	return answer(r, func(context.Context) (imx.NewToken, error) { return s.Registrar.MakeToken(r.by, req) })
}

func revokeToken(s *server, r *request) error {
	return answer(r, func(context.Context) (imx.RegistryToken, error) {
		return s.Registrar.RevokeToken(r.by, r.PathValue("token"))
	})
}

func quotas(s *server, r *request) error {
	return answer(r, func(context.Context) ([]imx.RegistryUse, error) { return s.Registrar.Quotas() })
}

func setQuota(s *server, r *request) error {
	var q imx.RegistryQuota
	if err := r.read(&q); err != nil {
		return err
	}
	if err := s.Registrar.SetQuota(r.by, q); err != nil {
		return err
	}
	return quotas(s, r)
}

func audit(s *server, r *request) error {
	var since time.Time
	if text := r.query.Get("since"); text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339, text); err != nil {
			return imx.Errorf(imx.Invalid, "since=%q is not a time", text).WithHint("write it as RFC 3339 does: 2006-01-02T15:04:05Z")
		}
	}
	return answer(r, func(context.Context) ([]imx.RegistryPull, error) { return s.Registrar.Pulls(since) })
}

func mirrors(s *server, r *request) error { return r.answer(s.Registrar.Mirrors()) }

func setMirror(s *server, r *request) error {
	var m imx.RegistryMirror
	if err := r.read(&m); err != nil {
		return err
	}
	if err := s.Registrar.SetMirror(r.by, m); err != nil {
		return err
	}
	return mirrors(s, r)
}

func removeMirror(s *server, r *request) error {
	return answer(r, func(context.Context) (struct{}, error) {
		return struct{}{}, s.Registrar.RemoveMirror(r.by, r.PathValue("mirror"))
	})
}

func checkRegistry(s *server, r *request) error {
	var req imx.RegistryCheckRequest
	if err := r.read(&req); err != nil {
		return err
	}
	return stream(r, func(ctx context.Context, report imx.Report) (imx.RegistryCheck, error) {
		return s.Registrar.CheckRegistry(ctx, r.by, req, report)
	})
}
