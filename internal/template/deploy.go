package template

import (
	"fmt"
	"slices"
	"time"

	"imx"
)

const (
	maxReplicas = 1000
	week        = 7 * 24 * time.Hour
	// usualSurge is how a rolling replacement goes that says neither surge nor unavailable, in percent.
	usualSurge = 25
)

func deployBlock() *block {
	type D = imx.Deploy
	return placed(
		func(s *imx.Spec) **D { return &s.Deploy }, func(d *D) *imx.Pos { return &d.At },
		block{
			name: "deploy",
			doc: "How a new release takes the place of the one that runs, and when it is gone back from: docs/rollout.md has what each strategy does. " +
				"Without the block, all new instances come up beside the old ones and the traffic moves at once. " +
				"A release that shares a volume with the one before it is always replaced stop-then-start.",
			settings: deploySettings(),
			blocks:   []*block{stepBlock(), judgeBlock()},
		})
}

func deploySettings() []setting {
	type D = imx.Deploy
	return []setting{
		field(oneOf("strategy", imx.BlueGreen, imx.Canary, imx.Rolling), func(d *D) *imx.Strategy { return &d.Strategy }, setting{
			name: "strategy", need: filled, def: `"blue-green"`, example: `"canary"`,
			doc: "`\"blue-green\"` moves all the traffic at once, `\"canary\"` in steps, `\"rolling\"` replaces some instances after the other.",
		}),
		field(amount(), func(d *D) *imx.Amount { return &d.Surge }, setting{
			name: "surge", unset: "`\"25%\"` if rolling without `unavailable`, else 0", example: `2`,
			doc: "Of a rolling replacement, how many instances more than `replicas` there may be: a number or a percentage, rounded up.",
		}),
		field(amount(), func(d *D) *imx.Amount { return &d.Unavailable }, setting{
			name: "unavailable", unset: "0", example: `"25%"`,
			doc: "How many healthy instances may be missing while a rolling replacement is under way, and when a release that is gone back to takes over: a number or a percentage, rounded down.",
		}),
		field(whole(1, 65535), func(d *D) *int { return &d.Preview }, setting{
			name: "preview", unset: "none", example: `9090`,
			doc: "A port on the machine's own addresses that leads to the new release before it has the traffic: to the first of the service's ports that is published.",
		}),
		field(duration(0, week), func(d *D) *imx.Duration { return &d.Window }, setting{
			name: "window", need: filled, def: `"10m"`, example: `"1h"`,
			doc: "How long after its success a release that turns bad is gone back from by itself, once; `\"0s\"` is never.",
		}),
		field(oneOf("way to keep a release", imx.WarmFrozen, imx.WarmStopped), func(d *D) *imx.Warmth { return &d.Warm }, setting{
			name: "warm", need: filled, def: `"stopped"`, example: `"frozen"`,
			doc: "How the last good release is kept for a rollback: `\"frozen\"` with its instances, which take memory and no CPU, or `\"stopped\"` with its root mounted and verified.",
		}),
		field(oneString("string", isName), func(d *D) *string { return &d.Group }, setting{
			name: "group", unset: "alone", example: `"shop"`, doc: "The services of one group go forward and come back together.",
		}),
	}
}

func stepBlock() *block {
	type S = imx.Step
	return several(
		func(d *imx.Deploy) *[]S { return &d.Steps }, func(s *S) *imx.Pos { return &s.At },
		block{
			name: "step",
			doc:  "A share of the traffic that the new release gets, and what has to come before the next. What follows the last step is all of it.",
			settings: []setting{
				field(whole(0, 99), func(s *S) *int { return &s.Share }, setting{
					name: "share", need: required, example: `10`, doc: "Percent of the new connections; 0 is none, for a look at the preview port.",
				}),
				field(duration(0, week), func(s *S) *imx.Duration { return &s.Pause }, setting{
					name: "pause", unset: "none", example: `"5m"`, doc: "How long it has that share at least, while it is judged.",
				}),
				field(truth(), func(s *S) *bool { return &s.Confirm }, setting{
					name: "confirm", unset: "`false`", example: `true`, doc: "Whether a person has to let it go on: `imx rollout promote`.",
				}),
			},
		})
}

