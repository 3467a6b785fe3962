package control

import (
	"crypto/rand"
	"maps"

	"imx"
	"imx/internal/grant"
)

// Registry returns the registry's rules as they are now. The caller changes nothing in them.
func (c *Control) Registry() imx.RegistryState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Registry // the fold replaces its maps
}

// MakeToken makes a token for the registry. Its secret is in the answer and nowhere else. Errors: Invalid.
func (c *Control) MakeToken(by imx.Principal, req imx.TokenRequest) (imx.NewToken, error) {
	return decide(c, by, func(s *imx.State) (imx.NewToken, []imx.Body, error) {
		id := c.cfg.NewID()
		for s.Registry.Tokens[id].ID != "" {
			id = c.cfg.NewID()
		}
		random := make([]byte, 20)
		_, _ = rand.Read(random) // never fails: crypto/rand ends the program instead
		made, err := grant.Make(req, id, c.cfg.Now(), random)
		if err != nil {
			return imx.NewToken{}, nil, err
		}
		return made, []imx.Body{imx.TokenMade{Token: made.RegistryToken}}, nil
	})
}

// RevokeToken ends the token that a person means by its id, or by how that begins. One that was revoked stays so. Errors: as imx.Abbreviated.
func (c *Control) RevokeToken(by imx.Principal, wanted string) (imx.RegistryToken, error) {
	id, err := decide(c, by, func(s *imx.State) (string, []imx.Body, error) {
		id, err := imx.Abbreviated("token", wanted, "imx registry token list shows them", maps.Keys(s.Registry.Tokens))
		if err != nil || !s.Registry.Tokens[id].Revoked.IsZero() {
			return id, nil, err
		}
		return id, []imx.Body{imx.TokenRevoked{ID: id}}, nil
	})
	return c.Registry().Tokens[id], err
}

// SetQuota bounds what may be pushed; a quota without bounds ends the one of its scope. Errors: Invalid.
func (c *Control) SetQuota(by imx.Principal, q imx.RegistryQuota) error {
	_, err := decide(c, by, func(s *imx.State) (struct{}, []imx.Body, error) {
		switch {
		case (q.Repositories == "") == (q.Owner == ""):
			return struct{}{}, nil, imx.Errorf(imx.Invalid, "a quota is for repositories or for an owner of tokens: one of the two").WithHint("imx registry quota set team/* --bytes 10GiB")
		case q.Bytes < 0 || q.Manifests < 0 || q.Tags < 0:
			return struct{}{}, nil, imx.Errorf(imx.Invalid, "a quota can't be below 0").WithHint("0 means any number")
		case q.Owner == grant.Anonymous:
			return struct{}{}, nil, imx.Errorf(imx.Invalid, "%s owns no tokens: what came without one isn't counted apart", grant.Anonymous).
				WithHint(`a quota of all repositories, "*", bounds it too`)
		case q.Owner == "":
			if err := grant.CheckPatterns([]string{q.Repositories}); err != nil {
				return struct{}{}, nil, err
			}
		}
		if s.Registry.Quotas[q.Scope()] == q || (s.Registry.Quotas[q.Scope()] == imx.RegistryQuota{} && !q.Bounds()) {
			return struct{}{}, nil, nil
		}
		return struct{}{}, []imx.Body{imx.QuotaSet{Quota: q}}, nil
	})
	return err
}

// SetMirror begins to copy repositories, or does so otherwise than before. Errors: Invalid.
func (c *Control) SetMirror(by imx.Principal, m imx.RegistryMirror) error {
	_, err := decide(c, by, func(s *imx.State) (struct{}, []imx.Body, error) {
		switch {
		case m.Name == "" || len(m.Name) > 64:
			return struct{}{}, nil, imx.Errorf(imx.Invalid, "a mirror needs a name of up to 64 bytes")
		case m.Direction != imx.MirrorTo && m.Direction != imx.MirrorFrom:
			return struct{}{}, nil, imx.Errorf(imx.Invalid, "a mirror copies to another registry or from one, not %q", m.Direction)
		}
		if err := checkAddress(m.URL); err != nil {
			return struct{}{}, nil, err
		}
		if err := grant.CheckPatterns([]string{m.Repository}); err != nil {
			return struct{}{}, nil, err
		}
		if s.Registry.Mirrors[m.Name] == m {
			return struct{}{}, nil, nil
		}
		return struct{}{}, []imx.Body{imx.MirrorSet{Mirror: m}}, nil
	})
	return err
}

// RemoveMirror ends a mirror. What it copied stays. Errors: NotFound.
func (c *Control) RemoveMirror(by imx.Principal, name string) error {
	_, err := decide(c, by, func(s *imx.State) (struct{}, []imx.Body, error) {
		if _, known := s.Registry.Mirrors[name]; !known {
			return struct{}{}, nil, imx.Errorf(imx.NotFound, "there is no mirror %q", name).WithHint("imx registry mirror list shows them")
		}
		return struct{}{}, []imx.Body{imx.MirrorRemoved{Name: name}}, nil
	})
	return err
}
