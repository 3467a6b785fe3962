package pipeline

import (
	"context"
	"io"
	"path"
	"slices"
	"strings"

	"imx"
	"imx/internal/frozen"
	"imx/internal/plan"
	"imx/internal/template"
)

// Freeze keeps every package that the lock names, and the lock, as a frozen set in the registry: nothing
// deletes them from then on, and a build with that lock needs no archive any more. Packages that aren't here,
// or are damaged here, are fetched. Freezing the same again changes nothing. Errors: NotFound without a lock,
// and for a package that neither the store nor its archive has; Conflict for a lock that doesn't fit the
// template; Invalid for a name that can't be one; as archive.Packages.
func (p *Pipeline) Freeze(ctx context.Context, req imx.FreezeRequest, report imx.Report) (imx.Frozen, error) {
	lock, err := p.whole(req)
	if err != nil {
		return imx.Frozen{}, err
	}
	leave, err := p.gate.enter(ctx)
	if err != nil {
		return imx.Frozen{}, err
	}
	defer leave()
	name := req.Name
	if name == "" {
		name = path.Base(req.Template.Source.Folder)
	}
	if err := frozen.CheckName(name); err != nil {
		return imx.Frozen{}, err
	}
	set, err := frozen.Make(lock)
	if err != nil {
		return imx.Frozen{}, err
	}
	if err := p.dropDamaged(ctx, lock.Packages, report); err != nil {
		return imx.Frozen{}, err
	}
	if err := p.packages(ctx, req.Template, lock.Packages, report); err != nil {
		return imx.Frozen{}, err
	}
	for _, b := range [][]byte{set.Config, set.LockFile} {
		if err := p.put(b, imx.DigestBytes(b)); err != nil {
			return imx.Frozen{}, err
		}
	}
	return set.Describe(name), p.cfg.Keep(ctx, imx.FrozenPrefix+name, set.Tag(), set.Manifest)
}

// whole returns the lock as far as the template needs it, if it answers all that the template asks.
func (p *Pipeline) whole(req imx.FreezeRequest) (imx.Lock, error) {
	if req.Lock == nil {
		return imx.Lock{}, imx.Errorf(imx.NotFound, "there is no %s beside the template, so it isn't said what to freeze", imx.LockFile).
			WithHint("imx plan chooses the packages and writes it")
	}
	if err := template.Check(req.Template).Err(); err != nil {
		return imx.Lock{}, err
	}
	in := plan.Input{Template: req.Template, Lock: req.Lock, Architecture: p.cfg.Architecture}
	var unanswered []string
	for _, image := range req.Template.Images {
		one := in
		one.Template.Images = []imx.ImageSpec{image}
		if len(plan.Archives(one)) > 0 {
			unanswered = append(unanswered, "image."+image.Name)
		}
	}
	if len(unanswered) > 0 {
		slices.Sort(unanswered)
		return imx.Lock{}, imx.Errorf(imx.Conflict, "%s doesn't fit the template: it has no packages for %s as the template asks for them now",
			imx.LockFile, strings.Join(unanswered, ", ")).WithHint("imx plan brings it up to date; then freeze")
	}
	_, lock, said := plan.Resolve(in)
	return lock, said.Err()
}

// dropDamaged deletes packages whose bytes on the disk aren't theirs any more, so that they are fetched again.
func (p *Pipeline) dropDamaged(ctx context.Context, packages []imx.Package, report imx.Report) error {
	const step = "check packages"
	for i, pkg := range packages {
		if err := ctx.Err(); err != nil {
			return err
		}
		report(imx.Progress{Step: step, Status: imx.StepRunning, Message: pkg.Name, Done: int64(i), Total: int64(len(packages)), Unit: "packages"})
		if !p.cfg.Blobs.Has(pkg.Digest) {
			continue
		}
		r, err := p.cfg.Blobs.Reader(pkg.Digest)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		_ = r.Close() // it was only read from
		if imx.KindOf(err) == imx.Refused {
			err = p.cfg.Blobs.Delete(pkg.Digest)
		}
		if err != nil {
			return err
		}
	}
	n := int64(len(packages))
	report(imx.Progress{Step: step, Status: imx.StepDone, Done: n, Total: n, Unit: "packages"})
	return nil
}
