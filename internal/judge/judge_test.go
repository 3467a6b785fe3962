package judge_test

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"imx"
	"imx/internal/judge"
)

func TestTheBoundIsWilsons(t *testing.T) {
	// The interval's values as Newcombe (Statistics in Medicine 17, 1998, table I) has them for z = 1.96.
	for _, c := range []struct{ failed, n, low float64 }{
		{81, 263, 0.2553}, {15, 148, 0.0624}, {0, 20, 0}, {1, 29, 0.0061},
	} {
		if got := judge.Wilson(c.failed/c.n, c.n, 1.959964); math.Abs(got-c.low) > 0.00005 {
			t.Errorf("%v of %v: %.4f, want %.4f", c.failed, c.n, got, c.low)
		}
	}
}

func TestTheBoundIsBelowTheShareAndComesCloserWithMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Float64Range(1, 1e7).Draw(t, "n")
		share := rapid.Float64Range(0, 1).Draw(t, "share")
		low, more := judge.Wilson(share, n, judge.Z), judge.Wilson(share, 10*n, judge.Z)
		if low < 0 || low > share+1e-12 || more < low-1e-12 {
			t.Fatalf("share %v: bound %v of %v, %v of ten times as many", share, low, n, more)
		}
		// It solves the equation that defines it: the share is z standard deviations of the bound away from the bound.
		if away := judge.Z * math.Sqrt(low*(1-low)/n); low > 0 && math.Abs(share-low-away) > 1e-6 {
			t.Fatalf("share %v, bound %v, %v away", share, low, away)
		}
	})
}

// tail is the exact chance that a release with n requests, each of which fails with chance p, is called worse.
func tail(m imx.Measure, n int, p float64, old judge.Tally) float64 {
	chance := 0.0
	for failed := range n + 1 {
		v := judge.Compare(m, judge.Tally{Requests: float64(n), Errors: float64(failed)}, old, "release 1")
		if v.Outcome != judge.Worse {
			continue
		}
		all, _ := math.Lgamma(float64(n + 1))
		is, _ := math.Lgamma(float64(failed + 1))
		isnt, _ := math.Lgamma(float64(n - failed + 1))
		chance += math.Exp(all - is - isnt + float64(failed)*math.Log(p) + float64(n-failed)*math.Log(1-p))
	}
	return chance
}

func TestARuleThatIsFairAndSees(t *testing.T) {
	m := imx.Measure{AtLeast: 100, Slack: 0.01}
	for _, c := range []struct {
		n           int
		was, is     float64
		least, most float64 // the exact chance of "worse"
		becauseOf   string
	}{
		{n: 100, was: 0.001, is: 0.001, most: 0.005, becauseOf: "as good as before, few requests"},
		{n: 1000, was: 0.001, is: 0.001, most: 0.0001, becauseOf: "as good as before, and far below the slack"},
		{n: 1000, was: 0.05, is: 0.05, most: 0.008, becauseOf: "as bad as before"},
		{n: 5000, was: 0.02, is: 0.02, most: 0.008, becauseOf: "as bad as before, many requests"},
		{n: 1000, was: 0.001, is: 0.05, least: 0.999, most: 1, becauseOf: "fifty times as bad"},
		{n: 200, was: 0.001, is: 0.2, least: 0.999, most: 1, becauseOf: "a fifth fails, few requests"},
		{n: 5000, was: 0.02, is: 0.04, least: 0.999, most: 1, becauseOf: "twice as bad, many requests"},
	} {
		old := judge.Tally{Requests: 1e6, Errors: 1e6 * c.was}
		if chance := tail(m, c.n, c.is, old); chance < c.least || chance > c.most {
			t.Errorf("%s: it is called worse with a chance of %v, want %v to %v", c.becauseOf, chance, c.least, c.most)
		}
	}
}

func TestTooLittleIsNeverSuccess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := imx.Measure{AtLeast: rapid.IntRange(-1, 1000).Draw(t, "at least"), Slack: rapid.Float64Range(0, 1).Draw(t, "slack"), Seconds: "s", SlowBy: 2}
		v := judge.Compare(m, tally(t, "new"), tally(t, "old"), "release 1")
		if v.Reason == "" || strings.Contains(v.Reason, "\n") {
			t.Fatalf("the reason is %q", v.Reason)
		}
		few := judge.Tally{Requests: rapid.Float64Range(0, max(1, float64(m.AtLeast))-0.5).Draw(t, "few")}
		if v := judge.Compare(m, few, judge.Tally{}, "release 1"); v.Outcome != judge.TooLittle {
			t.Fatalf("%v of %d requests: %+v", few.Requests, m.AtLeast, v)
		}
	})
}

