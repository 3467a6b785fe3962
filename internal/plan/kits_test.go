package plan_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/plan"
)

// tested is a scene of which an image has tests that ask for packages.
func tested(t *rapid.T) (solution, plan.Input) {
	s := solved(t)
	in := s.in
	in.Template.Tests = nil
	for range rapid.IntRange(1, 2).Draw(t, "tests") {
		packages := rapid.SliceOfNDistinct(rapid.IntRange(0, 8), 1, 2, rapid.ID).Draw(t, "test packages")
		var command imx.CommandTest
		for _, p := range packages {
			command.Packages = append(command.Packages, name(p))
		}
		in.Template.Tests = append(in.Template.Tests, imx.Test{Service: "sv0", Commands: []imx.CommandTest{command}})
	}
	return s, in
}

// An image is the same whatever its tests ask for, with and without a lock; a kit has all of its image, and what it has
// beyond that fits to it.
func TestAKitHasItsImageAndTheImageNothingOfIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, in := tested(t)
		if rapid.Bool().Draw(t, "locked") {
			in.Lock = &s.lock
		}
		p, lock, said := plan.Resolve(in)
		if said.Err() != nil {
			t.Skip("no solution: " + said.Err().Error())
		}
		if diff := cmp.Diff(s.plan.Images, p.Images); diff != "" {
			t.Fatal(diff)
		}
		for _, k := range p.Kits {
			im, _ := p.Image(k.Image)
			for _, pkg := range im.Ship {
				if !slices.Contains(k.Plan.Ship, pkg) {
					t.Fatalf("%s isn't in the kit", pkg.Name)
				}
			}
			if len(im.Base) > 0 && !slices.Equal(im.Base, k.Plan.Base) {
				t.Fatal("another build root")
			}
			checkClosed(t, s.scene, k.Plan)
		}
		again := in
		again.Lock, again.Indexes = &lock, nil
		if need := plan.Archives(again); len(need) != 0 {
			t.Fatalf("its own lock needs %v", need)
		}
		p2, lock2, _ := plan.Resolve(again)
		if diff := cmp.Diff(p, p2) + cmp.Diff(lock, lock2); diff != "" {
			t.Fatal(diff)
		}
		read, err := plan.ParseLock(plan.FormatLock(lock))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(lock, read); diff != "" {
			t.Fatal(diff)
		}
	})
}

// What a test asks for changes the image neither, when it goes again.
func TestATestThatGoesLeavesTheLockAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, in := tested(t)
		in.Lock = &s.lock
		_, lock, said := plan.Resolve(in)
		if said.Err() != nil {
			t.Skip("no solution")
		}
		back := s.scene.input(t, rand.New(rand.NewPCG(1, 1)))
		back.Lock = &lock
		_, without, _ := plan.Resolve(back)
		if diff := cmp.Diff(s.lock, without); diff != "" {
			t.Fatal(diff)
		}
	})
}
