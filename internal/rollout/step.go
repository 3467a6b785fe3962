package rollout

import (
	"fmt"
	"strings"
	"time"

	"imx"
	"imx/internal/judge"
)

// most is the largest share of a step: what follows the last is all.
const most = Whole - 1

// steps are what a target goes through before it has all the traffic. Where there is nothing to compare it with, or nothing
// is to be seen of it beside the current release, there are none.
func (d *decider) steps() []imx.Step {
	how := d.want.Target.Spec.How()
	if how.Strategy == imx.Rolling || d.alone() {
		return nil
	}
	if how.Strategy == imx.BlueGreen && how.Preview != 0 && len(how.Steps) == 0 {
		return []imx.Step{{}}
	}
	return how.Steps
}

// alone reports whether the target is never beside the current release in the traffic: that is the first, or has no instances,
// or neither has, or they share a volume.
func (d *decider) alone() bool {
	current, target := d.want.Current.Number, d.want.Target.Number
	return current == 0 || d.replicas(current) == 0 || d.replicas(target) == 0 || d.shares(current, target)
}

// place is where a rollout by steps is.
type place struct {
	index, of int
	share     int // of the traffic
	need      int // healthy instances of the target
	imx.Step
}

func (d *decider) place(steps []imx.Step) place {
	n := d.replicas(d.want.Target.Number)
	at := place{index: max(0, min(d.want.Rollout.Step, len(steps))), of: len(steps), share: Whole, need: n}
	if d.want.Rollout.Whole {
		at.index = at.of
	}
	if at.index == at.of {
		return at
	}
	at.Step = steps[at.index]
	at.share = max(0, min(at.Share, most))
	if d.want.Target.Spec.How().Strategy == imx.Canary && len(d.want.Peers) == 0 {
		at.need = max(1, (at.share*n+Whole-1)/Whole)
	}
	return at
}

// step does what is due at the rollout's step, and goes on to the next if nothing stands in the way. The current
// release keeps all its instances, so that the way back is one move.
func (d *decider) step(steps []imx.Step) {
	at := d.place(steps)
	switch {
	case d.want.Rollout.Since.IsZero():
		d.do(Advance{Release: d.want.Target.Number, Step: at.index, Share: at.share, Reason: d.opening(at)})
		return
	case d.want.Rollout.Step < at.index:
		d.do(Advance{Release: d.want.Target.Number, Step: at.index, Share: at.share, Reason: "a person promoted it past all steps"})
		return
	}
	if reason := d.bad(at); reason != "" {
		d.giveUp(reason)
		return
	}
	if at.index == at.of {
		d.atOnce()
		return
	}
	d.shareOut(at)
	d.stand(at.need)
	if d.by[d.want.Current.Number].live == d.replicas(d.want.Current.Number) {
		d.replaceBad(d.want.Current.Number)
	}
	if d.inForce(at) {
		d.goOn(at)
	}
}

// opening is why a rollout begins with its step.
func (d *decider) opening(at place) string {
	if at.share == 0 {
		return fmt.Sprintf("it is shown before it gets traffic from release %d", d.want.Current.Number)
	}
	return fmt.Sprintf("it begins beside release %d", d.want.Current.Number)
}

// bad says why a target on its steps has failed, or "".
func (d *decider) bad(at place) string {
	have, target := d.by[d.want.Target.Number], d.want.Target.Number
	if reason := d.sick(); reason != "" {
		return reason
	}
	if v := d.judged(); v.Outcome == judge.Worse {
		return v.Reason
	}
	switch {
	case at.index == at.of || have.healthy >= at.need, d.seen.Routes[target] > 0 && d.seen.Routes[target] >= at.share:
		return "" // the last step is judged as it is without steps; one that was reached, by what becomes of its instances
	case at.share == 0 && d.seen.Preview == target && have.live > 0:
		return ""
	}
	if reason := d.failure(at.need); reason != "" {
		return reason
	}
	d.wakeAt(d.deadline())
	return ""
}

// sick says which of the target's instances make it bad: several ended by themselves, or one has been unhealthy, or on
// its way, for too long.
func (d *decider) sick() string {
	target := d.want.Target
	if ends := d.ends(d.begun()); len(ends) >= Tries {
		return quote(fmt.Sprintf("%d instances of release %d ended by themselves; the last, %s", len(ends), target.Number, ends[0].ID), ending(ends[0]))
	}
	worst := ""
	for _, in := range d.seen.Instances {
		if in.Release != target.Number {
			continue
		}
		limit, since := patience(in, target.Spec)
		if limit == 0 || in.Phase == imx.Starting && within(target.Spec) > 0 { // that one is replaced
			continue
		}
		if at := since.Add(limit); at.After(d.now) {
			d.wakeAt(at)
			continue
		}
		if said := fmt.Sprintf("%s was %s", in.ID, d.lasting(in, since)); worst == "" || said < worst {
			worst = said
		}
	}
	return worst
}

