package build

import (
	"encoding/json"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"imx"
	"imx/internal/build/pack"
	"imx/internal/erofs"
	"imx/internal/gc"
)

// Kinds of things in the builder's folder, each named as its folder is. What names others comes first.
const (
	plansKind    gc.Kind = "plans"
	packagesKind gc.Kind = "packages"
	layersKind   gc.Kind = "layers"
	contentsKind gc.Kind = "contents"
	rootsKind    gc.Kind = "roots"
	rootFileKind gc.Kind = "root files" // roots/<hex>.erofs
	partKind     gc.Kind = "root parts" // roots/<hex>.part
	baseKind     gc.Kind = "base"
	unpackedKind gc.Kind = "unpacked"
)

// What the names of files in roots/ end in that are no records.
const (
	rootEnding = ".erofs"
	partEnding = ".part"
)

// maxPlan bounds the bytes of an image plan: thousands of packages fit.
const maxPlan = 16 << 20

// Things shows what earlier builds left to a collection of what nothing needs.
func (b *Builder) Things() gc.Store { return &things{b: b} }

type things struct {
	b *Builder
	// layers are the records of layers by the layer's blob, plans those of images by the image: read once.
	layers, plans map[imx.Digest][]gc.Thing
}

// Roots implements gc.Store: nothing here has to stay by itself.
func (*things) Roots() ([]gc.Thing, error) { return nil, nil }

// path returns where one of the builder's own things is.
func (t *things) path(thing gc.Thing) string {
	if thing.Kind == rootFileKind {
		return t.b.packer.RootFile(thing.Digest())
	}
	if thing.Kind == partKind {
		return t.b.packer.PartFile(thing.Digest())
	}
	return t.b.store.Path(string(thing.Kind), thing.Digest().Hex())
}

// Items implements gc.Store.
func (t *things) Items() iter.Seq2[gc.Item, error] {
	return func(yield func(gc.Item, error) bool) {
		for _, k := range []gc.Kind{plansKind, packagesKind, layersKind, contentsKind, rootsKind, baseKind, unpackedKind} {
			entries, err := os.ReadDir(t.b.store.Path(string(k)))
			if err != nil {
				yield(gc.Item{}, trouble(err, "listing what was built"))
				return
			}
			for _, e := range entries {
				it, ok, err := item(k, e)
				if (ok || err != nil) && !yield(it, err) || err != nil {
					return
				}
			}
		}
	}
}

// item is a thing by its name in a folder; false for a file that isn't of the folder's kind or has just gone.
func item(k gc.Kind, e os.DirEntry) (gc.Item, bool, error) {
	name := e.Name()
	for ending, other := range map[string]gc.Kind{rootEnding: rootFileKind, partEnding: partKind} {
		if hex, ok := strings.CutSuffix(name, ending); ok && k == rootsKind {
			k, name = other, hex
		}
	}
	d, err := imx.ParseDigest("sha256:" + name)
	if err != nil {
		return gc.Item{}, false, nil //nolint:nilerr // nothing of the builder's has such a name
	}
	st, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return gc.Item{}, false, nil
	}
	if err != nil {
		return gc.Item{}, false, trouble(err, "listing what was built")
	}
	return gc.Item{Thing: gc.Of(k, d), Made: st.ModTime()}, true, nil
}

// Needs implements gc.Store.
func (t *things) Needs(thing gc.Thing) ([]gc.Thing, error) {
	d := thing.Digest()
	switch thing.Kind {
	case gc.Image:
		return t.ofImage(d)
	case gc.Blob:
		return t.ofBlob(d)
	case gc.Build:
		return t.ofBuild(d)
	case plansKind:
		var r record
		if !t.b.store.Recall("plans", d, &r) {
			return nil, nil
		}
		return []gc.Thing{gc.Of(gc.Blob, d), gc.Of(gc.Image, r.Image.Digest), gc.Of(gc.Blob, r.Image.Inventory)}, nil
	case packagesKind:
		var p struct{ Layers []pack.Layer }
		t.b.store.Recall("packages", d, &p)
		return blobsOf(p.Layers), nil
	case layersKind:
		var l pack.Layer
		if !t.b.store.Recall("layers", d, &l) {
			return nil, nil
		}
		// The part is there where a root was made of the layer: also of one that no file's content is in.
		return append(blobsOf([]pack.Layer{l}), gc.Of(partKind, imx.Digest(l.DiffID))), nil
	case rootsKind:
		root, ok := t.b.packer.Recorded(d)
		if !ok {
			return nil, nil
		}
		return []gc.Thing{gc.Of(rootFileKind, root)}, nil
	case rootFileKind:
		return t.ofRoot(d)
	}
	return nil, nil
}

