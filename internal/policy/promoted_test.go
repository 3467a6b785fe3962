package policy_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"imx"
	"imx/internal/policy"
)

// after is a policy that asks for what was good in staging for a day.
func after(environment string, soak time.Duration) imx.Policy {
	p := policy.Default(policy.Production)
	p.Settings.After, p.Settings.Soak = environment, imx.Duration(soak)
	return p
}

// origin is where something was good for a while before now.
func origin(environment string, ran time.Duration) *policy.Origin {
	return &policy.Origin{Environment: environment, Since: now().Add(-ran), At: now(), Bundle: digest("offer"), Counts: true}
}

func TestOnlyWhatWasGoodLongEnoughInTheEnvironmentBeforeIsReleased(t *testing.T) {
	forged := origin(policy.Staging, 48*time.Hour)
	forged.Counts, forged.Why = false, "the signature doesn't fit"
	for what, c := range map[string]struct {
		origin     *policy.Origin
		met        bool
		says, hint string
	}{
		"long enough":            {origin(policy.Staging, 26*time.Hour), true, "it was good in staging since 2026-11-21T07:00:00Z, for 26 h", ""},
		"as long as asked":       {origin(policy.Staging, 24*time.Hour), true, "for 24 h", ""},
		"planned here":           {nil, false, "it was planned here, and wasn't good in staging before", "imx promote web --from staging takes over what is good there"},
		"a second too short":     {origin(policy.Staging, 24*time.Hour-time.Second), false, "for 23 h when it was asked, and must be for 24 h", "long enough at 2026-11-22T09:00:01Z: then imx promote web --from staging"},
		"another environment":    {origin("dev", 48*time.Hour), false, "it was good in dev since 2026-11-20T09:00:00Z, for 48 h, and not in staging", "imx promote web --from staging"},
		"an offer that is bad":   {forged, false, "that it was good in staging doesn't count: the signature doesn't fit", "imx promote web --from staging"},
		"good since it is asked": {origin(policy.Staging, 0), false, "for 0 s when it was asked", "2026-11-23T09:00:00Z"},
	} {
		v := judge(t, after(policy.Staging, 24*time.Hour), with(func(in *policy.Input) { in.Origin = c.origin }))
		got := condition(t, v, "promoted")
		if v.Allowed != c.met || got.Met != c.met || !strings.Contains(got.Says, c.says) || !strings.Contains(got.Hint, c.hint) || c.met && got.Hint != "" {
			t.Errorf("%s: allowed %t; %+v", what, v.Allowed, got)
		}
	}
}

func TestWhatRunsIsStartedWhereverItWasGoodBefore(t *testing.T) {
	v := judge(t, after(policy.Staging, time.Hour), with(func(in *policy.Input) { in.Purpose = imx.ForStart }))
	if c := condition(t, v, "promoted"); !v.Allowed || c.Met || c.Refuses {
		t.Errorf("allowed %t; %+v", v.Allowed, c)
	}
}

func TestAnExceptionExcusesThatNothingWasGoodBefore(t *testing.T) {
	in := with(func(in *policy.Input) {
		in.Exceptions = []imx.Exception{{ID: "x1", Condition: "promoted", Owner: "ann", Reason: "staging is down", Made: now(), Until: now().Add(time.Hour)}}
	})
	if v := judge(t, after(policy.Staging, time.Hour), in); !v.Allowed || condition(t, v, "promoted").Exception != "x1" {
		t.Errorf("%+v", v)
	}
}

func TestTheTimeBeforeIsCountedToTheNanosecond(t *testing.T) {
	const soak = 24 * time.Hour
	book, err := policy.Compile(after(policy.Staging, soak))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(r *rapid.T) {
		ran := soak + time.Duration(rapid.Int64Range(-int64(soak), int64(soak)).Draw(r, "over"))
		v, _, err := book.Judge(t.Context(), with(func(in *policy.Input) { in.Origin = origin(policy.Staging, ran) }))
		if err != nil || v.Allowed != (ran >= soak) {
			r.Errorf("good for %s of %s: allowed %t, %v", ran, soak, v.Allowed, err)
		}
	})
}

func TestAnEnvironmentBeforeThatMakesNoSenseIsRefused(t *testing.T) {
	for what, c := range map[string]struct {
		settings func(s *imx.PolicySettings)
		says     string
	}{
		"itself":        {func(s *imx.PolicySettings) { s.After = policy.Production }, "can't have been good in production before"},
		"no name":       {func(s *imx.PolicySettings) { s.After = "Staging!" }, "can't be the name of an environment"},
		"soak alone":    {func(s *imx.PolicySettings) { s.Soak = 1 }, "it isn't said where"},
		"negative soak": {func(s *imx.PolicySettings) { s.After, s.Soak = policy.Staging, -1 }, "nothing can be good for"},
	} {
		p := policy.Default(policy.Production)
		c.settings(&p.Settings)
		if _, err := policy.Compile(p); imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
