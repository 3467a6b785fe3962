package build

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"imx"
	"imx/internal/build/order"
)

// Rewrite unpacks a .deb into an empty folder, checks it and writes it without compression, as a build
// does for dpkg.
func Rewrite(ctx context.Context, dir string, out io.WriteSeeker, in io.Reader, p imx.Package) error {
	at := filepath.Join(dir, "package")
	return inOrder(
		func() error { return splitDeb(ctx, at, in) },
		func() error { _, err := decompressAll(ctx, dir); return err },
		func() error { return check(at, p) },
		func() error { return writeDeb(out, at, false) },
	)
}

// ArHeader returns the header of an ar member.
func ArHeader(name string, size int64) string { return arHeader(name, size) }

// Who unpacks packages.
const (
	ByPlacing = iota // the builder, and dpkg those that it is left
	ByDpkg           // dpkg, all of them
)

// Installation is how a test has packages installed.
type Installation struct {
	Dir   string // empty
	By    int
	Fetch Fetch
	Look  func(when, root string) // called on the way, with the root
}

// Install unpacks and configures p's base and then its other packages.
func (b *Builder) Install(ctx context.Context, p imx.ImagePlan, in Installation) error {
	dir, by, look := in.Dir, in.By, in.Look
	s := steps{report: func(imx.Progress) {}, fetch: in.Fetch}
	added, settled := beyond(p)
	if err := b.unpackAll(ctx, append(added, p.Base...), s); err != nil {
		return err
	}
	base, image := filepath.Join(dir, "base"), filepath.Join(dir, "image")
	upper := filepath.Join(base, "upper")
	for _, name := range []string{base, upper, filepath.Join(base, "empty"), image} {
		if err := os.Mkdir(name, 0o755); err != nil {
			return err
		}
	}
	if err := furnish(upper); err != nil {
		return err
	}
	status, err := os.ReadFile(filepath.Join(upper, databaseDir, "status"))
	if err != nil {
		return err
	}
	parcels, left, err := b.place(ctx, upper, p.Base, placement{bootstrap: true}, s)
	if err != nil {
		return err
	}
	if by == ByDpkg { // its files have to be there for it to run, but it knows nothing of them
		left = parcels
		for _, p := range left {
			p.lean = false
		}
		if err := forget(upper, status); err != nil {
			return err
		}
	}
	err = b.enter(ctx, base, filepath.Join(base, "empty"), baseEpoch(), func(ctx context.Context, box *sandbox) error {
		d := &dpkg{box: box, steps: s, force: []string{"--force-depends"}}
		if err := b.handOver(ctx, d, left); err != nil {
			return err
		}
		look("base unpacked", box.root)
		if err := d.configure(ctx, "-a"); err != nil {
			return err
		}
		look("base configured", box.root)
		return nil
	})
	if err != nil {
		return err
	}
	return b.enter(ctx, image, upper, p.Epoch, func(ctx context.Context, box *sandbox) error {
		d := &dpkg{box: box, steps: s}
		q := order.New(settled)
		left, err := b.arrive(ctx, box, added, q, by)
		if err != nil {
			return err
		}
		if err := b.order(ctx, d, q, left); err != nil {
			return err
		}
		look("image", box.root)
		return nil
	})
}

// arrive places the packages that can be, and returns the others.
func (b *Builder) arrive(ctx context.Context, box *sandbox, packages []imx.Package, q *order.Queue, by int) (left []*parcel, err error) {
	if by == ByPlacing {
		parcels, left, err := b.place(ctx, box.root, packages, placement{}, steps{report: func(imx.Progress) {}})
		for _, p := range parcels {
			if !slices.Contains(left, p) {
				q.Arrive(p.ordered())
			}
		}
		return left, err
	}
	for _, pkg := range packages {
		p, err := b.openParcel(pkg)
		if err != nil {
			return nil, err
		}
		left = append(left, p)
	}
	return left, nil
}

// forget empties dpkg's database.
func forget(root string, status []byte) error {
	err := os.WriteFile(filepath.Join(root, databaseDir, "status"), status, 0o644)
	for _, pattern := range []string{"info/*.*", "triggers/Unincorp"} {
		names, globErr := filepath.Glob(filepath.Join(root, databaseDir, pattern))
		err = errors.Join(err, globErr)
		for _, name := range names {
			err = errors.Join(err, os.Remove(name))
		}
	}
	return errors.Join(err, os.WriteFile(filepath.Join(root, databaseDir, "triggers/Unincorp"), nil, 0o644))
}

// Groups are the control groups that builders of the same folder have at the moment.
func (b *Builder) Groups() ([]string, error) {
	var all []string
	for _, root := range append(slices.Collect(maps.Values(b.groups.v1)), b.groups.v2) {
		found, err := filepath.Glob(filepath.Join(root, b.groups.mine+"*"))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// GroupRoots are the folders that the machine's control groups for builds are in.
func (b *Builder) GroupRoots() []string {
	roots := slices.Collect(maps.Values(b.groups.v1))
	if b.groups.v2 != "" {
		roots = append(roots, b.groups.v2)
	}
	return roots
}

// Caged reports whether the machine lets the builder bound memory and processes.
func (b *Builder) Caged() bool {
	g := b.groups.cage("test", b.cfg.bounds())
	defer g.remove()
	return g.whole()
}