// tally draws metrics, some of which lie.
func tally(t *rapid.T, name string) judge.Tally {
	number := rapid.OneOf(rapid.Float64Range(0, 1e4), rapid.SampledFrom([]float64{-1, math.NaN(), math.Inf(1), math.Inf(-1), 0}))
	return judge.Tally{
		Requests: number.Draw(t, name+" requests"), Errors: number.Draw(t, name+" errors"),
		Seconds: number.Draw(t, name+" seconds"), Timed: number.Draw(t, name+" timed"),
	}
}

func TestMoreErrorsAreNeverBetter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := imx.Measure{AtLeast: 10, Slack: rapid.Float64Range(0, 0.1).Draw(t, "slack")}
		n := float64(rapid.IntRange(10, 5000).Draw(t, "requests"))
		old := judge.Tally{Requests: 1000, Errors: float64(rapid.IntRange(0, 1000).Draw(t, "old errors"))}
		failed := rapid.Float64Range(0, n).Draw(t, "errors")
		if judge.Compare(m, judge.Tally{Requests: n, Errors: failed}, old, "").Outcome != judge.Worse {
			return
		}
		more := min(n, failed+rapid.Float64Range(0, 100).Draw(t, "more"))
		if judge.Compare(m, judge.Tally{Requests: n, Errors: more}, old, "").Outcome != judge.Worse {
			t.Fatalf("%v of %v are worse than %v, %v are not", failed, n, old.Errors, more)
		}
	})
}

func TestTheReasonIsReadAtOnce(t *testing.T) {
	m := imx.Measure{AtLeast: 100, Slack: 0.01, Seconds: "s", SlowBy: 2}
	old := judge.Tally{Requests: 10000, Errors: 10, Seconds: 100, Timed: 10000}
	for _, c := range []struct {
		fresh judge.Tally
		want  judge.Verdict
	}{
		{judge.Tally{Requests: 12}, judge.Verdict{Outcome: judge.TooLittle, Reason: "too little traffic to judge: 12 of 100 requests"}},
		{judge.Tally{Requests: 940, Errors: 40}, judge.Verdict{Outcome: judge.Worse, Reason: "4.3 % of 940 requests failed, of release 3's 0.1 %"}},
		{judge.Tally{Requests: 940, Errors: 1}, judge.Verdict{Outcome: judge.NotWorse, Reason: "0.1 % of 940 requests failed, of release 3's 0.1 %"}},
		{judge.Tally{Requests: 1e6, Errors: 1}, judge.Verdict{Outcome: judge.NotWorse, Reason: "0.0001 % of 1000000 requests failed, of release 3's 0.1 %"}},
		{judge.Tally{Requests: 940, Seconds: 940, Timed: 940}, judge.Verdict{Outcome: judge.Worse, Reason: "940 requests took 1.00 s each, those of release 3 10.0 ms"}},
		{judge.Tally{Requests: 940, Seconds: 12, Timed: 940}, judge.Verdict{Outcome: judge.NotWorse, Reason: "0.0 % of 940 requests failed, of release 3's 0.1 %"}},
		{judge.Tally{Requests: -1}, judge.Verdict{Outcome: judge.TooLittle, Reason: "its metrics make no sense: 0 of -1 requests failed"}},
	} {
		if got := judge.Compare(m, c.fresh, old, "release 3"); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.fresh, got, c.want)
		}
	}
}

func TestProbesCountOnceSeveralFailed(t *testing.T) {
	for _, c := range []struct {
		probed, missed int
		want           judge.Outcome
	}{
		{0, 0, judge.TooLittle},
		{2, 2, judge.NotWorse},
		{3, 3, judge.Worse},
		{100, 3, judge.NotWorse},
		{100, 4, judge.Worse},
		{10000, 100, judge.NotWorse},
		{10000, 150, judge.Worse},
		{5, 9, judge.Worse},
		{5, -1, judge.NotWorse},
	} {
		if got := judge.Probes(c.probed, c.missed, "refused"); got.Outcome != c.want {
			t.Errorf("%d of %d: %+v, want %s", c.missed, c.probed, got, c.want)
		}
	}
}
