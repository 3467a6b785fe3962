// Package gc decides what of the server's stores nothing needs any more. It reads no store and removes
// nothing: what there is, and what needs what, is asked of the stores' owners, and a list comes back.
//
// A thing is named by its kind and a key. Three kinds belong to everybody, and mean more than one file:
// what they take is spread over the stores, and each owner knows its part.
package gc

import (
	"iter"
	"slices"
	"strings"
	"time"

	"imx"
)

// Kind is what sort of thing something is. Each store has kinds of its own beside these.
type Kind string

// The kinds that belong to no one store.
const (
	// Image is all that it takes to start, pull and show an image. The key is its manifest's digest.
	Image Kind = "image"
	// Build is all that it takes to build an image again, quickly and with no archive. The key is its plan's digest.
	Build Kind = "build"
	// Blob is the bytes that have a digest. The key is that.
	Blob Kind = "blob"
)

// Thing is something that a store has, or that takes things of several stores.
type Thing struct {
	Kind Kind
	Key  string
}

// Of names what a digest stands for.
func Of(k Kind, d imx.Digest) Thing { return Thing{k, string(d)} }

// Digest is the key of a thing that is named by one.
func (t Thing) Digest() imx.Digest { return imx.Digest(t.Key) }

// Item is a thing that can be removed.
type Item struct {
	Thing
	Made time.Time // or when it was last used, where the store notes that
}

// Store is one owner of things, as it was at one moment: it is asked again for each collection. Of several
// stores each knows what it knows; none has to know all kinds.
type Store interface {
	// Roots are things that stay whatever else there is.
	Roots() ([]Thing, error)
	// Items are the things that the store can remove, in the order in which they have to go: what names another
	// before that other, so that nothing names what isn't there any more.
	Items() iter.Seq2[Item, error]
	// Needs returns what a thing can't do without, as far as the store knows: nothing for one that it knows nothing
	// of. An error says that it can't be known, and then nothing may be removed.
	Needs(t Thing) ([]Thing, error)
	// Size is how many bytes an item takes.
	Size(t Thing) (imx.Size, error)
	// Remove removes an item. Killed at any moment, it is there whole or not at all. One that isn't there is no error.
	Remove(t Thing) error
}

// Unneeded returns, in the stores' order, the items that neither a root needs nor an item that was made after
// before, directly or by way of others. Errors are those of the stores.
func Unneeded(stores []Store, roots []Thing, before time.Time) ([]Found, error) {
	var all []Found
	for _, s := range stores {
		own, err := s.Roots()
		if err != nil {
			return nil, err
		}
		roots = append(slices.Clip(roots), own...)
		for it, err := range s.Items() {
			if err != nil {
				return nil, err
			}
			all = append(all, Found{it.Thing, s})
			if it.Made.After(before) {
				roots = append(roots, it.Thing)
			}
		}
	}
	needed, err := reach(stores, roots)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(f Found) bool { return needed[f.Thing] }), nil
}

// Found is an item and the store that has it.
type Found struct {
	Thing
	In Store
}

// reach returns the roots and all that they need.
func reach(stores []Store, roots []Thing) (map[Thing]bool, error) {
	needed := map[Thing]bool{}
	for todo := slices.Clone(roots); len(todo) > 0; {
		t := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if needed[t] {
			continue
		}
		needed[t] = true
		for _, s := range stores {
			more, err := s.Needs(t)
			if err != nil {
				return nil, err
			}
			todo = append(todo, more...)
		}
	}
	return needed, nil
}

// Roots returns what the state needs: the images and files of each service's current and next release, of
// the last keep other good ones, which it may go back to, and of whatever runs; and of each name the newest
// image; and all that releasing an open candidate takes. newest are all images, the newest first. What is current or newest
// is to be built again, too.
func Roots(s imx.State, newest []imx.Image, keep int) []Thing {
	var all []Thing
	for _, v := range s.Services {
		back := keep
		for _, r := range slices.Backward(v.Releases) {
			switch inUse := r.Number == v.Current || r.Number == v.Target; {
			case inUse:
				all = append(all, release(r)...)
				all = append(all, Of(Build, r.Image.Plan))
			case runs(s, r):
				all = append(all, release(r)...)
			case !v.Destroyed && r.State == imx.ReleaseGood && back > 0:
				back--
				all = append(all, release(r)...)
			}
		}
	}
	for _, c := range s.Candidates {
		all = append(all, candidate(c)...)
	}
	named := map[string]bool{}
	for _, im := range newest {
		if !named[im.Name] {
			named[im.Name] = true
			all = append(all, image(im)...)
			all = append(all, Of(Build, im.Plan))
		}
	}
	return slices.DeleteFunc(all, func(t Thing) bool { return t.Key == "" })
}

// candidate is what a release of one needs while it is open, and people's answers to it, with what they saw, for as long as the state has it.
func candidate(c imx.Candidate) []Thing {
	var all []Thing
	for _, r := range c.Reviews {
		all = append(all, Of(Blob, r.Bundle), Of(Blob, r.Shown))
	}
	if c.State != imx.CandidateOpen {
		return all
	}
	for _, im := range c.Images {
		all = append(append(all, image(im)...), Of(Build, im.Plan))
	}
	return append(append(all, Of(Blob, c.Request), Of(Blob, c.Plan)), origin(c.Origin)...)
}

// runs reports whether instances of a release are there. One that is going to start belongs to the current
// or the next release.
func runs(s imx.State, r imx.Release) bool {
	for _, in := range s.Instances {
		if in.Service == r.Service && in.Release == r.Number && in.Phase != imx.Ended {
			return true
		}
	}
	return false
}

func release(r imx.Release) []Thing {
	all := image(r.Image)
	for _, files := range [][]imx.File{r.Spec.Files, r.Config.Files} {
		for _, f := range files {
			all = append(all, Of(Blob, f.Digest))
		}
	}
	if r.Request != "" {
		all = append(all, Of(Blob, r.Request), Of(Blob, r.Plan))
	}
	return append(all, origin(r.Origin)...)
}

// origin is what proves where something was good before.
func origin(o *imx.Origin) []Thing {
	if o == nil {
		return nil
	}
	return []Thing{Of(Blob, o.Bundle)}
}

// image is an image with what tells of it: its inventory and its plan.
func image(im imx.Image) []Thing {
	return []Thing{Of(Image, im.Digest), Of(Blob, im.Inventory), Of(Blob, im.Plan)}
}

// String is "blob sha256:...".
func (t Thing) String() string { return strings.Join([]string{string(t.Kind), t.Key}, " ") }
