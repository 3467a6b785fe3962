package build

import (
	"context"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/blob"
	"imx/internal/build/pack"
)

// CheckRepro builds p's image, or finds that it was built, builds it a second time and compares the two. The
// second build begins with the .debs and the template's files alone, in a folder of another name
// and length, with another umask, and takes the packages in the opposite order. What it made is
// gone afterwards. Errors: as Run. A difference is no error.
func (b *Builder) CheckRepro(ctx context.Context, p imx.ImagePlan, fetch Fetch, report imx.Report) (imx.Repro, error) {
	first, err := b.Run(ctx, p, fetch, report)
	if err != nil {
		return imx.Repro{}, err
	}
	dir, done, err := b.store.Scratch("repro")
	if err != nil {
		return imx.Repro{}, err
	}
	defer done()
	other, err := b.stranger(dir)
	if err != nil {
		return imx.Repro{}, err
	}
	second, err := b.again(ctx, other, p, fetch, report)
	if err != nil {
		return imx.Repro{}, err
	}
	r := imx.Repro{Image: first.Image, Again: second.Image}
	if r.Same() {
		return r, nil
	}
	if r.Differences, err = b.compare(ctx, other, first.Image.Digest, second.Image.Digest); err != nil {
		return imx.Repro{}, trouble(err, "comparing the two builds of image."+p.Spec.Name)
	}
	if shown := min(len(r.Differences), maxDifferences); shown < len(r.Differences) {
		r.Differences, r.More = r.Differences[:shown], len(r.Differences)-shown
	}
	return r, nil
}

// maxDifferences is how many a Repro tells of.
const maxDifferences = 20

// stranger returns a builder in dir that knows nothing of b's work.
func (b *Builder) stranger(dir string) (*Builder, error) {
	blobs, err := blob.Open(filepath.Join(dir, "its own, other blobs"))
	if err != nil {
		return nil, err
	}
	cfg := b.cfg
	cfg.Dir, cfg.Blobs = filepath.Join(dir, "another: folder", "with a longer name"), blobs
	other, err := New(cfg)
	if err != nil {
		return nil, err
	}
	other.backwards = true
	return other, nil
}

// again has other build p's image from b's blobs.
func (b *Builder) again(ctx context.Context, other *Builder, p imx.ImagePlan, fetch Fetch, report imx.Report) (Result, error) {
	for _, f := range p.Spec.Files {
		if err := b.give(other, f.Digest); err != nil {
			return Result{}, err
		}
	}
	second := func(step imx.Progress) {
		step.Step = "re" + step.Step // "rebuild image.web"
		report(step)
	}
	given := func(ctx context.Context, packages []imx.Package, report imx.Report) error {
		missing := slices.DeleteFunc(slices.Clone(packages), func(p imx.Package) bool { return b.cfg.Blobs.Has(p.Digest) })
		if len(missing) > 0 {
			if err := fetch(ctx, missing, report); err != nil {
				return err
			}
		}
		for _, p := range packages {
			if err := b.give(other, p.Digest); err != nil {
				return err
			}
		}
		return nil
	}
	var res Result
	var err error
	done := make(chan struct{})
	onOwnThread(func() {
		defer close(done)
		if err = unix.Unshare(unix.CLONE_FS); err == nil {
			unix.Umask(0o077) // of this thread alone
			res, err = other.Run(ctx, p, given, second)
		}
	})
	<-done
	return res, err
}

// give copies a blob to another builder's store.
func (b *Builder) give(other *Builder, d imx.Digest) error {
	r, err := b.cfg.Blobs.Reader(d)
	if err != nil {
		return err
	}
	defer r.Close()
	_, _, err = other.cfg.Blobs.Put(r, d)
	return err
}

// arranged returns the plan with its packages in the order in which b takes them.
func (b *Builder) arranged(p imx.ImagePlan) imx.ImagePlan {
	if !b.backwards {
		return p
	}
	for _, list := range []*[]imx.Package{&p.Base, &p.Tools, &p.Ship} {
		*list = slices.Clone(*list)
		slices.Reverse(*list)
	}
	return p
}

// compare returns in what the files of two images differ, one that b built and one that other did.
func (b *Builder) compare(ctx context.Context, other *Builder, one, two imx.Digest) ([]imx.PathDifference, error) {
	first, err := b.packer.Entries(ctx, one)
	if err != nil {
		return nil, err
	}
	second, err := other.packer.Entries(ctx, two)
	if err != nil {
		return nil, err
	}
	return pack.Differences(first, second)
}
