package rollout

import (
	"maps"
	"slices"
	"time"
)

// ReturnPatience is how long a service that comes back is waited for by those that connect to it.
const ReturnPatience = 30 * time.Second

// Returning is a service after its machine, or all that ran on it, went down.
type Returning struct {
	Service  string
	Connects []string  // the services that it connects to
	Up       bool      // it answers, or nothing of it is to come back
	Began    time.Time // when it was let start; zero while it waits
}

// Due says which services that wait may start now, sorted, for which others each of the rest waits, and when to ask again though nothing
// changed; 0 is never. One waits for those that it connects to until they are up, or had ReturnPatience for that since they began.
// Services that connect to each other in a circle don't wait for each other.
func Due(all []Returning, now time.Time) (due []string, waits map[string][]string, wake time.Duration) {
	by, far := map[string]Returning{}, reach(all)
	for _, r := range all {
		by[r.Service] = r
	}
	waits = map[string][]string{}
	for _, r := range all {
		if r.Up || !r.Began.IsZero() {
			continue
		}
		for _, name := range r.Connects {
			other, known := by[name]
			left, patient := other.patience(now)
			if !known || !patient || far[name][r.Service] {
				continue
			}
			waits[r.Service] = append(waits[r.Service], name)
			if left > 0 && (wake == 0 || left < wake) {
				wake = left
			}
		}
		if len(waits[r.Service]) == 0 {
			due = append(due, r.Service)
		}
	}
	slices.Sort(due)
	return due, waits, wake
}

// patience says whether others wait for the service, and for how long at most; 0 is as long as it hasn't begun itself.
func (r Returning) patience(now time.Time) (left time.Duration, waits bool) {
	switch {
	case r.Up:
		return 0, false
	case r.Began.IsZero():
		return 0, true
	}
	left = r.Began.Add(ReturnPatience).Sub(now)
	return max(left, 0), left > 0
}

// Circles are the services that connect to each other in a circle, each circle sorted, and so are they.
func Circles(all []Returning) [][]string {
	far, seen := reach(all), map[string]bool{}
	var list [][]string
	for _, name := range slices.Sorted(maps.Keys(far)) {
		if !far[name][name] || seen[name] {
			continue
		}
		var circle []string
		for _, other := range slices.Sorted(maps.Keys(far[name])) {
			if far[other][name] {
				circle, seen[other] = append(circle, other), true
			}
		}
		if len(circle) > 1 {
			list = append(list, circle)
		}
	}
	return list
}

// reach is which services each comes to by connections, its own and others'.
func reach(all []Returning) map[string]map[string]bool {
	next := map[string][]string{}
	for _, r := range all {
		next[r.Service] = r.Connects
	}
	far := map[string]map[string]bool{}
	for _, r := range all {
		found, todo := map[string]bool{}, slices.Clone(r.Connects)
		for len(todo) > 0 {
			name := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if _, known := next[name]; known && !found[name] {
				found[name] = true
				todo = append(todo, next[name]...)
			}
		}
		far[r.Service] = found
	}
	return far
}
