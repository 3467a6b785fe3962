// The order in which packages come into a root, told by small archives of them.

package order_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx/internal/build/order"
)

func groups(names ...string) [][]string {
	var all [][]string
	for _, n := range names {
		all = append(all, []string{n})
	}
	return all
}

func TestAPackageWaitsUntilItsPreDependencyIsConfiguredWithAllThatThisNeeds(t *testing.T) {
	q := order.New([]string{"libc6"})
	q.Arrive(order.Package{Name: "common", Depends: groups("libc6")})
	q.Wait(order.Package{Name: "server", PreDepends: groups("tool")})
	q.Wait(order.Package{Name: "tool", Depends: groups("common"), PreDepends: groups("libc6")})
	if diff := cmp.Diff([]string{"tool"}, q.Ready()); diff != "" {
		t.Error(diff)
	}
	if got := q.Ready(); got != nil {
		t.Errorf("ready is %q", got)
	}
	needed := q.Needed()
	if diff := cmp.Diff([]string{"common", "tool"}, needed); diff != "" {
		t.Error(diff)
	}
	q.Settle(needed)
	if diff := cmp.Diff([]string{"server"}, q.Ready()); diff != "" {
		t.Error(diff)
	}
	if left := q.Waiting(); left != nil {
		t.Errorf("%q wait", left)
	}
}

func TestTheFirstAlternativeThatCanBeConfiguredIsTaken(t *testing.T) {
	q := order.New(nil)
	q.Arrive(order.Package{Name: "first", Depends: groups("late")}) // what it depends on waits itself
	q.Arrive(order.Package{Name: "second", Provides: []string{"virtual"}})
	q.Wait(order.Package{Name: "late", PreDepends: groups("app")})
	q.Wait(order.Package{Name: "app", PreDepends: [][]string{{"first", "virtual"}}})
	if got := q.Ready(); got != nil {
		t.Errorf("ready is %q", got)
	}
	if diff := cmp.Diff([]string{"second"}, q.Needed()); diff != "" {
		t.Error(diff)
	}
}

func TestPackagesThatDependOnEachOtherAreConfiguredTogether(t *testing.T) {
	q := order.New(nil)
	q.Arrive(order.Package{Name: "one", Depends: groups("other")})
	q.Arrive(order.Package{Name: "other", Depends: groups("one")})
	q.Wait(order.Package{Name: "app", PreDepends: groups("one")})
	q.Ready()
	if diff := cmp.Diff([]string{"one", "other"}, q.Needed()); diff != "" {
		t.Error(diff)
	}
}

func TestACircleOfPreDependenciesHasNobodyToConfigure(t *testing.T) {
	q := order.New(nil)
	q.Wait(order.Package{Name: "one", PreDepends: groups("other")})
	q.Wait(order.Package{Name: "other", PreDepends: groups("one")})
	if ready, needed := q.Ready(), q.Needed(); ready != nil || needed != nil {
		t.Errorf("%q are ready, %q needed", ready, needed)
	}
}

// An answer in this life, whatever packages say: each level has two ways, and all of them end at what waits.
func TestAlternativesOfAlternativesAreNotTriedOneByOne(t *testing.T) {
	q := order.New(nil)
	const levels = 60
	for i := range levels {
		next := [][]string{{fmt.Sprintf("a%d", i+1), fmt.Sprintf("b%d", i+1)}, {"late"}}
		q.Arrive(order.Package{Name: fmt.Sprintf("a%d", i), Depends: next})
		q.Arrive(order.Package{Name: fmt.Sprintf("b%d", i), Depends: next})
	}
	q.Wait(order.Package{Name: "late", PreDepends: [][]string{{"a0", "b0"}}})
	q.Ready()
	if got := q.Needed(); len(got) != 2*levels {
		t.Errorf("%d are needed: %q", len(got), got)
	}
}

// The laws, of packages of which each only pre-depends on earlier ones: every one gets in, none before one
// of its pre-dependency's alternatives is configured, and what is configured has all that it depends on.
func TestEveryPackageGetsInWhenItMay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := map[string]order.Package{}
		count := rapid.IntRange(1, 12).Draw(t, "packages")
		name := func(i int) string { return fmt.Sprintf("p%02d", i) }
		relations := func(below int, label string) [][]string {
			if below == 0 {
				return nil
			}
			group := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, below-1), name), 1, 3)
			return rapid.SliceOfN(group, 0, 3).Draw(t, label)
		}
		q := order.New(nil)
		for i := range count {
			p := order.Package{Name: name(i), PreDepends: relations(i, "pre-depends"), Depends: relations(i, "depends")}
			all[p.Name] = p
			q.Wait(p)
		}
		configured := map[string]bool{}
		has := func(group []string) bool {
			return slices.ContainsFunc(group, func(n string) bool { return configured[n] })
		}
		for len(q.Waiting()) > 0 {
			if ready := q.Ready(); len(ready) > 0 {
				for _, n := range ready {
					if i := slices.IndexFunc(all[n].PreDepends, func(g []string) bool { return !has(g) }); i >= 0 {
						t.Fatalf("%s is unpacked before one of %q is configured", n, all[n].PreDepends[i])
					}
				}
				continue
			}
			needed := q.Needed()
			if len(needed) == 0 {
				t.Fatalf("%q wait for nothing", q.Waiting())
			}
			for _, n := range needed {
				configured[n] = true
			}
			for _, n := range needed {
				if i := slices.IndexFunc(all[n].Depends, func(g []string) bool { return !has(g) }); i >= 0 {
					t.Fatalf("%s is configured without one of %q", n, all[n].Depends[i])
				}
			}
			q.Settle(needed)
		}
	})
}
