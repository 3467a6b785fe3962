// Package pipeline takes a template along the arrows plan, build, release: each step's result
// names the one before it by digest, and each is written down before the next begins.
//
// It decides nothing about rollouts: with the releases made, its work ends and it only watches
// what the reconciling loop does with them.
package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"imx"
	"imx/internal/admission"
	"imx/internal/archive"
	"imx/internal/blob"
	"imx/internal/build"
	"imx/internal/control"
	"imx/internal/gc"
	"imx/internal/plan"
	"imx/internal/provenance"
	"imx/internal/template"
	"imx/internal/trial"
)

// Config is what a Pipeline joins.
type Config struct {
	Control *control.Control
	Archive *archive.Archive
	Builder *build.Builder
	Blobs   *blob.Store
	// Publish puts a built image's manifest into the registry under a repository and tag.
	Publish func(ctx context.Context, repository, tag string, r build.Result) error
	// Keep puts a manifest whose blobs are in the blob store into the registry under a repository and tag.
	Keep func(ctx context.Context, repository, tag string, manifest []byte) error
	// Stores are where garbage is collected, each as it is at the moment of the call, in the order in which
	// things have to go.
	Stores []func() gc.Store
	// Attest states what is known of an image that was built, or was found built. What was stated isn't stated anew.
	Attest func(ctx context.Context, by imx.Principal, b provenance.Build, report imx.Report) error
	// Doubted says why an image that was found built can't be counted on; nil if it can.
	Doubted func(image imx.Digest) error
	// Admit asks the engine whether it could run a release.
	Admit func(ctx context.Context, r imx.Release) error
	// AdmitIngress asks whether an ingress could have its ports.
	AdmitIngress func(ctx context.Context, in imx.Ingress) error
	// Check holds a template against the rules; its error, of kind Refused, stops all that would be made of it.
	Check func(ctx context.Context, t imx.Template) ([]imx.Finding, error)
	// Test tests images; a test that fails is in its result.
	Test func(ctx context.Context, by imx.Principal, r trial.Run, report imx.Report) ([]imx.TestResult, error)
	// Tested reports whether it is stated that all tests of an image passed, for a plan, and that counts.
	Tested func(image, plan imx.Digest) (bool, error)
	// Scan looks for the vulnerabilities of an image that was built elsewhere.
	Scan func(ctx context.Context, by imx.Principal, image imx.Image, report imx.Report)
	// Checked states of a built image what Check found in the template that it was made from.
	Checked      func(ctx context.Context, by imx.Principal, image imx.Image, planned imx.PlanResult) error
	Judge        Judge
	Architecture string // Debian's name: "amd64"
	Now          func() time.Time
}

// Judge says what may be released, and what may be gone back to.
type Judge interface {
	// Environment is the one whose policy counts here.
	Environment() string
	// Allowed returns the verdicts on releases that are about to be made, with exceptions that would be made with them. Errors: Refused,
	// with each unmet condition; the verdicts are returned then, too.
	Allowed(ctx context.Context, by imx.Principal, drafts []imx.Release, excused []imx.Exception) ([]imx.Verdict, error)
	// Release says whether a release could be made, if exceptions were made with it, and writes nothing down.
	Release(ctx context.Context, r imx.Release, excused ...imx.Exception) (imx.Verdict, error)
	// Made returns the events that tell by which verdicts releases are made, and that make those of the exceptions that excuse something.
	// Errors: Conflict if something that a verdict stands on isn't any more, in the state, what it was then.
	Made(s *imx.State, releases []imx.Release, all []imx.Verdict, excused []imx.Exception) ([]imx.Body, error)
	// Pass lets instances of a release start. Errors: Refused, as Allowed.
	Pass(ctx context.Context, r imx.Release) (admission.Pass, error)
}

// Pipeline plans, builds and applies templates.
type Pipeline struct {
	cfg  Config
	gate gate
}

// New returns a Pipeline. It starts nothing.
func New(cfg Config) *Pipeline { return &Pipeline{cfg: cfg} }

// parallelBuilds is how many images are built at once: more only fight for the same cores.
const parallelBuilds = 2

