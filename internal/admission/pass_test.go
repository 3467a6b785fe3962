package admission_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/admission"
)

func release() imx.Release {
	return imx.Release{
		Service: "web", Number: 3, Plan: imx.DigestBytes([]byte("plan")), Image: imx.Image{Digest: imx.DigestBytes([]byte("image"))},
	}
}

func at(second int) time.Time { return time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC) }

func allowing(r imx.Release) imx.Verdict {
	return imx.Verdict{
		Image: r.Image.Digest, Plan: r.Plan, Service: r.Service, Environment: "production", Allowed: true,
		Conditions: []imx.Condition{{ID: "signed", Met: true, Refuses: true}}, Made: at(10), Until: at(20),
	}
}

func TestAVerdictThatSaysYesGivesAPassForItsRelease(t *testing.T) {
	r := release()
	for _, second := range []int{10, 19} {
		p, err := admission.Issue(allowing(r), r, at(second))
		if err != nil {
			t.Fatal(err)
		}
		good := r
		good.State = imx.ReleaseGood
		if err := errors.Join(p.Covers(r), p.Covers(good)); err != nil {
			t.Error(err)
		}
	}
}

func TestNoOtherVerdictGivesAPass(t *testing.T) {
	other := imx.DigestBytes([]byte("other"))
	for what, test := range map[string]struct {
		change func(v *imx.Verdict)
		second int
		says   string
	}{
		"another image":   {func(v *imx.Verdict) { v.Image = other }, 15, "is on image"},
		"another plan":    {func(v *imx.Verdict) { v.Plan = other }, 15, "is on plan"},
		"another service": {func(v *imx.Verdict) { v.Service = "db" }, 15, "is on service db"},
		"no": {func(v *imx.Verdict) {
			v.Allowed = false
			v.Conditions[0] = imx.Condition{ID: "scan", Refuses: true, Says: "none"}
		}, 15, "scan: none"},
		"its time is over":       {func(*imx.Verdict) {}, 20, "holds from"},
		"a clock that went back": {func(*imx.Verdict) {}, 9, "holds from"},
	} {
		t.Run(what, func(t *testing.T) {
			v := allowing(release())
			test.change(&v)
			p, err := admission.Issue(v, release(), at(test.second))
			if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), test.says) {
				t.Errorf("err = %v", err)
			}
			if err := p.Covers(release()); imx.KindOf(err) != imx.Refused {
				t.Errorf("a pass that was refused covers its release: %v", err)
			}
		})
	}
}

func TestAPassCoversNoOtherRelease(t *testing.T) {
	p := admission.ForTrial(release())
	for what, change := range map[string]func(r *imx.Release){
		"service": func(r *imx.Release) { r.Service = "db" }, "number": func(r *imx.Release) { r.Number++ },
		"image":   func(r *imx.Release) { r.Image.Digest = imx.DigestBytes([]byte("other")) },
		"user":    func(r *imx.Release) { r.Config.User = "root" },
		"command": func(r *imx.Release) { r.Spec.Command = []string{"/bin/sh"} },
	} {
		r := release()
		if change(&r); imx.KindOf(p.Covers(r)) != imx.Refused {
			t.Errorf("it covers a release with another %s", what)
		}
	}
}

func TestAnExcusedConditionIsNoReasonToRefuse(t *testing.T) {
	v := allowing(release())
	v.Allowed = false
	v.Conditions = []imx.Condition{
		{ID: "scan", Refuses: true, Exception: "x1", Says: "is old"},
		{ID: "reviews", Refuses: true, Says: "0 of 2", Hint: "imx approve c1"},
		{ID: "dirty", Says: "it is"},
	}
	err := admission.Denied(v)
	if got := err.Error(); strings.Contains(got, "old") || strings.Contains(got, "dirty") || !strings.Contains(got, "reviews: 0 of 2") || err.Hint != "imx approve c1" {
		t.Errorf("%s; %s", got, err.Hint)
	}
}

func TestAllThatIsMissingIsToldWithWhatToDoAndApprovalsLast(t *testing.T) {
	v := allowing(release())
	v.Allowed = false
	v.Conditions = []imx.Condition{
		{ID: "reviews", Refuses: true, Says: "0 of 1", Hint: "imx approve"},
		{ID: "scan", Refuses: true, Says: "nobody looked", Hint: "imx scan web --keep"},
		{ID: "tests", Refuses: true, Says: "it failed", Hint: "imx test"},
	}
	err := admission.Denied(v)
	const lines = "\n  scan: nobody looked\n    imx scan web --keep\n  tests: it failed\n    imx test\n  reviews: 0 of 1\n    when nothing else is missing"
	if !strings.Contains(err.Error(), lines) || err.Hint != "imx scan web --keep" {
		t.Errorf("%s\nhint: %s", err.Error(), err.Hint)
	}
}
