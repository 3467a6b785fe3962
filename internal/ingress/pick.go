package ingress

import "math"

// Load is how an instance does, as whoever picks sees it.
type Load struct {
	Open    int  // requests that it hasn't answered
	Suspect bool // it lately failed to answer
	Tried   bool // by this very request
}

// Draw returns a number from 0 up to, not including, n.
type Draw func(n int) int

// Pick chooses the instance for a request, false if all were tried. Releases get requests by their weights, as far as they
// have an instance that wasn't tried and isn't suspect; of a release's instances, the less busy one of two that are drawn. Suspect ones are taken where there is
// no other: they may answer again by now.
func (p Pool) Pick(load func(Instance) Load, draw Draw) (Instance, bool) {
	for _, suspects := range []bool{false, true} {
		candidates := map[int][]candidate{}
		for _, in := range p.Instances {
			if l := load(in); !l.Tried && l.Suspect == suspects && p.Weights[in.Release] > 0 {
				candidates[in.Release] = append(candidates[in.Release], candidate{in, l.Open})
			}
		}
		if len(candidates) > 0 {
			return lessBusy(candidates[p.release(candidates, draw)], draw), true
		}
	}
	return Instance{}, false
}

type candidate struct {
	Instance

	open int
}

// release draws one of those that have candidates, by their weights.
func (p Pool) release(candidates map[int][]candidate, draw Draw) int {
	total := 0
	for _, number := range p.numbers() {
		if len(candidates[number]) > 0 {
			total += p.weight(number)
		}
	}
	drawn := draw(total)
	for _, number := range p.numbers() {
		if len(candidates[number]) == 0 {
			continue
		}
		if drawn -= p.weight(number); drawn < 0 {
			return number
		}
	}
	return 0 // a Draw that keeps its word never comes here
}

// numbers are the releases that have instances, each one once, in the order of these.
func (p Pool) numbers() []int {
	var all []int
	for _, in := range p.Instances {
		known := false
		for _, n := range all {
			known = known || n == in.Release
		}
		if !known {
			all = append(all, in.Release)
		}
	}
	return all
}

// weight is capped, so that no sum of weights overflows.
func (p Pool) weight(release int) int { return min(p.Weights[release], math.MaxInt32) }

func lessBusy(list []candidate, draw Draw) Instance {
	first := draw(len(list))
	if len(list) == 1 {
		return list[0].Instance
	}
	second := draw(len(list) - 1)
	if second >= first {
		second++
	}
	if list[second].open < list[first].open {
		first = second
	}
	return list[first].Instance
}
