package state

import (
	"maps"

	"imx"
)

// foldRegistry folds what happens to the registry's rules. The maps are replaced, never changed in place: Clone shares them.
func foldRegistry(s *imx.State, e imx.Event) error {
	switch b := e.Body.(type) {
	case imx.TokenMade:
		if _, known := s.Registry.Tokens[b.Token.ID]; known || b.Token.ID == "" {
			return misfit(e, "there is a token %q already", b.Token.ID)
		}
		replace(&s.Registry.Tokens, b.Token.ID, b.Token)
	case imx.TokenRevoked:
		t, known := s.Registry.Tokens[b.ID]
		if !known {
			return misfit(e, "there is no token %q", b.ID)
		}
		t.Revoked = e.Time
		replace(&s.Registry.Tokens, b.ID, t)
	case imx.QuotaSet:
		if !b.Quota.Bounds() {
			remove(&s.Registry.Quotas, b.Quota.Scope())
			return nil
		}
		replace(&s.Registry.Quotas, b.Quota.Scope(), b.Quota)
	case imx.MirrorSet:
		replace(&s.Registry.Mirrors, b.Mirror.Name, b.Mirror)
	case imx.MirrorRemoved:
		remove(&s.Registry.Mirrors, b.Name)
	}
	return nil
}

func replace[K comparable, V any](m *map[K]V, key K, value V) {
	c := maps.Clone(*m)
	put(&c, key, value)
	*m = c
}

func remove[K comparable, V any](m *map[K]V, key K) {
	c := maps.Clone(*m)
	delete(c, key)
	if len(c) == 0 {
		c = nil
	}
	*m = c
}
