package verdict_test

import (
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/policy"
)

// dev is the environment before staging.
const dev = "dev"

// offering is a world whose policy asks for what was good in dev for an hour, and the offer of a release that was.
type offering struct {
	*world
	offer   imx.Offer
	release imx.Release
	key     imx.Key // of dev's releaser
}

func newOffering(t *testing.T) *offering {
	t.Helper()
	w := newWorld(t)
	w.stateAll()
	p := policy.Default(staging)
	p.Settings.After, p.Settings.Soak = dev, imx.Duration(time.Hour)
	w.record(imx.PolicySet{Policy: p})
	key := w.key("there", imx.Key{Owner: imx.Server, Role: imx.RoleReleaser, Environment: dev})
	r := release()
	return &offering{w, imx.Offer{
		Environment: dev, Asked: "nonce", At: w.now, Plan: r.Plan,
		Services: []imx.Serving{{Service: r.Service, Release: 4, Image: r.Image.Digest, Since: w.now.Add(-2 * time.Hour)}},
		Images:   []imx.Offering{{Image: r.Image}},
	}, r, key}
}

// offered is the release as it comes by the offer, signed by somebody.
func (o *offering) offered(whose imx.Principal) imx.Release {
	o.t.Helper()
	e := o.seal(whose, o.release.Plan, imx.PredicateOffer, o.offer, o.release.Image.Digest)
	r := o.release
	r.Origin = &imx.Origin{Environment: dev, Bundle: e.Bundle, Signer: e.Signer, Since: o.offer.Since(), At: o.offer.At}
	return r
}

func TestWhatTheEnvironmentBeforeSignedIsCounted(t *testing.T) {
	o := newOffering(t)
	v := o.verdict(imx.ForRelease, o.offered("there"))
	if c := condition(t, v, "promoted"); !v.Allowed || !c.Met || !strings.Contains(c.Says, "it was good in dev since 2026-11-22T07:00:00Z, for 2 h") || len(c.Evidence) != 1 {
		t.Errorf("allowed %t: %+v", v.Allowed, c)
	}
	v = o.verdict(imx.ForRelease, o.release)
	if c := condition(t, v, "promoted"); v.Allowed || c.Met || !strings.Contains(c.Hint, "imx promote web --from dev") {
		t.Errorf("without an offer: allowed %t: %+v", v.Allowed, c)
	}
}

func TestAnOfferByAClockThatIsBehindCountsRightAfterItsKeyCame(t *testing.T) {
	o := newOffering(t)
	o.offer.At = o.control.State().Keys[o.key.ID].From.Add(-time.Second)
	o.offer.Services[0].Since = o.offer.At.Add(-2 * time.Hour)
	if c := condition(t, o.verdict(imx.ForRelease, o.offered("there")), "promoted"); !c.Met {
		t.Errorf("%+v", c)
	}
}

func TestAnOfferIsOneOfTheEnvironmentBeforeAndOfThisVeryRelease(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(o *offering) imx.Release
		says  string
	}{
		"a bit flipped": {func(o *offering) imx.Release {
			r := o.offered("there")
			o.flip(r.Origin.Bundle)
			return r
		}, "is damaged on disk"},
		"signed by this server itself": {func(o *offering) imx.Release { return o.offered(imx.Principal(imx.RoleReleaser)) }, `is of ""`},
		"signed by another role":       {func(o *offering) imx.Release { return o.offered(imx.Principal(imx.RoleBuilder)) }, "wrong role"},
		"said to be of a longer time": {func(o *offering) imx.Release {
			r := o.offered("there")
			r.Origin.Since = r.Origin.Since.Add(-time.Hour)
			return r
		}, "of a time from"},
		"of another plan": {func(o *offering) imx.Release {
			o.offer.Plan = imx.DigestBytes([]byte("other"))
			return o.offered("there")
		}, "it is an offer of the plan"},
		"of another image": {func(o *offering) imx.Release {
			o.offer.Services[0].Image = imx.DigestBytes([]byte("other"))
			return o.offered("there")
		}, "it doesn't say that web runs the image"},
		"of another environment": {func(o *offering) imx.Release {
			o.offer.Environment = "preview"
			return o.offered("there")
		}, "the environment preview offered it"},
		"of a key that is compromised": {func(o *offering) imx.Release {
			r := o.offered("there")
			o.record(imx.KeyEnded{Key: o.key.ID, Until: o.now, Compromised: true, Reason: "stolen"})
			return r
		}, "a compromised key"},
		"of a key that had ended": {func(o *offering) imx.Release {
			o.record(imx.KeyEnded{Key: o.key.ID, Until: o.now, Reason: "rotated"})
			o.now = o.now.Add(time.Minute)
			o.offer.At = o.now
			return o.offered("there")
		}, "an ended key"},
	} {
		t.Run(what, func(t *testing.T) {
			o := newOffering(t)
			v := o.verdict(imx.ForRelease, c.spoil(o))
			got := condition(t, v, "promoted")
			if v.Allowed || got.Met || !strings.Contains(got.Says, "that it was good in dev doesn't count: ") || !strings.Contains(got.Says, c.says) {
				t.Errorf("allowed %t: %+v", v.Allowed, got)
			}
		})
	}
}

func TestAnUnknownEnvironmentBeforeIsTold(t *testing.T) {
	o := newOffering(t)
	shown, err := o.Policy("")
	if err != nil || len(shown.Notes) != 1 || !strings.Contains(shown.Notes[0], "dev, whose server isn't known: imx upstream add") {
		t.Errorf("%v, %v", shown.Notes, err)
	}
}
