package archive

import (
	"context"
	"fmt"
	"io/fs"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"imx"
)

// downloads is how many packages are transferred at once; more bring nothing on a fast network.
const downloads = 16

// maxPackage bounds a .deb; Debian's largest is below 2 GiB.
const maxPackage = 4 << 30

// Packages brings the pinned packages into the blob store, those that aren't there yet. decl gives
// the declaration of an archive by its name. Each is checked by size and digest. The first failure
// ends it; what was brought by then stays, so that trying again goes on from there.
//
// Errors: NotFound for an archive, suite or file that isn't there; Refused for bytes that differ;
// Unavailable where a mirror doesn't answer; Exhausted for a full disk.
func (a *Archive) Packages(ctx context.Context, decl func(archive string) (imx.Archive, bool), pkgs []imx.Package, report imx.Report) error {
	missing, total := a.missing(pkgs)
	const step = "fetch packages"
	if len(missing) == 0 {
		report(imx.Progress{Step: step, Status: imx.StepCached, Done: int64(len(pkgs)), Total: int64(len(pkgs)), Unit: "packages"})
		return nil
	}
	mirrors, err := a.mirrors(decl, missing)
	if err != nil {
		return err
	}
	began := a.cfg.Now()
	var done atomic.Int64
	advance := func(n int64, message string) {
		report(imx.Progress{Step: step, Status: imx.StepRunning, Message: message, Done: done.Add(n), Total: total, Unit: "bytes"})
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(downloads)
	for _, p := range missing {
		group.Go(func() error {
			d := download{pkg: p, mirrors: mirrors[place{p.Archive, p.Suite}], advance: advance}
			return a.bringPackage(ctx, &d)
		})
	}
	if err := group.Wait(); err != nil {
		report(imx.Progress{Step: step, Status: imx.StepFailed, Message: imx.AsError(err).Message})
		return err
	}
	report(imx.Progress{Step: step, Status: imx.StepDone, Done: total, Total: total, Unit: "bytes", Seconds: a.cfg.Now().Sub(began).Seconds()})
	return nil
}

// missing returns those packages, each digest once, that the blob store lacks, and their bytes.
func (a *Archive) missing(pkgs []imx.Package) ([]imx.Package, int64) {
	var missing []imx.Package
	var total int64
	seen := map[imx.Digest]bool{}
	for _, p := range pkgs {
		if seen[p.Digest] || a.cfg.Blobs.Has(p.Digest) {
			continue
		}
		seen[p.Digest] = true
		missing = append(missing, p)
		total += p.Size
	}
	return missing, total
}

// place is where a pinned package comes from.
type place struct{ archive, suite string }

// mirrors finds the mirrors of every place that the packages name.
func (a *Archive) mirrors(decl func(string) (imx.Archive, bool), pkgs []imx.Package) (map[place][]mirror, error) {
	found := map[place][]mirror{}
	looked := map[string]bool{}
	for _, p := range pkgs {
		if !looked[p.Archive] {
			looked[p.Archive] = true
			if err := a.addMirrors(found, decl, p.Archive); err != nil {
				return nil, err
			}
		}
		if len(found[place{p.Archive, p.Suite}]) == 0 {
			return nil, imx.Errorf(imx.NotFound, "archive %q has no suite %q, which package %s is from", p.Archive, p.Suite, p.Ref()).
				WithHint("add the suite to the archive or to this machine's apt sources, or choose anew: imx plan --update")
		}
	}
	return found, nil
}

func (a *Archive) addMirrors(found map[place][]mirror, decl func(string) (imx.Archive, bool), name string) error {
	d, ok := decl(name)
	if !ok {
		if name != imx.HostArchive {
			return imx.Errorf(imx.NotFound, "there is no archive %q", name).
				WithHint("declare it in the template, or choose the packages anew: imx plan --update")
		}
		d = imx.Archive{Name: imx.HostArchive}
	}
	sources, _, err := a.sources(d, "")
	if err != nil {
		return err
	}
	for _, s := range sources {
		found[place{name, s.suite}] = s.mirrors
	}
	return nil
}

// download is one package on its way.
type download struct {
	pkg     imx.Package
	mirrors []mirror
	advance func(n int64, message string)
}

func (a *Archive) bringPackage(ctx context.Context, d *download) error {
	p := d.pkg
	if !fs.ValidPath(p.Path) || p.Size <= 0 || p.Size > maxPackage {
		return subjectError(p.Archive, p.Suite, p.Ref(), imx.Errorf(imx.Refused, "its path %q or its size %d can't be right", p.Path, p.Size))
	}
	var err error
	for _, m := range d.mirrors {
		failed := a.bringFrom(ctx, m, d)
		if failed == nil {
			return nil
		}
		if err == nil || worse(failed, err) {
			err = failed
		}
	}
	if imx.KindOf(err) == imx.NotFound {
		err = imx.Errorf(imx.NotFound, "%w", err).
			WithHint("archives drop old versions: choose those that it has now with imx plan --update")
	}
	return subjectError(p.Archive, p.Suite, p.Path, err)
}

func (a *Archive) bringFrom(ctx context.Context, m mirror, d *download) error {
	p := d.pkg
	req := request{root: m.root, path: p.Path, size: p.Size, limit: p.Size}
	return a.get(ctx, req, func(r *response) error {
		counted := &counter{r: r, advance: d.advance, name: p.Name}
		if _, _, err := a.cfg.Blobs.Put(counted, p.Digest); err != nil {
			d.advance(-counted.told, p.Name)
			return mismatch(err)
		}
		counted.tell()
		return nil
	})
}

// counter tells the progress of one package, a megabyte at a time.
type counter struct {
	r          *response
	advance    func(n int64, message string)
	name       string
	read, told int64
}

// Read implements io.Reader.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read += int64(n)
	if c.read-c.told >= 1<<20 {
		c.tell()
	}
	if err != nil && c.r.failed != nil {
		return n, fmt.Errorf("%w", c.r.failed)
	}
	return n, err
}

func (c *counter) tell() {
	c.advance(c.read-c.told, c.name)
	c.told = c.read
}
