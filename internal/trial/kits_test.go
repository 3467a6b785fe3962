package trial_test

import (
	"context"
	"slices"
	"testing"

	"imx"
	"imx/internal/gc"
	"imx/internal/statement"
	"imx/internal/trial"
)

// curled is pings with a command that brings its own package; made are the kits that were built.
func curled(packages ...string) (run trial.Run, made *[]string) {
	run, made = pings(), new([]string)
	run.Tests[0].Commands[0].Packages = packages
	if len(packages) > 0 {
		run.Kits = []imx.Kit{{Image: "web", Packages: packages, Plan: imx.ImagePlan{Spec: imx.ImageSpec{Name: "web+" + packages[0]}}}}
	}
	run.Make = func(_ context.Context, k imx.Kit) (imx.Image, error) {
		*made = append(*made, k.Plan.Spec.Name)
		return imx.Image{Name: k.Plan.Spec.Name}, nil
	}
	return run, made
}

func TestACommandWithPackagesIsRunInItsKitWhichIsMadeOnlyForATestThatIsDue(t *testing.T) {
	w := newWorld()
	run, made := curled("curl")
	if r := w.one(t, run); !r.Passed || !slices.Equal(w.kits, []string{"web+curl"}) || len(*made) != 1 {
		t.Errorf("%+v, run in %v, made %v", r, w.kits, *made)
	}
	again, made := curled("curl")
	if r := w.one(t, again); !r.Passed || len(w.kits) != 1 || len(*made) != 0 {
		t.Errorf("again: %+v, run in %v, made %v", r, w.kits, *made)
	}
	newer, made := curled("curl")
	newer.Kits[0].Plan.Ship = []imx.Package{{Name: "curl", Version: "2"}}
	if r := w.one(t, newer); !r.Passed || len(w.kits) != 2 || len(*made) != 1 {
		t.Errorf("another version: %+v, run in %v, made %v", r, w.kits, *made)
	}
	plain, made := curled()
	if r := w.one(t, plain); !r.Passed || len(w.kits) != 2 || len(*made) != 0 {
		t.Errorf("without packages: %+v, run in %v, made %v", r, w.kits, *made)
	}
}

func TestAKitThatCantBeMadeFailsTheRunAndStartsNothing(t *testing.T) {
	w := newWorld()
	run, _ := curled("curl")
	run.Make = func(context.Context, imx.Kit) (imx.Image, error) {
		return imx.Image{}, imx.Errorf(imx.Invalid, "a script fails")
	}
	if _, err := w.Test(t.Context(), "root", run, quiet); imx.KindOf(err) != imx.Invalid || len(w.opened) > 0 {
		t.Errorf("%v, %d machines", err, len(w.opened))
	}
}

// needs are the kits that stay as long as the image may have to be built again.
func (w *world) needs(t *testing.T, image imx.Image) []gc.Thing {
	t.Helper()
	state := &imx.State{Images: map[imx.Digest]imx.Image{image.Plan: image}, Evidence: map[imx.Digest]map[string]imx.Evidence{
		image.Digest: {imx.PredicateTest: {Image: image.Digest}},
	}}
	things := trial.Kept{State: func() *imx.State { return state }, Read: func(e imx.Evidence) (imx.Statement, error) {
		c := w.claims[e.Image]
		return statement.Make(c.Repository, c.Image, c.PredicateType, c.Predicate)
	}}.Things()
	found, err := things.Needs(gc.Of(gc.Build, image.Plan))
	if err != nil {
		t.Fatal(err)
	}
	if of, err := things.Needs(gc.Of(gc.Image, image.Digest)); err != nil || len(of) > 0 {
		t.Errorf("%v, %v", of, err)
	}
	return found
}

func TestAKitStaysWhileATestOfTheImageHasIt(t *testing.T) {
	w := newWorld()
	run, _ := curled("curl")
	web := run.Services[2].Image
	web.Plan = imx.DigestBytes([]byte("plan of web"))
	w.one(t, run)
	if got, want := w.needs(t, web), gc.Of(gc.Build, run.Kits[0].Plan.Digest()); !slices.Equal(got, []gc.Thing{want}) {
		t.Errorf("%v", got)
	}
	gone, _ := curled()
	gone.Tests, gone.Only = nil, nil
	if _, err := w.Test(t.Context(), "root", gone, quiet); err != nil {
		t.Fatal(err)
	}
	if got := w.needs(t, web); len(got) > 0 {
		t.Errorf("no test has it any more: %v", got)
	}
}