// ofRoot is what a root file has content in. One that is damaged is made anew, with its parts.
func (t *things) ofRoot(d imx.Digest) ([]gc.Thing, error) {
	parts, err := erofs.Parts(t.b.packer.RootFile(d))
	if errors.Is(err, fs.ErrNotExist) || imx.KindOf(err) == imx.NotFound || imx.KindOf(err) == imx.Refused {
		return nil, nil
	}
	var all []gc.Thing
	for _, p := range parts {
		all = append(all, gc.Of(partKind, p.Digest))
	}
	return all, trouble(err, "reading a root file system")
}

func blobsOf(layers []pack.Layer) (all []gc.Thing) {
	for _, l := range layers {
		all = append(all, gc.Of(gc.Blob, imx.Digest(l.Descriptor.Digest)))
	}
	return all
}

// ofImage is what starting an image takes, and what remembers that it was built.
func (t *things) ofImage(d imx.Digest) ([]gc.Thing, error) {
	if t.plans == nil {
		t.plans = map[imx.Digest][]gc.Thing{}
		err := t.each(plansKind, func(plan imx.Digest) {
			var r record
			if t.b.store.Recall("plans", plan, &r) {
				t.plans[r.Image.Digest] = append(t.plans[r.Image.Digest], gc.Of(plansKind, plan))
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return append([]gc.Thing{gc.Of(rootsKind, d)}, t.plans[d]...), nil
}

// ofBlob is what remembers that a blob is a layer.
func (t *things) ofBlob(d imx.Digest) ([]gc.Thing, error) {
	if t.layers == nil {
		t.layers = map[imx.Digest][]gc.Thing{}
		err := t.each(layersKind, func(key imx.Digest) {
			var l pack.Layer
			if t.b.store.Recall("layers", key, &l) {
				blob := imx.Digest(l.Descriptor.Digest)
				t.layers[blob] = append(t.layers[blob], gc.Of(layersKind, key))
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return t.layers[d], nil
}

// each calls f for each thing of a kind.
func (t *things) each(k gc.Kind, f func(imx.Digest)) error {
	entries, err := os.ReadDir(t.b.store.Path(string(k)))
	if err != nil {
		return trouble(err, "listing what was built")
	}
	for _, e := range entries {
		if d, err := imx.ParseDigest("sha256:" + e.Name()); err == nil {
			f(d)
		}
	}
	return nil
}

// ofBuild is what building an image again takes: its packages, and each step that was done.
func (t *things) ofBuild(plan imx.Digest) ([]gc.Thing, error) {
	raw, err := t.b.cfg.Blobs.ReadAll(plan, maxPlan)
	if imx.KindOf(err) == imx.NotFound {
		return nil, nil
	}
	var p imx.ImagePlan
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil {
		return nil, trouble(err, "reading the plan of an image")
	}
	all := []gc.Thing{gc.Of(gc.Blob, plan), gc.Of(plansKind, plan), gc.Of(baseKind, baseKey(p)), gc.Of(packagesKind, packagesKey(p))}
	for _, list := range [][]imx.Package{p.Base, p.Tools, p.Ship} {
		for _, pkg := range list {
			all = append(all, gc.Of(gc.Blob, pkg.Digest), gc.Of(unpackedKind, pkg.Digest), gc.Of(contentsKind, pkg.Digest))
		}
	}
	for _, f := range p.Spec.Files {
		all = append(all, gc.Of(gc.Blob, f.Digest))
	}
	return all, nil
}

// Size implements gc.Store.
func (t *things) Size(thing gc.Thing) (imx.Size, error) {
	name := t.path(thing)
	var sum imx.Size
	err := filepath.WalkDir(name, func(_ string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		st, err := e.Info()
		if err == nil && st.Mode().IsRegular() {
			sum += imx.Size(st.Size())
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return sum, trouble(err, "measuring "+thing.String())
}

// Remove implements gc.Store.
func (t *things) Remove(thing gc.Thing) error {
	name := t.path(thing)
	if thing.Kind == rootFileKind || thing.Kind == partKind {
		erofs.Unlock(name)
	}
	kind := filepath.Base(filepath.Dir(name))
	return trouble(t.b.store.Remove(kind, filepath.Base(name)), "removing "+thing.String())
}

// Unlock lets all root files in a builder's folder be changed and removed again, once nothing runs from them: engines that were killed may have
// left some locked that they know nothing of any more. A folder that isn't there has none.
func Unlock(dir string) error {
	roots := filepath.Join(dir, string(rootsKind))
	entries, err := os.ReadDir(roots)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		erofs.Unlock(filepath.Join(roots, e.Name()))
	}
	return trouble(err, "unlocking root files")
}