// Plan resolves a template and says what applying it would change. It changes nothing but the
// memory of the newest index of each suite. Errors: Invalid with every mistake of the template,
// Refused with every finding of the rules that refuses it, or for an archive that can't be trusted, Unavailable for one that can't be reached.
func (p *Pipeline) Plan(ctx context.Context, by imx.Principal, req imx.PlanRequest, report imx.Report) (imx.PlanResult, error) {
	if err := template.Check(req.Template).Err(); err != nil {
		return imx.PlanResult{}, err
	}
	found, err := p.cfg.Check(ctx, req.Template)
	if err != nil {
		return imx.PlanResult{}, err
	}
	in := plan.Input{
		Template: req.Template, Lock: req.Lock, Update: req.Update,
		Architecture: p.cfg.Architecture, Indexes: map[string]plan.Archive{},
	}
	var left imx.Diagnostics // what the archives' sources left out
	for _, name := range plan.Archives(in) {
		decl, _ := declared(req.Template, name)
		snapshot, err := p.fetch(ctx, by, decl, report)
		if err != nil {
			return imx.PlanResult{}, err
		}
		left = append(left, snapshot.Notices...)
		in.Indexes[name] = plan.Archive{Index: snapshot.Index, Suites: snapshot.Suites, Priorities: snapshot.Priorities}
	}
	resolved, lock, said := plan.Resolve(in)
	resolved.Source = locked(resolved.Source, req.Lock, lock)
	if err := p.wereRead(in.Indexes); err != nil {
		return imx.PlanResult{}, err
	}
	if err := said.Err(); err != nil {
		return imx.PlanResult{}, err
	}
	if err := p.cfg.Control.CheckPorts(resolved.Services, resolved.Ingresses); err != nil {
		return imx.PlanResult{}, err
	}
	s := *p.cfg.Control.State()
	return imx.PlanResult{
		Plan: resolved, Digest: resolved.Digest(), Lock: lock, Changes: plan.Diff(resolved, s, p.built),
		Notices:  slices.Concat(req.Template.Notices, left, said, plan.Unlisted(resolved, s)),
		Findings: found,
		Base:     s.Base(resolved.Names()),
	}, nil
}

// locked is where a plan comes from: a commit's template whose packages the plan chose, and not the commit's lock, is no more what is committed.
func locked(source imx.Source, given *imx.Lock, made imx.Lock) imx.Source {
	if source.Commit == "" || given != nil && bytes.Equal(plan.FormatLock(*given), plan.FormatLock(made)) {
		return source
	}
	says := imx.LockFile + " isn't in the commit as it is written now"
	others := slices.DeleteFunc(slices.Clone(source.Changes), func(c string) bool { return strings.HasPrefix(c, imx.LockFile+" ") })
	source.Dirty, source.Changes = true, append([]string{says}, others...)
	return source
}

// wereRead makes sure that what was chosen was chosen from all that the indexes have.
func (p *Pipeline) wereRead(indexes map[string]plan.Archive) error {
	for name, one := range indexes {
		if err := one.Index.Err(); err != nil {
			p.cfg.Archive.Forget()
			return imx.Errorf(imx.Unavailable, "the kept index of archive %q can't be read any more: %w", name, err).
				WithHint("do the same again: it is then fetched anew; if this comes back, check the disk")
		}
	}
	return nil
}

// declared returns an archive's declaration; the host's own needs none.
func declared(t imx.Template, name string) (imx.Archive, bool) {
	for _, a := range t.Archives {
		if a.Name == name {
			return a, true
		}
	}
	return imx.Archive{Name: name}, name == imx.HostArchive
}

// fetch brings an archive's verified index and remembers how new it is, so that an older one is
// refused from now on.
func (p *Pipeline) fetch(ctx context.Context, by imx.Principal, decl imx.Archive, report imx.Report) (archive.Snapshot, error) {
	state := p.cfg.Control.State()
	known := state.Suites
	snapshot, err := p.cfg.Archive.Fetch(ctx, decl, p.cfg.Architecture, known, report)
	if err != nil {
		return snapshot, err
	}
	var news []imx.Body
	for _, s := range snapshot.Suites {
		if !slices.ContainsFunc(known, func(k imx.LockedSuite) bool {
			return k.Archive == s.Archive && k.Suite == s.Suite && k.InRelease == s.InRelease
		}) || state.Codenames[s.Archive+" "+s.Suite] != snapshot.Codenames[s.Suite] {
			news = append(news, imx.SuiteSeen{Suite: s, Codename: snapshot.Codenames[s.Suite]})
		}
	}
	return snapshot, p.cfg.Control.Record(by, news...)
}

// Index brings the verified indexes of an archive.
func (p *Pipeline) Index(ctx context.Context, by imx.Principal, decl imx.Archive, report imx.Report) (archive.Snapshot, error) {
	return p.fetch(ctx, by, decl, report)
}

// Package brings a package of an archive, unless it is here, and opens it. The caller closes it.
func (p *Pipeline) Package(ctx context.Context, decl imx.Archive, pkg imx.Package, report imx.Report) (io.ReadCloser, error) {
	if err := p.packages(ctx, imx.Template{Archives: []imx.Archive{decl}}, []imx.Package{pkg}, report); err != nil {
		return nil, err
	}
	return p.cfg.Blobs.Reader(pkg.Digest)
}

// Build plans a template and builds its images, without releasing anything.
func (p *Pipeline) Build(ctx context.Context, by imx.Principal, req imx.PlanRequest, report imx.Report) (imx.ApplyResult, error) {
	leave, err := p.gate.enter(ctx)
	if err != nil {
		return imx.ApplyResult{}, err
	}
	defer leave()
	planned, err := p.Plan(ctx, by, req, report)
	if err != nil {
		return imx.ApplyResult{}, err
	}
	images, err := p.build(ctx, work{by: by, template: req.Template, planned: planned, report: report})
	return imx.ApplyResult{Plan: planned, Images: images}, err
}

