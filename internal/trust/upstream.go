package trust

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"imx"
	"imx/internal/policy"
	"imx/internal/sign"
)

// maxExported is the most keys that an export may have: some rotations a day for a year.
const maxExported = 1000

// Export returns the public keys by which another server believes what this one states and offers.
func (r *Registrar) Export(context.Context) (imx.KeyExport, error) {
	s := r.cfg.Control.State()
	export := imx.KeyExport{Environment: s.Environment, Keys: []imx.Key{}}
	for _, k := range s.Keys {
		if len(k.Role.Abroad()) == 0 || !k.Own() && k.Role == imx.RoleReleaser {
			continue
		}
		k.Environment = cmp.Or(k.Environment, s.Environment)
		export.Keys = append(export.Keys, k)
	}
	slices.SortFunc(export.Keys, func(a, b imx.Key) int {
		return cmp.Or(cmp.Compare(foreign(a, s.Environment), foreign(b, s.Environment)), a.From.Compare(b.From), cmp.Compare(group(a), group(b)), cmp.Compare(a.ID, b.ID))
	})
	return export, nil
}

// foreign returns a key's environment, and "" for those of one: they come first.
func foreign(k imx.Key, own string) string {
	if k.Environment == own {
		return ""
	}
	return k.Environment
}

// Upstreams lists the servers whose releases may be taken over, sorted by environment.
func (r *Registrar) Upstreams(context.Context) ([]imx.Upstream, error) {
	s := r.cfg.Control.State()
	list := []imx.Upstream{}
	for _, name := range slices.Sorted(maps.Keys(s.Upstreams)) {
		list = append(list, s.Upstreams[name])
	}
	return list, nil
}

// SetUpstream makes another server known, or changes what is known of it.
// Errors: Invalid for a name or keys that are none; as control.SetUpstream.
func (r *Registrar) SetUpstream(_ context.Context, by imx.Principal, req imx.UpstreamRequest) (imx.Upstream, error) {
	u := imx.Upstream{Environment: req.Environment, Address: req.Address, TokenFile: req.TokenFile}
	var keys []imx.Key
	if req.Keys != nil {
		u.Environment = cmp.Or(u.Environment, req.Keys.Environment)
		var err error
		if keys, err = exported(*req.Keys, u.Environment); err != nil {
			return imx.Upstream{}, err
		}
	}
	if err := policy.CheckEnvironment(u.Environment); err != nil {
		return imx.Upstream{}, err
	}
	return r.cfg.Control.SetUpstream(by, u, keys)
}

// RemoveUpstream ends an upstream, and its keys. Errors: NotFound.
func (r *Registrar) RemoveUpstream(_ context.Context, by imx.Principal, environment, reason string) error {
	return r.cfg.Control.RemoveUpstream(by, environment, reason)
}

// exported returns the keys of an export as they are kept here. Errors: Invalid where it isn't what imx key export prints there.
func exported(x imx.KeyExport, environment string) ([]imx.Key, error) {
	invalid := func(format string, args ...any) error {
		return imx.Errorf(imx.Invalid, format, args...).WithHint("imx key export prints the keys, on the server of %s", environment)
	}
	switch {
	case x.Environment != environment:
		return nil, invalid("these are the keys of %q, and not of %q", x.Environment, environment)
	case len(x.Keys) > maxExported:
		return nil, invalid("these are %d keys, more than %d", len(x.Keys), maxExported)
	}
	var keys []imx.Key
	for i, k := range x.Keys {
		public, err := sign.ParsePublic(k.Public)
		switch {
		case err != nil:
			return nil, invalid("key %d can't be read: %w", i+1, err)
		case public.ID != k.ID:
			return nil, invalid("key %d goes by the name %q, and is %s", i+1, k.ID, public.ID)
		case policy.CheckEnvironment(k.Environment) != nil:
			return nil, invalid("the key %s is of no environment", k.ID)
		case len(k.Role.Abroad()) == 0 || k.Environment != environment && k.Role == imx.RoleReleaser:
			return nil, invalid("the key %s is of a role, %q, that doesn't speak here for the server of %s", k.ID, k.Role, k.Environment)
		case slices.ContainsFunc(keys, func(other imx.Key) bool { return other.ID == k.ID }):
			return nil, invalid("the key %s is there twice", k.ID)
		}
		keys = append(keys, imx.Key{
			ID: public.ID, Owner: imx.Server, Role: k.Role, Environment: k.Environment, Public: public.Line, Until: k.Until.UTC(), Compromised: k.Compromised, Reason: k.Reason,
		})
	}
	return keys, nil
}
