// Package judge says whether a release does worse than the one before it, by the rule that imx.Measure
// states. It counts nothing itself, and decides nothing about what follows.
package judge

import (
	"fmt"
	"math"
	"strings"

	"imx"
)

// Tally is what a release's instances answered over a time. All are increases of counters.
type Tally struct {
	Requests, Errors float64
	Seconds          float64 // the sum of how long those of Timed took
	Timed            float64
}

// Outcome is what a comparison came to.
type Outcome string

// The outcomes.
const (
	TooLittle Outcome = "too little" // nothing can be said: that is no success
	Worse     Outcome = "worse"
	NotWorse  Outcome = "not worse"
)

// Verdict is an outcome, and why in one line.
type Verdict struct {
	Outcome Outcome
	Reason  string
}

// Z is how many standard deviations the bound of a share is away from it: one release in 200 that does no worse
// would be called worse by chance.
const Z = 2.58

// Compare judges a release that is on its way beside an old one, which name is for a person ("release 3"). An old one
// without requests is as one without errors. Durations are compared where both have AtLeast of them.
func Compare(m imx.Measure, fresh, old Tally, name string) Verdict {
	least := max(float64(m.AtLeast), 1)
	switch {
	case !sane(fresh):
		return Verdict{TooLittle, fmt.Sprintf("its metrics make no sense: %v of %v requests failed", fresh.Errors, fresh.Requests)}
	case !sane(old):
		return Verdict{TooLittle, fmt.Sprintf("the metrics of %s make no sense: %v of %v requests failed", name, old.Errors, old.Requests)}
	case fresh.Requests < least:
		return Verdict{TooLittle, fmt.Sprintf("too little traffic to judge: %.0f of %.0f requests", math.Floor(fresh.Requests), least)}
	}
	is, was := share(fresh), share(old)
	said := fmt.Sprintf("%s of %.0f requests failed, of %s's %s", percent(is), fresh.Requests, name, percent(was))
	if bound := Wilson(is, fresh.Requests, Z); bound > was && bound > m.Slack {
		return Verdict{Worse, said}
	}
	if m.Seconds != "" && m.SlowBy > 0 && fresh.Timed >= least && old.Timed >= least {
		takes, took := fresh.Seconds/fresh.Timed, old.Seconds/old.Timed
		if takes > m.SlowBy*took {
			return Verdict{Worse, fmt.Sprintf("%.0f requests took %s each, those of %s %s", fresh.Timed, seconds(takes), name, seconds(took))}
		}
	}
	return Verdict{NotWorse, said}
}

// The rule for imx's own connections through a service's address: so many must have failed, and the lower bound of
// their share must be above this one.
const (
	Missed     = 3
	ProbeSlack = 0.01
)

// Probes judges a release by imx's own connections, some of which reached it; last is why the last one failed.
func Probes(probed, missed int, last string) Verdict {
	if probed <= 0 {
		return Verdict{TooLittle, "nothing was probed"}
	}
	missed = max(0, min(missed, probed))
	said := fmt.Sprintf("%d of %d probes failed", missed, probed)
	if missed < Missed || Wilson(float64(missed)/float64(probed), float64(probed), Z) <= ProbeSlack {
		return Verdict{NotWorse, said}
	}
	if last != "" {
		said += ": " + last
	}
	return Verdict{Worse, said}
}

// Wilson is the lower bound of the Wilson score interval of a share that was seen in n trials, at z standard
// deviations. It is 0 without trials.
func Wilson(share, n, z float64) float64 {
	if n <= 0 {
		return 0
	}
	z2 := z * z
	middle := share + z2/(2*n)
	reach := z * math.Sqrt(share*(1-share)/n+z2/(4*n*n))
	return max(0, (middle-reach)/(1+z2/n))
}

// share is how much of the requests failed. Errors of which no request is counted are all of them.
func share(t Tally) float64 {
	if t.Requests == 0 {
		return 0
	}
	return min(t.Errors/t.Requests, 1)
}

// sane reports whether a tally can be one: counters that go backwards, or aren't numbers, tell nothing.
func sane(t Tally) bool {
	for _, v := range []float64{t.Requests, t.Errors, t.Seconds, t.Timed} {
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			return false
		}
	}
	return true
}

// percent is a share for a person, with as many digits as tell it from 0.
func percent(share float64) string {
	p := 100 * share
	if p == 0 || p >= 0.1 {
		return fmt.Sprintf("%.1f %%", p)
	}
	text := strings.TrimRight(fmt.Sprintf("%.4f", p), "0")
	if text == "0." {
		text = "under 0.0001"
	}
	return text + " %"
}

func seconds(s float64) string {
	if s < 1 {
		return fmt.Sprintf("%.1f ms", 1000*s)
	}
	return fmt.Sprintf("%.2f s", s)
}