// judged is what metrics and probes say of a target that has traffic. Of one without, nothing can be said, and with nothing to
// ask nothing is.
func (d *decider) judged() judge.Verdict {
	target, current, m := d.want.Target.Number, d.want.Current.Number, d.want.Target.Spec.How().Judge
	c := d.seen.Counted[target]
	if d.seen.Routes[target] == 0 {
		return judge.Verdict{Outcome: judge.TooLittle, Reason: "it has no traffic"}
	}
	if m != nil || c.Probed > 0 {
		d.wakeAt(d.now.Add(JudgeEvery))
	}
	if v := judge.Probes(c.Probed, c.Missed, c.Miss); v.Outcome == judge.Worse {
		return v
	}
	if m == nil {
		return judge.Verdict{Outcome: judge.NotWorse, Reason: ""}
	}
	old := d.seen.Counted[current]
	v := judge.Compare(*m, tallied(c), tallied(old), fmt.Sprintf("release %d", current))
	switch {
	case v.Outcome == judge.TooLittle && c.Missing != "":
		v.Reason = "its metrics couldn't be read: " + c.Missing
	case old.Missing != "":
		v = judge.Verdict{Outcome: judge.TooLittle, Reason: fmt.Sprintf("the metrics of release %d couldn't be read: %s", current, old.Missing)}
	}
	return v
}

func tallied(c imx.Counted) judge.Tally {
	return judge.Tally{Requests: c.Requests, Errors: c.Errors, Seconds: c.Seconds, Timed: c.Timed}
}

// shareOut gives the target its step's share once it has the instances for it, and never more while a person
// stopped it or its group isn't ready.
func (d *decider) shareOut(at place) {
	target, current := d.want.Target.Number, d.want.Current.Number
	have, routes := d.by[target], d.seen.Routes
	preview := 0
	if d.want.Target.Spec.How().Preview != 0 && have.healthy > 0 {
		preview = target
	}
	share := routes[target]
	free := d.want.Rollout.Paused == "" && d.holdup() == "" && have.healthy >= at.need
	if free || at.share < share {
		share = at.share
	}
	switch {
	case d.strays() && d.by[current].healthy < min(d.replicas(current), max(1, d.routed())):
		return // the current release comes back first
	case len(routes) == 0 && d.by[current].healthy == 0:
		return
	}
	weights := imx.Weights{current: Whole - share}
	if share > 0 {
		weights[target] = share
	}
	d.route(weights, preview)
}

// strays reports whether the traffic reaches what is neither the current release nor its target, or not the current one.
func (d *decider) strays() bool {
	for number := range d.seen.Routes {
		if number != d.want.Current.Number && number != d.want.Target.Number {
			return true
		}
	}
	return d.seen.Routes[d.want.Current.Number] == 0
}

// inForce reports whether the step is reached: its share of the traffic, by as many instances as it takes.
func (d *decider) inForce(at place) bool {
	target, current := d.want.Target.Number, d.want.Current.Number
	shown := d.want.Target.Spec.How().Preview == 0 || d.seen.Preview == target
	return d.by[target].healthy >= at.need && d.seen.Routes[target] == at.share && d.seen.Routes[current] == Whole-at.share && shown
}

// goOn comes to the next step, or says why not.
func (d *decider) goOn(at place) {
	if d.want.Rollout.Paused != "" {
		return
	}
	reason, until := d.waiting(at)
	if until.After(d.now) || reason != "" {
		d.wakeAt(until)
		d.wait(reason)
		return
	}
	next := at.index + 1
	share := Whole
	if steps := d.steps(); next < len(steps) {
		share = max(0, min(steps[next].Share, most))
	}
	d.do(Advance{Release: d.want.Target.Number, Step: next, Share: share, Reason: d.because(at)})
}

// waiting says why a step that is in force isn't over, and until when its time isn't.
func (d *decider) waiting(at place) (string, time.Time) {
	if reason := d.holdup(); reason != "" {
		return reason, time.Time{}
	}
	if d.want.Rollout.Confirm { // a person promoted it
		return "", time.Time{}
	}
	since := d.begun()
	if at.share > 0 && d.want.Moved.After(since) {
		since = d.want.Moved
	}
	until := since.Add(time.Duration(at.Pause))
	if until.After(d.now) {
		return "", until
	}
	if v := d.judged(); at.share > 0 && v.Outcome == judge.TooLittle {
		return v.Reason, until
	}
	if at.Confirm {
		return "a person has to promote it: imx rollout promote " + d.want.Service, until
	}
	return "", until
}

// because is why the step is over.
func (d *decider) because(at place) string {
	if d.want.Rollout.Confirm {
		return "a person promoted it"
	}
	var why []string
	if v := d.judged(); at.share > 0 && v.Reason != "" {
		why = append(why, v.Reason)
	}
	if at.Pause > 0 {
		why = append(why, "nothing was wrong in "+time.Duration(at.Pause).String())
	}
	if len(why) == 0 {
		why = append(why, fmt.Sprintf("%d instances are healthy", d.by[d.want.Target.Number].healthy))
	}
	return strings.Join(why, "; ")
}

// wait says why the rollout doesn't go on, if that is another reason than before. What changes all the time comes after
// a colon, and is no other reason.
func (d *decider) wait(reason string) {
	is, _, _ := strings.Cut(reason, ":")
	was, _, _ := strings.Cut(d.want.Rollout.Waits, ":")
	if is != was {
		d.do(Wait{Release: d.want.Target.Number, Reason: reason})
	}
}

// Steps are what a service's target goes through before it has all the traffic, as long as it is rolled out; none where all of it
// moves at once, or with each instance.
func Steps(v imx.Service) []imx.Step {
	if v.Target == v.Current {
		return nil
	}
	d := &decider{want: Wanted{Service: v.Name, Replicas: v.Replicas, CurrentReplicas: v.CurrentReplicas}}
	d.want.Target, _ = v.Release(v.Target)
	d.want.Current, _ = v.Release(v.Current)
	if d.goesBack() {
		return nil
	}
	return d.steps()
}
