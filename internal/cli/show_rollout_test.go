package cli_test

import (
	"testing"
	"time"

	"imx"
	"imx/internal/cli"
	"imx/internal/term"
)

// canary is the web service of world() on the second of two steps, with a way back.
func canary() imx.State {
	s := world()
	web := s.Services["web"]
	web.CurrentReplicas, web.WayBack = 2, imx.WayBack{Release: 2, Warm: imx.WarmFrozen, Ready: true, Proved: at("2026-05-01 11:30:00")}
	web.Releases[1].Spec.Deploy = &imx.Deploy{Strategy: imx.Canary, Steps: []imx.Step{{Share: 5}, {Share: 10, Pause: imx.Duration(time.Minute)}}}
	web.Rollout = imx.Rollout{Step: 1, Since: at("2026-05-01 11:59:18"), Reason: "0.1 % of 412 requests failed, of release 3's 0.1 %"}
	s.Services["web"] = web
	warm := instance("web", 2, imx.Warm)
	warm.Changed = at("2026-05-01 11:55:00")
	s.Instances[warm.ID] = warm
	return s
}

func counted() imx.RolloutView {
	return imx.RolloutView{
		Service: "web", Current: 3, Target: 4, Rollout: canary().Services["web"].Rollout,
		Counted: map[int]imx.Counted{
			3: {Requests: 12040, Errors: 12, Seconds: 120.4, Timed: 12040},
			4: {Requests: 1337, Errors: 2, Seconds: 26.7, Timed: 1337, Probed: 42, Missed: 1},
		},
		Outcome: "not worse", Verdict: "0.1 % of 1337 requests failed, of release 3's 0.1 %",
	}
}

func TestARolloutShowsItsStepSharesHealthAndJudgement(t *testing.T) {
	golden(t, "rollout", func(out term.Stream) error { return cli.ShowRollout(out, canary(), counted(), now()) })
}

func TestWhatWasCountedForAnEarlierStepIsntShown(t *testing.T) {
	old := counted()
	old.Rollout.Since = old.Rollout.Since.Add(-time.Minute)
	golden(t, "rollout-uncounted", func(out term.Stream) error { return cli.ShowRollout(out, canary(), old, now()) })
}

func TestStatusShowsStepsAndTheWayBack(t *testing.T) {
	s := canary()
	app := s.Services["app"]
	app.WayBack = imx.WayBack{Release: 1, Why: "its root was changed"}
	s.Services["app"] = app
	golden(t, "status-canary", func(out term.Stream) error { return cli.ShowStatus(out, imx.Status{State: s}, now()) })
}

func TestHistorySaysInOneLineWhyEachStepWasTaken(t *testing.T) {
	r := release("web", 4, imx.ReleasePending)
	var events []imx.Event
	for i, body := range []imx.Body{
		imx.Applied{Apply: "k7w2", Releases: []imx.Release{r}},
		imx.RolloutStepped{Service: "web", Release: 4, Share: 5, Reason: "it begins beside release 3"},
		imx.TrafficMoved{Service: "web", Weights: imx.Weights{3: 95, 4: 5}},
		imx.RolloutWaits{Service: "web", Release: 4, Reason: "too little traffic to judge: 12 of 100 requests"},
		imx.RolloutWaits{Service: "web", Release: 4},
		imx.RolloutPaused{Service: "web", Release: 4},
		imx.RolloutPromoted{Service: "web", Release: 4, Whole: true, Reason: "it mends the outage"},
		imx.RolloutFinished{Service: "web", Release: 4},
		imx.TurnedBad{Service: "web", From: 4, To: 3, Reason: "4 of 4 instances turned bad"},
		imx.RolloutFinished{Service: "web", Release: 3},
		imx.HoldEnded{Service: "web", Reason: "mended"},
		imx.RolloutFailed{Service: "web", Release: 5, Reason: "never healthy"},
		imx.RolledBack{Service: "web", From: 4, To: 2, Reason: "prices"},
		imx.Destroyed{Service: "web"},
	} {
		events = append(events, imx.Event{Index: int64(i), Time: now().Add(time.Duration(i) * time.Minute), By: "root", Body: body})
	}
	golden(t, "history", func(out term.Stream) error { return cli.ShowHistory(out, "web", events) })
	golden(t, "history-none", func(out term.Stream) error { return cli.ShowHistory(out, "web", nil) })
}

func TestHoldsAreListedWithWhoAndWhy(t *testing.T) {
	app := world().Services["app"]
	app.Hold.Since = at("2026-05-01 10:00:00")
	golden(t, "holds", func(out term.Stream) error { return cli.ShowHolds(out, []imx.Service{app}, now()) })
}
