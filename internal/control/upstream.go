package control

import (
	"cmp"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"imx"
)

// SetUpstream makes another server known whose releases may be taken over, or changes what is known of it: what isn't said stays. Keys are those that it
// exported, checked one by one; they are added to those that are known, and those that ended there end here.
// Errors: Invalid for an address that is none, or none at all; Conflict for this server's own environment, a key that is somebody else's here or ended
// here, and an upstream of which no key signs what it offers.
func (c *Control) SetUpstream(by imx.Principal, said imx.Upstream, keys []imx.Key) (imx.Upstream, error) {
	_, err := decide(c, by, func(s *imx.State) (struct{}, []imx.Body, error) {
		if said.Environment == s.Environment {
			return struct{}{}, nil, imx.Errorf(imx.Conflict, "this server is %s itself", said.Environment).
				WithHint("an upstream is the server of the environment before this one: run imx key export there")
		}
		known, ok := s.Upstreams[said.Environment]
		u := upstreamOver(known, said)
		if u.Address == "" {
			return struct{}{}, nil, imx.Errorf(imx.Invalid, "no address of %s is known", u.Environment).
				WithHint("imx upstream add %s https://HOST names that of its registry", u.Environment)
		}
		if err := checkAddress(u.Address); err != nil {
			return struct{}{}, nil, err
		}
		if u.TokenFile != known.TokenFile && u.TokenFile != "" && !path.IsAbs(u.TokenFile) {
			return struct{}{}, nil, imx.Errorf(imx.Invalid, "%q isn't the absolute path of a token's file", u.TokenFile).
				WithHint("the server reads it, from a folder of its own: /etc/imx/%s.token", u.Environment)
		}
		keys = slices.DeleteFunc(slices.Clone(keys), func(k imx.Key) bool { return k.Environment == s.Environment && s.Keys[k.ID].Own() })
		bodies, err := upstreamKeys(s, said.Environment, keys)
		if err != nil {
			return struct{}{}, nil, err
		}
		for _, k := range keys {
			u.Keys = append(u.Keys, k.ID)
		}
		slices.Sort(u.Keys)
		u.Keys = slices.Compact(u.Keys)
		if err := offers(s, u, keys); err != nil {
			return struct{}{}, nil, err
		}
		if !ok || u.Address != known.Address || u.TokenFile != known.TokenFile || !slices.Equal(u.Keys, known.Keys) {
			bodies = append(bodies, imx.UpstreamSet{Upstream: u})
		}
		return struct{}{}, bodies, nil
	})
	return c.State().Upstreams[said.Environment], err
}

// upstreamOver is what is said of an upstream, and for the rest what is known already. A token is for the address that it was given with.
func upstreamOver(known, said imx.Upstream) imx.Upstream {
	if said.Address = strings.TrimSuffix(said.Address, "/"); said.Address == "" || said.Address == known.Address {
		said.Address, said.TokenFile = known.Address, cmp.Or(said.TokenFile, known.TokenFile)
	}
	said.Keys = slices.Clone(known.Keys)
	return said
}

// checkAddress says what is wrong with a registry's address. The error is of kind Invalid.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return imx.Errorf(imx.Invalid, "%q is no address of a registry", address).WithHint("https://HOST or http://HOST:PORT; a secret belongs into a file: --token-file")
	}
	return nil
}

// upstreamKeys says what becomes of the keys that an upstream exported.
func upstreamKeys(s *imx.State, from string, keys []imx.Key) ([]imx.Body, error) {
	var bodies []imx.Body
	for _, k := range keys {
		old, ok := s.Keys[k.ID]
		switch {
		case k.Environment == s.Environment:
			return nil, imx.Errorf(imx.Conflict, "%s has a key of %s, %s, which this server doesn't have", from, s.Environment, k.ID).
				WithHint("two servers of one environment can't be each other's upstreams: imx status names the environment of each")
		case !ok:
			bodies = append(bodies, imx.KeyAdded{Key: k})
		case old.Environment != k.Environment || old.Role != k.Role:
			return nil, imx.Errorf(imx.Conflict, "the key %s of %s is known here already, as %s", k.ID, k.Environment, whose(old)).
				WithHint("each server has keys of its own: was a folder of keys copied? imx key list shows those that are known")
		case k.Environment == from && ended(old) && !ended(k):
			return nil, imx.Errorf(imx.Conflict, "the key %s of %s ended here at %s, and an ended key doesn't come back", k.ID, from, old.Until.Format(time.RFC3339)).
				WithHint("imx key rotate %s on the server of %s makes another; then export its keys again", k.Role, from)
		case endsWith(s, from, old, k):
			bodies = append(bodies, imx.KeyEnded{Key: k.ID, Until: k.Until, Compromised: k.Compromised, Reason: k.Reason})
		}
	}
	return bodies, nil
}

// endsWith reports whether a known key's end comes, or comes forward, with what an upstream exports. What ends the keys of an environment that is an
// upstream itself is that one's own word.
func endsWith(s *imx.State, from string, known, said imx.Key) bool {
	if _, direct := s.Upstreams[said.Environment]; said.Environment != from && direct || !ended(said) {
		return false
	}
	return !ended(known) || said.Until.Before(known.Until) || said.Compromised && !known.Compromised
}

func ended(k imx.Key) bool { return k.Compromised || !k.Until.IsZero() }

// whose names a key's holder, for people.
func whose(k imx.Key) string {
	switch {
	case k.Role == "":
		return string(k.Owner) + "'s"
	case k.Environment != "":
		return "the " + string(k.Role) + "'s of " + k.Environment
	}
	return "this server's own, of its " + string(k.Role)
}

// offers makes sure that what an upstream offers can be believed: with the keys that it just exported, and those that are known. Errors: Conflict.
func offers(s *imx.State, u imx.Upstream, keys []imx.Key) error {
	all := maps.Clone(s.Keys)
	for _, k := range keys {
		if ended(k) || all[k.ID].ID == "" {
			all[k.ID] = k
		}
	}
	for _, id := range u.Keys {
		if k := all[id]; k.Environment == u.Environment && k.Role == imx.RoleReleaser && !ended(k) {
			return nil
		}
	}
	return imx.Errorf(imx.Conflict, "there is no key of a %s of %s that counts, and nothing else signs what it offers", imx.RoleReleaser, u.Environment).
		WithHint("run imx key export on the server of %s, and give the file: --keys FILE", u.Environment)
}

// RemoveUpstream ends an upstream, and its keys. What came from there stays. Errors: NotFound.
func (c *Control) RemoveUpstream(by imx.Principal, environment, reason string) error {
	_, err := decide(c, by, func(s *imx.State) (struct{}, []imx.Body, error) {
		if _, ok := s.Upstreams[environment]; !ok {
			return struct{}{}, nil, imx.Errorf(imx.NotFound, "there is no upstream %q", environment).WithHint("imx upstream list shows those that there are")
		}
		return struct{}{}, []imx.Body{imx.UpstreamRemoved{Environment: environment, Reason: reason}}, nil
	})
	return err
}
