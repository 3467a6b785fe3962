package rollout

import (
	"slices"
	"strings"

	"imx"
)

// replaced reports whether an instance is to be replaced though it runs: it doesn't count as one of those that there should be. One
// in the middle of a rolling replacement is: that ends them all.
func replaced(in imx.Instance) bool { return in.Taint != nil }

// replaceTainted stops a release's tainted instances when as many sound ones are healthy as are wanted of it. One that holds a volume
// has to go first, and one that isn't healthy goes at once. What stops counts no longer.
func (d *decider) replaceTainted(number, wanted int) {
	have := d.by[number]
	ready := have.healthy-have.taintedWell >= wanted && d.spares(number, have.taintedWell) || d.spec(number).Exclusive()
	for _, in := range d.taintedOf(number) {
		well := in.Phase == imx.Healthy
		if well && !ready {
			continue
		}
		d.do(Stop{Instance: in.ID, Reason: quote("tainted", in.Taint.Reason)})
		switch {
		case well:
			have.tainted, have.taintedWell, have.healthy = have.tainted-1, have.taintedWell-1, have.healthy-1
		case in.Phase == imx.Warm:
			have.warm--
		default:
			have.tainted--
		}
	}
	if _, known := d.by[number]; known {
		d.by[number] = have
	}
}

// spares reports whether the traffic is left with as many healthy instances as it needs without so many of a release.
func (d *decider) spares(number, n int) bool {
	if d.seen.Routes[number] == 0 {
		return true
	}
	need := d.want.Replicas
	for routed := range d.seen.Routes {
		need = min(need, d.replicas(routed))
	}
	return d.routed()-n >= min(d.routed(), need)
}

// taintedOf are a release's tainted instances that aren't stopping yet, in order.
func (d *decider) taintedOf(number int) []imx.Instance {
	list := slices.DeleteFunc(slices.Clone(d.seen.Instances), func(in imx.Instance) bool {
		return in.Release != number || !replaced(in) || in.Phase == imx.Stopping || in.Phase == imx.Ended
	})
	slices.SortFunc(list, func(a, b imx.Instance) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// untainted are instances without those taints that change nothing now: of releases that go anyway, and of those that are replaced some
// after the other, which end with that or are seen to when it has failed.
func (d *decider) untainted(instances []imx.Instance) []imx.Instance {
	rolls := d.want.Target.Number != d.want.Current.Number && !d.goesBack() && d.rolls()
	list := slices.Clone(instances)
	for i, in := range list {
		stays := in.Release == d.want.Target.Number || in.Release == d.want.Current.Number
		if in.Phase != imx.Warm && (!stays || rolls || d.want.Destroyed) {
			list[i].Taint = nil
		}
	}
	return list
}
