package state

import (
	"maps"
	"slices"

	"imx"
)

// foldUpstream folds which servers releases come from.
func foldUpstream(s *imx.State, e imx.Event) error {
	switch b := e.Body.(type) {
	case imx.UpstreamSet:
		for _, id := range b.Upstream.Keys {
			if s.Keys[id].Environment == "" {
				return misfit(e, "the key %s is no upstream's", id)
			}
		}
		b.Upstream.By, b.Upstream.Since = e.By, e.Time
		if known, ok := s.Upstreams[b.Upstream.Environment]; ok {
			b.Upstream.By, b.Upstream.Since = known.By, known.Since
		}
		put(&s.Upstreams, b.Upstream.Environment, b.Upstream)
		return nil
	case imx.UpstreamRemoved:
		return upstreamRemoved(s, e, b)
	default:
		return misfit(e, "it is none of an upstream")
	}
}

// upstreamRemoved ends the keys that came with an upstream, and with no other.
func upstreamRemoved(s *imx.State, e imx.Event, b imx.UpstreamRemoved) error {
	gone, ok := s.Upstreams[b.Environment]
	if !ok {
		return misfit(e, "there is no upstream %q", b.Environment)
	}
	delete(s.Upstreams, b.Environment)
	keys := maps.Clone(s.Keys)
	for _, id := range gone.Keys {
		k, ok := keys[id]
		if !ok || over(k, e) || cameWithAny(s, id) {
			continue
		}
		k.Until, k.Reason = e.Time, "the upstream "+b.Environment+" was removed"
		if b.Reason != "" {
			k.Reason += ": " + b.Reason
		}
		keys[id] = k
	}
	s.Keys = keys
	return nil
}

// cameWithAny reports whether a key came with an upstream that there is.
func cameWithAny(s *imx.State, id string) bool {
	for _, u := range s.Upstreams {
		if slices.Contains(u.Keys, id) {
			return true
		}
	}
	return false
}
