package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"imx"
	"imx/internal/judge"
)

// turnedBad says why a release that was good is to be gone back from, or "". That happens once, within the window that
// its template sets, and only where there is something to go back to. A group goes back together, whenever.
func (d *decider) turnedBad() string {
	w := d.want
	if w.Held || w.Back.Number == 0 || w.Back.Number == w.Target.Number || w.Finished.IsZero() {
		return ""
	}
	if reason := d.peerFailed(); reason != "" {
		return reason
	}
	until := w.Finished.Add(time.Duration(w.Target.Spec.How().Window))
	if !until.After(d.now) || w.Replicas == 0 {
		return ""
	}
	if ends := d.ends(w.Finished); len(ends) >= Tries {
		return quote(fmt.Sprintf("%d instances of release %d ended by themselves since it had the traffic; the last, %s",
			len(ends), w.Target.Number, ends[0].ID), ending(ends[0]))
	}
	if reason := d.mostlySick(); reason != "" {
		return reason
	}
	if w.Target.Spec.How().Judge == nil {
		return ""
	}
	d.wakeAt(d.now.Add(JudgeEvery))
	if v := d.compared(); v.Outcome == judge.Worse {
		return v.Reason
	}
	return ""
}

// compared is what the metrics say of a release that has the traffic, beside those of the one before.
func (d *decider) compared() judge.Verdict {
	m := d.want.Target.Spec.How().Judge
	is, was := d.seen.Counted[d.want.Target.Number], d.seen.Counted[d.want.Back.Number]
	name := fmt.Sprintf("release %d", d.want.Back.Number)
	if least := max(m.AtLeast, 1); was.Requests < float64(least) {
		return judge.Verdict{Outcome: judge.TooLittle, Reason: fmt.Sprintf("too little is known of %s: %.0f of %d requests", name, was.Requests, least)}
	}
	v := judge.Compare(*m, tallied(is), tallied(was), name)
	if v.Outcome == judge.TooLittle && is.Missing != "" {
		v.Reason = "its metrics couldn't be read: " + is.Missing
	}
	return v
}

// Judged is what was counted comes to at this moment: of a release on its way that has traffic, or of one that has taken over and may be
// gone back from. Without an Outcome nothing is judged.
func Judged(w Wanted, s Seen, now time.Time) judge.Verdict {
	d := &decider{want: w, seen: s, now: now}
	how := w.Target.Spec.How()
	switch {
	case w.Target.Number == 0 || w.Current.Number == 0:
	case w.Target.Number != w.Current.Number && s.Routes[w.Target.Number] > 0:
		v := d.judged()
		if how.Judge != nil || v.Reason != "" {
			return v
		}
		if c := s.Counted[w.Target.Number]; c.Probed > 0 {
			return judge.Probes(c.Probed, c.Missed, c.Miss)
		}
	case w.Target.Number == w.Current.Number && w.Back.Number != 0 && how.Judge != nil && now.Before(w.Finished.Add(time.Duration(how.Window))):
		return d.compared()
	}
	return judge.Verdict{}
}

// mostlySick says that most of the instances have been unhealthy, or on their way, for too long.
func (d *decider) mostlySick() string {
	target := d.want.Target
	var sick []string
	for _, in := range d.seen.Instances {
		if in.Release != target.Number {
			continue
		}
		limit, since := patience(in, target.Spec)
		switch at := since.Add(limit); {
		case limit == 0:
		case at.After(d.now):
			d.wakeAt(at)
		default:
			sick = append(sick, fmt.Sprintf("%s is %s", in.ID, d.lasting(in, since)))
		}
	}
	n := d.replicas(target.Number)
	if 2*len(sick) <= n {
		return ""
	}
	return fmt.Sprintf("%d of %d instances of release %d turned bad; %s", len(sick), n, target.Number, slices.Min(sick))
}

// wayBack keeps the release that a rollback goes to, proves it from time to time, and says how it stands.
func (d *decider) wayBack() {
	d.letGo()
	back := d.want.Back.Number
	if back == 0 || back == d.want.Target.Number {
		if d.want.Way != (imx.WayBack{}) {
			d.do(Report{})
		}
		return
	}
	d.replaceTainted(back, 0) // frozen ones
	have := d.by[back]
	if _, kept := d.kept(back); !kept && have.live == 0 {
		d.keepBack()
	}
	proof, proving := d.proof()
	over := proving && d.judgedProof(proof) != undecided
	if over {
		d.keepBack()
	}
	if way := d.way(); differs(way, d.want.Way) {
		d.do(Report{Way: way})
	}
	if !proving {
		d.prove()
	}
}

// letGo lets go of the roots that are kept and are no way back any more.
func (d *decider) letGo() {
	for _, k := range d.seen.Kept {
		if _, has := d.by[k.Release]; !has && k.Release != d.want.Back.Number && k.Release != d.want.Target.Number && k.Release != d.want.Current.Number {
			d.do(Scale{Release: k.Release, Replicas: 0})
		}
	}
}

func (d *decider) keepBack() {
	n := d.want.CurrentReplicas
	if d.want.Back.Spec.Exclusive() {
		n = min(n, 1)
	}
	d.do(Keep{Release: d.want.Back.Number, Replicas: n})
}

func (d *decider) kept(number int) (imx.Kept, bool) {
	for _, k := range d.seen.Kept {
		if k.Release == number {
			return k, true
		}
	}
	return imx.Kept{}, false
}

