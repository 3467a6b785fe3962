package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"imx"
	"imx/internal/build"
	"imx/internal/provenance"
)

// builds are the builds of one plan's images, some at a time.
type builds struct {
	work

	stock     *stock
	fetch     build.Fetch
	recording sync.Mutex // held from looking at the state to recording what it lacks
}

// image builds one image, publishes it, records it unless it is on the log, and states what is known of it.
func (p *Pipeline) image(ctx context.Context, b *builds, ip imx.ImagePlan) (imx.Image, error) {
	began := p.cfg.Now()
	r, err := p.cfg.Builder.Run(ctx, ip, b.stock.fetching(ip.Spec.Name, b.fetch), b.report)
	if err != nil {
		return imx.Image{}, err
	}
	if !r.Cached {
		b.stock.built(ip)
	}
	how := provenance.Bytes{How: provenance.Made}
	if r.Cached {
		if how, err = p.found(ctx, b, ip, r.Image); err != nil {
			return r.Image, err
		}
	}
	if err := p.cfg.Publish(ctx, r.Image.Name, builtTag+r.Image.Plan.Short(), r); err != nil {
		return r.Image, err
	}
	if err := p.record(b, r.Image); err != nil {
		return r.Image, err
	}
	return r.Image, p.cfg.Attest(ctx, b.by, provenance.Build{
		Image: r.Image, Plan: ip, Whole: b.planned.Digest, Source: b.planned.Plan.Source, Lock: b.planned.Lock, Invocation: b.apply,
		Bytes: how, Started: began, Finished: p.cfg.Now(),
	}, b.report)
}

// found says how a build comes by an image that is there already. What an earlier build stated of it must count, or it is built anew, of its
// packages alone, and has to come out the same. Errors: Refused if it doesn't; as build.CheckRepro.
func (p *Pipeline) found(ctx context.Context, b *builds, ip imx.ImagePlan, image imx.Image) (provenance.Bytes, error) {
	doubt := p.cfg.Doubted(image.Digest)
	if doubt == nil {
		return provenance.Bytes{How: provenance.Found}, nil
	}
	r, err := p.cfg.Builder.CheckRepro(ctx, ip, b.stock.fetching(ip.Spec.Name, b.fetch), b.report)
	if err != nil {
		return provenance.Bytes{}, err
	}
	if r.Same() {
		return provenance.Bytes{How: provenance.Compared}, nil
	}
	differ := make([]string, 0, len(r.Differences))
	for _, d := range r.Differences {
		differ = append(differ, d.Path)
	}
	return provenance.Bytes{}, imx.Errorf(imx.Refused, "image %s isn't what its plan gives: %s; built anew it is %s, and not %s %s",
		image.Name, imx.AsError(doubt).Message, r.Again.Digest.Short(), image.Digest.Short(), strings.Join(slices.Compact(differ), " ")).
		WithHint("nothing that this server built can be counted on: stop it, remove the folder build in its data folder, start it, and build again")
}

// record writes down that an image was built, unless that is on the log.
func (p *Pipeline) record(b *builds, image imx.Image) error {
	b.recording.Lock()
	defer b.recording.Unlock()
	if p.cfg.Control.State().Images[image.Plan] == image {
		return nil
	}
	built := imx.ImageBuilt{Image: image}
	if b.taken != nil {
		built.From = b.taken.Origin.Environment
	}
	return p.cfg.Control.Record(b.by, built)
}

// failure makes one error of those of a plan's images, nil where there is none: one by itself as it is,
// several as a diagnostic each, at the image's place in the template. Its kind is the first's.
func (w work) failure(failed []error) error {
	var all imx.Diagnostics
	var names []string
	var first error
	for i, err := range failed {
		if err == nil {
			continue
		}
		first = cmp.Or(first, err)
		told := imx.AsError(err)
		d := imx.Diagnostic{Severity: imx.SeverityError, Summary: told.Message, Hint: told.Hint}
		for _, spec := range w.template.Images {
			if spec.Name == w.planned.Plan.Images[i].Spec.Name {
				d.At = spec.At
			}
		}
		all = append(all, d)
		names = append(names, "image."+w.planned.Plan.Images[i].Spec.Name)
	}
	if len(all) < 2 || errors.Is(first, context.Canceled) {
		return first
	}
	return &imx.Error{
		Kind: imx.KindOf(first), Diagnostics: all,
		Message: fmt.Sprintf("%d of %d images can't be built: %s", len(all), len(failed), strings.Join(names, ", ")),
	}
}

// stock tells which packages several builds found here, and which they had to fetch.
type stock struct {
	mu      sync.Mutex
	needed  map[imx.Digest]bool
	fetched map[imx.Digest]bool
}

func newStock() *stock {
	return &stock{needed: map[imx.Digest]bool{}, fetched: map[imx.Digest]bool{}}
}

// fetching returns a Fetch for the build of one image, whose steps have the image's name: two builds
// fetch at the same time.
func (s *stock) fetching(image string, fetch build.Fetch) build.Fetch {
	return func(ctx context.Context, packages []imx.Package, report imx.Report) error {
		err := fetch(ctx, packages, func(p imx.Progress) {
			p.Step += " " + image
			report(p)
		})
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range packages {
			s.fetched[p.Digest] = true
		}
		return nil
	}
}

// built notes what a build that was no mere finding needed.
func (s *stock) built(p imx.ImagePlan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range [][]imx.Package{p.Base, p.Tools, p.Ship} {
		for _, pkg := range list {
			s.needed[pkg.Digest] = true
		}
	}
}

// tell says how many packages were found here, where some were.
func (s *stock) tell(report imx.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := 0
	for d := range s.needed {
		if !s.fetched[d] {
			found++
		}
	}
	if found == 0 {
		return
	}
	status := imx.StepDone
	if found == len(s.needed) {
		status = imx.StepCached
	}
	report(imx.Progress{Step: "reuse packages", Status: status, Done: int64(found), Total: int64(len(s.needed)), Unit: "packages"})
}