func judgeBlock() *block {
	type M = imx.Measure
	selector := func(at func(*M) *string, s setting) setting { return field(oneString("string", isSelector), at, s) }
	return placed(
		func(d *imx.Deploy) **M { return &d.Judge }, func(m *M) *imx.Pos { return &m.At },
		block{
			name: "judge",
			doc: "Which of the service's own metrics, in Prometheus' text format, tell how a release does. " +
				"The new release is given up where it does worse than the one before by the rule of docs/rollout.md; " +
				"while too little is known it waits. Labels are compared as PromQL does, with values in single quotes.",
			settings: []setting{
				checkPort(func(m *M) *string { return &m.Port }),
				field(oneString("string", isURLPath), func(m *M) *string { return &m.Path }, setting{
					name: "path", need: filled, def: `"/metrics"`, example: `"/metrics"`, doc: "The path that shows the metrics of the instance that is asked.",
				}),
				selector(func(m *M) *string { return &m.Requests }, setting{
					name: "requests", need: required, example: `"http_requests_total"`, doc: "The counter of all requests.",
				}),
				selector(func(m *M) *string { return &m.Errors }, setting{
					name: "errors", need: required, example: `"http_requests_total{code=~'5..'}"`, doc: "The counter of those that failed.",
				}),
				selector(func(m *M) *string { return &m.Seconds }, setting{
					name: "seconds", unset: "durations aren't judged", example: `"http_request_duration_seconds"`,
					doc: "A histogram or summary of how long they took, without `_sum` and `_count`.",
				}),
				field(whole(1, 1_000_000_000), func(m *M) *int { return &m.AtLeast }, setting{
					name: "at_least", need: filled, def: `100`, example: `500`, doc: "Below so many requests to the new release nothing is judged, and it waits.",
				}),
				field(fraction(0, 1), func(m *M) *float64 { return &m.Slack }, setting{
					name: "slack", need: filled, def: `0.01`, example: `0.001`, doc: "The share of errors that is never held against it, from 0 to 1.",
				}),
				field(fraction(1, 1000), func(m *M) *float64 { return &m.SlowBy }, setting{
					name: "slow_by", unset: "2 with `seconds`", example: `1.5`, doc: "So many times as long as before is too slow.",
				}),
			},
		})
}

// inferDeploy fills in what a deploy block leaves out and depends on what else it says, and tells what it can't have.
func inferDeploy(t *imx.Template, r *report) {
	for i := range t.Services {
		s := &t.Services[i]
		if s.Deploy == nil {
			continue
		}
		w := top("service", i, s.Name)
		at := w.place.block("deploy", 0)
		how := s.Deploy
		_, surge := r.places[at.setting("surge")]
		if how.Strategy == imx.Rolling && !surge && how.Unavailable == (imx.Amount{}) {
			how.Surge.Percent = usualSurge
		}
		if m := how.Judge; m != nil && m.Seconds != "" && m.SlowBy == 0 {
			m.SlowBy = 2
		}
		if how.Group != "" && s.Exclusive() {
			r.notice(at.setting("group"), flaw{
				summary: fmt.Sprintf("%s is stopped before its new release starts, for its volume %q has one holder: nothing answers while the rest of group %q gets ready",
					w.subject, s.Volumes[0].Name, how.Group),
				hint: "leave it out of the group if the others can do without",
			})
		}
		if how.Warm == imx.WarmFrozen && s.Exclusive() {
			r.notice(at.setting("warm"), flaw{
				summary: fmt.Sprintf("%s is kept stopped, not frozen: a frozen instance would hold its volume %q", w.subject, s.Volumes[0].Name),
				hint:    `write warm = "stopped"`,
			})
		}
	}
}