// proof is the instance of the way back that runs to prove it: it began after the traffic had moved, which those that drain
// didn't.
func (d *decider) proof() (imx.Instance, bool) {
	for _, in := range d.seen.Instances {
		if in.Release == d.want.Back.Number && began(in).After(d.want.Moved) &&
			(in.Phase == imx.Starting || in.Phase == imx.Healthy || in.Phase == imx.Unhealthy) {
			return in, true
		}
	}
	return imx.Instance{}, false
}

// began is when an instance was started, or was thawed: one that is healthy was never seen otherwise before it was that.
func began(in imx.Instance) time.Time {
	if in.Changed.After(in.Started) {
		return in.Changed
	}
	return in.Started
}

// proving reports whether a release runs for no other reason than to prove it.
func (d *decider) proving(number int) bool {
	_, is := d.proof()
	return is && number == d.want.Back.Number
}

// Proves reports whether an instance of the way back is healthy that was started for that alone.
func Proves(w Wanted, instances []imx.Instance) bool {
	d := &decider{want: w, seen: Seen{Instances: instances}}
	in, is := d.proof()
	return is && in.Phase == imx.Healthy && w.Target.Number == w.Current.Number && w.Back.Number != w.Target.Number
}

// fate is how a proof ended.
type fate int

const (
	undecided fate = iota
	proved
	unproved
)

func (d *decider) judgedProof(in imx.Instance) fate {
	switch in.Phase {
	case imx.Healthy:
		return proved
	case imx.Unhealthy:
		return unproved
	case imx.Starting, imx.Warm, imx.Stopping, imx.Ended:
	}
	limit, since := patience(in, d.want.Back.Spec)
	if at := since.Add(limit); at.After(d.now) {
		d.wakeAt(at)
		return undecided
	}
	return unproved
}

// way is how it stands with the way back. One that was lost stays so until it is proved again.
func (d *decider) way() imx.WayBack {
	back, old := d.want.Back, d.want.Way
	same := old.Release == back.Number
	way := imx.WayBack{Release: back.Number, Warm: back.Spec.How().Warm}
	if back.Spec.Exclusive() || way.Warm == "" {
		way.Warm = imx.WarmStopped
	}
	if same {
		way.Proved = old.Proved
	}
	if d.seen.Proved.After(way.Proved) {
		way.Proved = d.seen.Proved
	}
	kept, is := d.kept(back.Number)
	proof, proving := d.proof()
	switch why := d.lost(way.Proved); {
	case why != "":
		way.Why = why
	case kept.Fault != "":
		way.Why = kept.Fault
	case proving && d.judgedProof(proof) == proved:
		way.Ready = true
	case !is && d.by[back.Number].live == 0:
		return old // it is being kept
	case same && !old.Ready && !back.Spec.Exclusive():
		way.Why = old.Why
	default:
		way.Ready = true
	}
	return way
}

// lost says why the way back is none: it couldn't be kept or started, or what was started to prove it wasn't healthy.
func (d *decider) lost(proved time.Time) string {
	back := d.want.Back.Number
	if in, is := d.proof(); is && d.judgedProof(in) == unproved {
		_, since := patience(in, d.want.Back.Spec)
		return fmt.Sprintf("%s, started to prove it, is %s", in.ID, d.lasting(in, since))
	}
	ends := slices.DeleteFunc(byItself(d.seen.Ended, back, proved, within(d.want.Back.Spec)), vanished)
	tried := d.seen.Tried.After(proved) && len(ends) > 0 && !ends[0].Ended.Before(d.seen.Tried)
	if len(ends) > 0 && (tried || ends[0].Started.After(d.want.Moved)) && !d.want.Back.Spec.Exclusive() {
		return quote("its last instance ended", ending(ends[0]))
	}
	_, kept := d.kept(back)
	switch {
	case d.seen.Trouble == "" || d.by[back].live > 0:
		return ""
	case !kept:
		return quote("it couldn't be kept", d.seen.Trouble)
	case d.seen.Tried.After(proved) && !d.now.After(d.seen.Tried.Add(JudgeEvery)):
		return quote("no instance of it could be started", d.seen.Trouble)
	}
	return ""
}

// differs reports whether what is to be told of a way back has changed. When it was proved is no news after the first time.
func differs(is, was imx.WayBack) bool {
	news := is.Proved.IsZero() != was.Proved.IsZero() && is.Ready
	is.Proved, was.Proved = time.Time{}, time.Time{}
	return is != was || news
}

// prove starts an instance of the way back when one hasn't been for long. The service comes first: it has to be whole.
func (d *decider) prove() {
	back, target := d.want.Back, d.want.Target.Number
	kept, is := d.kept(back.Number)
	if !is || kept.Fault != "" || back.Spec.Exclusive() || d.by[back.Number].live > 0 || d.want.Replicas == 0 ||
		d.by[target].healthy < d.replicas(target) || !only(d.seen.Routes, target) {
		return
	}
	due := d.want.Moved
	for _, at := range []time.Time{d.want.Finished, d.seen.Proved, d.seen.Tried, d.lastEnd(back.Number)} {
		if at.After(due) && !at.After(d.now) {
			due = at
		}
	}
	if due = due.Add(cmp.Or(d.want.Prove, ProveEvery)); due.After(d.now) {
		d.wakeAt(due)
		return
	}
	d.do(Scale{Release: back.Number, Replicas: 1})
}

// lastEnd is when an instance of a release last ended.
func (d *decider) lastEnd(release int) time.Time {
	var last time.Time
	for _, in := range d.seen.Ended {
		if in.Release == release && in.Ended.After(last) {
			last = in.Ended
		}
	}
	return last
}
