package build

import (
	"context"
	"slices"
	"time"

	"imx"
	"imx/internal/build/pack"
	"imx/internal/build/take"
	"imx/internal/build/tree"
)

// packed is what the packages of an image come to: its first layers and, for the template's files
// to be laid over, what is in them.
type packed struct {
	Layers   []pack.Layer           `json:"layers"`
	Items    []*tree.Item           `json:"items"`
	Packages []imx.InventoryPackage `json:"packages"`
	Passwd   string                 `json:"passwd"`
	Group    string                 `json:"group"`

	release func() // of the build root that the items' files are in
}

// packedInput is all that decides a packed: not the template's files, nor how the image is started.
type packedInput struct {
	Format       int           `json:"format"`
	Architecture string        `json:"architecture"`
	Epoch        time.Time     `json:"epoch"`
	Base         []imx.Package `json:"base"`
	Tools        []imx.Package `json:"tools"`
	Ship         []imx.Package `json:"ship"`
	Asked        []string      `json:"asked"`
	Setuid       []string      `json:"setuid"`
	Generated    []string      `json:"generated"`
	Compression  string        `json:"compression"`
}

func packagesKey(p imx.ImagePlan) imx.Digest {
	return imx.DigestJSON(packedInput{
		Format: format, Architecture: p.Architecture, Epoch: p.Epoch, Base: p.Base, Tools: p.Tools, Ship: p.Ship,
		Asked: p.Spec.Packages, Setuid: p.Spec.Setuid, Generated: p.Spec.Generated, Compression: p.Spec.Compression,
	})
}

// packages installs p's packages and packs what they come to, unless that was done. The caller calls
// release when it needs the files in it no more.
func (b *Builder) packages(ctx context.Context, p imx.ImagePlan, s steps) (*packed, error) {
	key := packagesKey(p)
	unlock, err := b.store.Lock(ctx, "packages "+string(key))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if res, ok := b.knownPackages(key); ok {
		return res, nil
	}
	res, err := b.makePackages(ctx, p, s)
	if err != nil {
		return nil, err
	}
	if err := b.store.Remember("packages", key, res); err != nil {
		res.release()
		return nil, err
	}
	return res, nil
}

func (b *Builder) knownPackages(key imx.Digest) (*packed, bool) {
	var res packed
	if !b.store.Recall("packages", key, &res) {
		return nil, false
	}
	for _, l := range res.Layers {
		if !b.cfg.Blobs.Has(imx.Digest(l.Descriptor.Digest)) {
			return nil, false
		}
	}
	res.release = func() {}
	return &res, true
}

func (b *Builder) makePackages(ctx context.Context, p imx.ImagePlan, s steps) (*packed, error) {
	if len(p.Ship) == 0 { // nothing to install: such an image is its template's files in an empty frame
		return b.packTree(ctx, p, take.Frame())
	}
	base, err := b.base(ctx, p, s)
	if err != nil {
		return nil, err
	}
	added, settled := beyond(p)
	// Of what the base has, too, the contents are read: its packages may have left unpacked/ since it was made.
	if err := b.unpackAll(ctx, union(added, p.Ship), s); err != nil {
		return nil, err
	}
	dir, done, err := b.store.Scratch("build")
	if err != nil {
		return nil, err
	}
	var t tree.Tree
	release := done
	err = b.enter(ctx, dir, base, p.Epoch, func(ctx context.Context, box *sandbox) error {
		if err := b.install(ctx, box, added, settled, s); err != nil {
			return err
		}
		s.say("collecting files")
		// It stays open when the sandbox has gone: the files are read until the image is made.
		root, err := tree.OpenRoot(box.root)
		if err != nil {
			return err
		}
		release = func() { _ = root.Close(); done() } // it was only read from
		t, err = take.Collect(p, root, box.upper, s.say)
		return err
	})
	if err != nil {
		release()
		return nil, err
	}
	s.say("packing %d files", t.Files())
	res, err := b.packTree(ctx, p, t)
	if err != nil {
		release()
		return nil, err
	}
	res.release = release
	return res, nil
}

// beyond returns the packages that the base doesn't have, and the names of those that it has.
func beyond(p imx.ImagePlan) (added []imx.Package, settled []string) {
	has := map[string]bool{}
	for _, pkg := range p.Base {
		has[pkg.Ref()] = true
		settled = append(settled, pkg.Name)
	}
	for _, list := range [][]imx.Package{p.Tools, p.Ship} {
		for _, pkg := range list {
			if !has[pkg.Ref()] {
				has[pkg.Ref()] = true
				added = append(added, pkg)
			}
		}
	}
	return added, settled
}

// union returns the packages of both lists, each once.
func union(first, second []imx.Package) []imx.Package {
	all := slices.Clone(first)
	for _, p := range second {
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// packTree packs what packages and scripts brought into a tree.
func (b *Builder) packTree(ctx context.Context, p imx.ImagePlan, t tree.Tree) (*packed, error) {
	res := &packed{Items: t.Sorted(), release: func() {}}
	for name, text := range map[string]*string{"etc/passwd": &res.Passwd, "etc/group": &res.Group} {
		if it := t[name]; it != nil && it.Mode.IsRegular() {
			raw, err := it.Content()
			if err != nil {
				return nil, err
			}
			*text = string(raw)
		}
	}
	if err := t.Sum(ctx); err != nil {
		return nil, err
	}
	ships, err := b.shipped(ctx, p, t)
	if err != nil {
		return nil, err
	}
	for _, s := range ships {
		res.Packages = append(res.Packages, s.InventoryPackage)
	}
	res.Layers, err = b.packer.Pack(ctx, pack.Arrange(t, ships, p.Epoch), p.Spec.Compression)
	return res, err
}