// CheckRepro plans a template, builds its images and each of them a second time (build.CheckRepro). An image
// whose bytes differ is told by the result, not by an error.
func (p *Pipeline) CheckRepro(ctx context.Context, by imx.Principal, req imx.PlanRequest, report imx.Report) (imx.ReproResult, error) {
	built, err := p.Build(ctx, by, req, report)
	result := imx.ReproResult{Plan: built.Plan, Images: []imx.Repro{}}
	if err != nil {
		return result, err
	}
	leave, err := p.gate.enter(ctx)
	if err != nil {
		return result, err
	}
	defer leave()
	for _, ip := range built.Plan.Plan.Images {
		r, err := p.cfg.Builder.CheckRepro(ctx, ip, p.fetcher(req.Template), report)
		if err != nil {
			return result, err
		}
		result.Images = append(result.Images, r)
	}
	return result, nil
}

// fetcher returns what brings a template's packages.
func (p *Pipeline) fetcher(t imx.Template) build.Fetch {
	return func(ctx context.Context, packages []imx.Package, report imx.Report) error {
		return p.packages(ctx, t, packages, report)
	}
}

// work is a planned template on its way to images and releases.
type work struct {
	by       imx.Principal
	account  string // as of the request
	apply    string // "" for a build alone
	template imx.Template
	planned  imx.PlanResult
	expect   imx.Digest // as of the request
	untested string     // why nothing is tested; as of the request
	kept     imx.Digest // of the request, with the lock, once it is kept
	// candidate is what is released; nil for an apply of a template, and a build.
	candidate *imx.Candidate
	taken     *Taken // nil for what was planned here
	waits     string // the id of the open candidate that an apply would leave, whose approvals are its own; "" for none
	report    imx.Report
}

// build keeps what the plan needs, builds its images and publishes them. One that fails leaves the others
// alone: all that can be built is, and what failed is told together. The images are those of the plan, in its
// order, or nil with an error.
func (p *Pipeline) build(ctx context.Context, w work) ([]imx.Image, error) {
	if err := p.keep(w.template, w.planned.Plan); err != nil {
		return nil, err
	}
	fetch := p.fetcher(w.template)
	images := make([]imx.Image, len(w.planned.Plan.Images))
	failed := make([]error, len(images))
	var group errgroup.Group
	group.SetLimit(parallelBuilds)
	b := builds{stock: newStock(), fetch: fetch, work: w}
	for _, ip := range w.planned.Plan.Images {
		w.report(imx.Progress{Step: build.Step(ip), Status: imx.StepRunning, Message: "waiting"})
	}
	for i, ip := range w.planned.Plan.Images {
		group.Go(func() error {
			images[i], failed[i] = p.image(ctx, &b, ip)
			return nil
		})
	}
	_ = group.Wait() // its functions return none: each image's is kept apart
	if err := w.failure(failed); err != nil {
		return nil, err
	}
	b.stock.tell(w.report)
	for _, image := range images {
		if err := p.cfg.Checked(ctx, w.by, image, w.planned); err != nil {
			return nil, err
		}
	}
	return images, nil
}

// packages brings packages into the blob store, those that aren't there.
func (p *Pipeline) packages(ctx context.Context, t imx.Template, packages []imx.Package, report imx.Report) error {
	from := func(name string) (imx.Archive, bool) { return declared(t, name) }
	return p.cfg.Archive.Packages(ctx, from, packages, report)
}

// built returns what an image was made from, for the comparison of a plan with what runs. A plan
// that is gone or damaged only makes the comparison coarser.
func (p *Pipeline) built(d imx.Digest) (imx.ImagePlan, bool) {
	found, err := p.ImagePlan(d)
	return found, err == nil
}

// keep puts the template's file contents and the image plans into the blob store, where builds,
// engines and `imx why` find them by digest.
func (p *Pipeline) keep(t imx.Template, planned imx.Plan) error {
	var files []imx.File
	for _, im := range t.Images {
		files = append(files, im.Files...)
	}
	for _, s := range t.Services {
		files = append(files, s.Files...)
	}
	for _, f := range files {
		if err := p.put(f.Content, f.Digest); err != nil {
			return err
		}
	}
	for _, ip := range planned.Images {
		b, err := json.Marshal(ip)
		if err != nil {
			return err
		}
		if err := p.put(b, ip.Digest()); err != nil {
			return err
		}
	}
	return nil
}

// put keeps bytes unless they are there already: writing and syncing each file anew would make an
// apply that changes little as slow as the first.
func (p *Pipeline) put(b []byte, d imx.Digest) error {
	if size, err := p.cfg.Blobs.Size(d); err == nil && size == int64(len(b)) {
		return nil
	}
	_, _, err := p.cfg.Blobs.Put(bytes.NewReader(b), d)
	return err
}
