package trial

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"slices"

	"imx"
	"imx/internal/admission"
	"imx/internal/engine"
	"imx/internal/gc"
)

// kitsOf are the kits that a test's commands are run in, each once.
func (r Run) kitsOf(test imx.Test, image string) []imx.Kit {
	var all []imx.Kit
	for _, c := range test.Commands {
		kit, ok := imx.Plan{Kits: r.Kits}.Kit(image, c.Packages)
		if ok && !slices.ContainsFunc(all, func(k imx.Kit) bool { return slices.Equal(k.Packages, kit.Packages) }) {
			all = append(all, kit)
		}
	}
	return all
}

// makeKits builds the kits of what is due: before a test's time runs.
func (r Run) makeKits(ctx context.Context, cases []*trialCase) error {
	made := map[imx.Digest]imx.Image{}
	for _, c := range cases {
		for _, k := range c.kits {
			d := k.Plan.Digest()
			if _, ok := made[d]; ok || !c.due {
				continue
			}
			image, err := r.Make(ctx, k)
			if err != nil {
				return err
			}
			made[d] = image
		}
		c.made = made
	}
	return nil
}

// way runs a command beside an instance.
type way func(ctx context.Context, s *session, out io.Writer) (int, error)

// way returns how a command is run beside an instance of r: in its kit, or in the instance's own root.
func (c *trialCase) way(t imx.CommandTest, r imx.Release, id string) way {
	kit, ok := imx.Plan{Kits: c.kits}.Kit(c.subject.Config.Name, t.Packages)
	if !ok {
		return func(ctx context.Context, s *session, out io.Writer) (int, error) {
			return s.Exec(ctx, id, t.Command, out)
		}
	}
	r.Image = c.made[kit.Plan.Digest()]
	command := engine.KitCommand{Instance: id, Kit: r.Image, Args: t.Command}
	return func(ctx context.Context, s *session, out io.Writer) (int, error) {
		return s.ExecIn(ctx, admission.ForTrial(r), command, out)
	}
}

// kitsFor are the digests of the plans of the kits that the tests of an image have, sorted, each once.
func kitsFor(image imx.Digest, cases []*trialCase) []imx.Digest {
	var all []imx.Digest
	for _, c := range cases {
		if c.subject.Image.Digest != image {
			continue
		}
		for _, k := range c.kits {
			all = append(all, k.Plan.Digest())
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// kitNote is what a statement's descriptors of kits are named by; the digest is of a kit's ImagePlan.
const kitNote = "kit"

// kitsIn are the digests of the kits' plans that a statement of tests names.
func kitsIn(st imx.Statement) []imx.Digest {
	var p predicate
	if json.Unmarshal(st.Predicate, &p) != nil {
		return nil // then it is tested again, in kits that are made again
	}
	var all []imx.Digest
	for _, d := range p.Configuration {
		if kit, err := imx.ParseDigest("sha256:" + d.Digest["sha256"]); d.Name == kitNote && err == nil {
			all = append(all, kit)
		}
	}
	return all
}

// Kept is what tells which kits are still needed.
type Kept struct {
	State func() *imx.State
	Read  func(imx.Evidence) (imx.Statement, error)
}

// Things returns a store that has nothing and knows what others' things need: who may have to build an image again, may
// have to test it again, in the kits of its newest tests. Others go.
func (k Kept) Things() gc.Store { return things{k, k.State()} }

type things struct {
	kept  Kept
	state *imx.State
}

// Roots implements gc.Store.
func (things) Roots() ([]gc.Thing, error) { return nil, nil }

// Items implements gc.Store.
func (things) Items() iter.Seq2[gc.Item, error] { return func(func(gc.Item, error) bool) {} }

// Needs implements gc.Store.
func (t things) Needs(thing gc.Thing) ([]gc.Thing, error) {
	image, ok := t.state.Images[thing.Digest()]
	if thing.Kind != gc.Build || !ok {
		return nil, nil
	}
	tests, ok := t.state.Evidence[image.Digest][imx.PredicateTest]
	if !ok {
		return nil, nil
	}
	st, err := t.kept.Read(tests)
	if kind := imx.KindOf(err); kind == imx.NotFound || kind == imx.Refused {
		return nil, nil // then it is tested again, in kits that are made again
	}
	if err != nil {
		return nil, err
	}
	var all []gc.Thing
	for _, kit := range kitsIn(st) {
		all = append(all, gc.Of(gc.Build, kit))
	}
	return all, nil
}

// Size implements gc.Store.
func (things) Size(gc.Thing) (imx.Size, error) { return 0, nil }

// Remove implements gc.Store.
func (things) Remove(gc.Thing) error { return nil }