// deploy checks what the settings of a deploy block say together.
func (c checker) deploy(w where, s *imx.Spec) {
	how := s.Deploy
	if how == nil {
		return
	}
	outer := w
	w = w.nested(w.place.block("deploy", 0), "deploy")
	if c.r.isBroken(w.place.setting("strategy")) {
		return
	}
	switch how.Strategy {
	case imx.Rolling:
		c.rolling(w, how)
	case imx.BlueGreen:
		c.blueGreen(w, how)
	case imx.Canary:
		c.canary(w, how)
	}
	if how.Strategy != imx.Rolling && how.Surge != (imx.Amount{}) {
		c.r.fail(w.place.setting("surge"), flaw{
			summary: fmt.Sprintf("%s: surge is for a rolling replacement, and this one is %s", w.subject, how.Strategy),
			hint:    `leave it out, or write strategy = "rolling"`,
		})
	}
	if how.Preview != 0 && !slices.ContainsFunc(s.Ports, func(p imx.Port) bool { return p.Publish != 0 }) {
		c.r.fail(w.place.setting("preview"), flaw{
			summary: w.subject + ": preview leads to the first of the service's ports that is published, and none is",
			hint:    "add publish = ... to a port, or leave preview out",
		})
	}
	c.judged(outer, w, s)
}

func (c checker) rolling(w where, how *imx.Deploy) {
	if len(how.Steps) > 0 {
		c.r.fail(w.place.block("step", 0), flaw{
			summary: w.subject + ": a rolling replacement has no steps: each healthy instance gets its share of the traffic",
			hint:    `leave the step out, or write strategy = "canary"`,
		})
	}
	if how.Preview != 0 {
		c.r.fail(w.place.setting("preview"), flaw{
			summary: w.subject + ": a rolling replacement has no preview: its first healthy instance gets traffic",
			hint:    `leave it out, or write strategy = "blue-green"`,
		})
	}
	none := imx.Amount{}
	if how.Surge == none && how.Unavailable == none && !c.r.isBroken(w.place.setting("surge")) && !c.r.isBroken(w.place.setting("unavailable")) {
		c.r.fail(w.place, flaw{
			summary: w.subject + ": surge and unavailable are both 0: no instance could be replaced",
			hint:    `write surge = 1, or unavailable = 1 if there is no room for one more`,
		})
	}
}

func (c checker) blueGreen(w where, how *imx.Deploy) {
	for i, step := range how.Steps {
		at := w.place.block("step", i)
		switch {
		case c.r.isBroken(at.setting("share")):
		case step.Share > 0:
			c.r.fail(at.setting("share"), flaw{
				summary: fmt.Sprintf("%s: step: share is %d, and blue-green moves all the traffic at once", w.subject, step.Share),
				hint:    `write strategy = "canary", or share = 0 for a look before it moves`,
			})
		case i > 0:
			c.r.fail(at, flaw{summary: w.subject + ": there are two steps of share 0", hint: c.again(w.place.block("step", 0))})
		}
	}
}

func (c checker) canary(w where, how *imx.Deploy) {
	if len(how.Steps) == 0 {
		c.r.fail(w.place, flaw{
			summary: w.subject + ": a canary needs a step: without one all the traffic moves at once", hint: `add step { share = 10 }`,
		})
	}
	for i := 1; i < len(how.Steps); i++ {
		at := w.place.block("step", i).setting("share")
		before := w.place.block("step", i-1).setting("share")
		if how.Steps[i].Share <= how.Steps[i-1].Share && !c.r.isBroken(at) && !c.r.isBroken(before) {
			c.r.fail(at, flaw{
				summary: fmt.Sprintf("%s: step: share is %d, after %d: shares rise", w.subject, how.Steps[i].Share, how.Steps[i-1].Share),
				hint:    withPlace("put the steps in the order of their shares", c.r.at(before)),
			})
		}
	}
}

func (c checker) judged(service, w where, s *imx.Spec) {
	m := s.Deploy.Judge
	if m == nil {
		return
	}
	w = w.nested(w.place.block("judge", 0), "judge")
	c.portOf(service, s, "judge", m.Port, w.place)
	at := w.place.setting("slow_by")
	switch {
	case c.r.isBroken(at) || c.r.isBroken(w.place.setting("seconds")):
	case m.SlowBy > 0 && m.Seconds == "":
		c.r.fail(at, flaw{
			summary: w.subject + ": slow_by compares durations, and there are none", hint: `add seconds = "http_request_duration_seconds", or leave it out`,
		})
	}
}
