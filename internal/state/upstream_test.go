package state_test

import (
	"testing"

	"imx"
	"imx/internal/state"
)

func builder(id, environment string) imx.KeyAdded {
	return imx.KeyAdded{Key: imx.Key{ID: id, Owner: imx.Server, Role: imx.RoleBuilder, Environment: environment}}
}

func TestAnUpstreamsKeyEndsNoneOfItsRole(t *testing.T) {
	s := told(t, builder("own", ""), builder("one", "staging"), builder("two", "staging"))
	for id, k := range s.Keys {
		if !k.Until.IsZero() {
			t.Errorf("%s ended: %s", id, k.Reason)
		}
	}
	s = told(t, builder("one", "staging"), builder("own", ""), builder("next", ""))
	if !s.Keys["one"].Until.IsZero() || s.Keys["own"].Until != minute(2) {
		t.Errorf("%+v", s.Keys)
	}
}

func TestARemovedUpstreamsKeysEndUnlessTheyCameWithAnother(t *testing.T) {
	s := told(t,
		builder("own", ""), builder("s", "staging"), builder("d", "dev"), builder("x", "qa"),
		imx.KeyEnded{Key: "x", Until: minute(1), Reason: "old"},
		imx.UpstreamSet{Upstream: imx.Upstream{Environment: "staging", Keys: []string{"d", "s", "x"}}},
		imx.UpstreamSet{Upstream: imx.Upstream{Environment: "dev", Keys: []string{"d"}}},
		imx.UpstreamRemoved{Environment: "staging", Reason: "gone"},
	)
	if k := s.Keys["s"]; k.Until != minute(7) || k.Reason != "the upstream staging was removed: gone" {
		t.Errorf("%+v", k)
	}
	if !s.Keys["d"].Until.IsZero() || !s.Keys["own"].Until.IsZero() || s.Keys["x"].Until != minute(1) || len(s.Upstreams) != 1 {
		t.Errorf("%+v, %+v", s.Keys, s.Upstreams)
	}
}

func TestAnUpstreamKeepsWhoMadeItKnownFirst(t *testing.T) {
	s := told(t,
		imx.UpstreamSet{Upstream: imx.Upstream{Environment: "staging", Address: "http://a"}},
		imx.UpstreamSet{Upstream: imx.Upstream{Environment: "staging", Address: "http://b", By: "mallory"}},
	)
	if u := s.Upstreams["staging"]; u.Address != "http://b" || u.Since != minute(0) || u.By != "root" {
		t.Errorf("%+v", u)
	}
}

func TestWhatIsNoUpstreamsDoesNotFit(t *testing.T) {
	for what, body := range map[string]imx.Body{
		"an unknown key":      imx.UpstreamSet{Upstream: imx.Upstream{Environment: "staging", Keys: []string{"none"}}},
		"a key of one's own":  imx.UpstreamSet{Upstream: imx.Upstream{Environment: "staging", Keys: []string{"own"}}},
		"an unknown upstream": imx.UpstreamRemoved{Environment: "staging"},
	} {
		s := told(t, builder("own", ""))
		if err := state.Fold(s, imx.Event{Index: s.Next, Time: minute(9), Body: body}); imx.KindOf(err) != imx.Internal {
			t.Errorf("%s: err = %v", what, err)
		}
	}
}
