package scan

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/archive"
	"imx/internal/deb"
	"imx/internal/feed"
	"imx/internal/vuln"
)

const (
	// every is how long the changelogs stay as they are, unless images came with other packages; and feeds that came from
	// a URL.
	every = time.Hour
	// again is how long it is taken for certain that what failed fails.
	again = 5 * time.Minute
)

// Refresh fetches feeds that came from a URL again, or one for the first time, and looks at the changelogs of newer
// packages. It returns the feeds that it brought. A feed that can't be had stays as it was; the first failure is told
// when all others were tried. Errors: as feed.Store.Fetch; NotFound for a feed that there isn't; Conflict for one that
// came as a file.
func (s *Scanner) Refresh(ctx context.Context, by imx.Principal, req imx.RefreshRequest, report imx.Report) ([]imx.Feed, error) {
	wanted, err := s.wanted(req)
	if err != nil {
		return nil, err
	}
	bring := s.refetch
	if req.URL != "" {
		bring = s.fetch
	}
	brought := []imx.Feed{}
	var failed error
	for _, one := range wanted {
		step := "fetch " + one.Name
		report(imx.Progress{Step: step, Status: imx.StepRunning})
		f, err := bring(ctx, by, one)
		if err != nil {
			report(imx.Progress{Step: step, Status: imx.StepFailed, Message: imx.AsError(err).Message})
			failed = cmp.Or(failed, err)
			continue
		}
		report(imx.Progress{Step: step, Status: imx.StepDone, Done: f.Entries, Total: f.Entries, Unit: "entries"})
		brought = append(brought, f)
	}
	if req.URL == "" && (req.Name == "" || req.Name == vuln.Changelogs) {
		leave, err := s.reading.take(ctx)
		if err != nil {
			return brought, cmp.Or(failed, err)
		}
		defer leave()
		f, err := s.changelogs(ctx, by, report)
		if err != nil {
			return brought, cmp.Or(failed, err)
		}
		brought = append(brought, f)
	}
	return brought, failed
}

// fetch brings a feed whatever there was by its name.
func (s *Scanner) fetch(ctx context.Context, by imx.Principal, req imx.FeedRequest) (imx.Feed, error) {
	f, err := s.cfg.Feeds.Fetch(ctx, s.cfg.Client, req)
	if err != nil {
		return f, err
	}
	return f, s.kept(by, f)
}

// refetch brings a feed if its URL has something else than the last time.
func (s *Scanner) refetch(ctx context.Context, by imx.Principal, req imx.FeedRequest) (imx.Feed, error) {
	f, came, err := s.cfg.Feeds.Refetch(ctx, s.cfg.Client, req)
	if err != nil || !came {
		return f, err
	}
	return f, s.kept(by, f)
}

// wanted lists what is to be fetched.
func (s *Scanner) wanted(req imx.RefreshRequest) ([]imx.FeedRequest, error) {
	if req.URL != "" {
		name, err := feed.URLName(req.URL)
		if err != nil {
			return nil, err
		}
		name = cmp.Or(req.Name, name)
		return []imx.FeedRequest{{Name: name, Source: req.URL, Anyway: req.Anyway, Once: req.Once}}, vuln.CheckFeedName(name)
	}
	all, err := s.cfg.Feeds.List()
	if err != nil {
		return nil, err
	}
	var wanted []imx.FeedRequest
	for _, f := range all {
		_, err := feed.URLName(f.Source)
		switch {
		case req.Name != "" && f.Name != req.Name:
		case err == nil:
			wanted = append(wanted, imx.FeedRequest{Name: f.Name, Format: f.Format, Source: f.Source, Anyway: req.Anyway, Once: f.Once})
		case req.Name != "" && req.Name != vuln.Changelogs:
			return nil, imx.Errorf(imx.Conflict, "feed %s came as a file, so there is nowhere to fetch it from", f.Name).
				WithHint("add the newer file: imx feed add --name %s FILE", f.Name)
		}
	}
	if req.Name != "" && req.Name != vuln.Changelogs && len(wanted) == 0 {
		return nil, imx.Errorf(imx.NotFound, "there is no feed %q", req.Name).WithHint("imx feed list shows those that there are")
	}
	return wanted, nil
}

// upToDate looks at the changelogs if that was a while ago, or if there are other packages now. What failed a moment ago
// isn't tried again. Errors: why what is known of changelogs isn't all that there is to know.
func (s *Scanner) upToDate(ctx context.Context, report imx.Report) error {
	leave, err := s.reading.take(ctx)
	if err != nil {
		return err
	}
	defer leave()
	packages := 0
	_ = s.cfg.Known.Use(func(x *vuln.Index) error { _, packages = x.Size(); return nil }) // can't fail
	s.mu.Lock()
	last := s.read
	s.mu.Unlock()
	valid := every
	if last.err != nil {
		valid = again
	}
	if packages == last.covered && s.cfg.Now().Sub(last.at) < valid {
		return last.err
	}
	if _, err := s.changelogs(ctx, imx.Server, report); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read.err
}

// origin is a source package of a release.
type origin struct{ release, source string }

// candidate is a package of the archive that is newer than what an image has.
type candidate struct {
	origin
	pkg imx.Package
}

// changelogs brings the changelogs of all packages that are newer than those that images have, and makes a feed of what
// they say that they fix. An archive other than the host's that can't say anything is skipped, and a changelog that can't
// be had, with why. Who calls it has the turn.
func (s *Scanner) changelogs(ctx context.Context, by imx.Principal, report imx.Report) (imx.Feed, error) {
	var installed []vuln.Package
	_ = s.cfg.Known.Use(func(x *vuln.Index) error { installed = slices.Clone(x.All()); return nil }) // can't fail
	f, missed, err := s.readAll(ctx, installed, report)
	if err == nil {
		err = s.kept(by, f)
	}
	if ctx.Err() != nil {
		return f, err // that somebody gave up says nothing of the archive
	}
	done := attempt{at: s.cfg.Now(), covered: len(installed), err: err}
	if err == nil && len(missed) > 0 {
		done.err = imx.Errorf(imx.Unavailable, "%d couldn't be had, the first of %s", len(missed), missed[0])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = done
	return f, err
}

// readAll makes the feed of changelogs, and says which couldn't be had. Then it may not have got much smaller: what isn't
// known any more would be found no more.
func (s *Scanner) readAll(ctx context.Context, installed []vuln.Package, report imx.Report) (f imx.Feed, missed []string, err error) {
	declared, err := s.cfg.Archives()
	if err != nil {
		return imx.Feed{}, nil, err
	}
	r := reading{Scanner: s, report: report, used: map[imx.Digest]bool{}, feed: imx.Feed{Name: vuln.Changelogs, Format: imx.FormatChangelog}}
	if err := r.archive(ctx, imx.Archive{Name: imx.HostArchive}, installed); err != nil {
		return imx.Feed{}, nil, err
	}
	for _, decl := range declared {
		if why := mute(decl); why != "" {
			r.skip("archive " + decl.Name + ": " + why)
		} else if err := r.archive(ctx, decl, installed); err != nil {
			r.miss("archive " + decl.Name + ": " + imx.AsError(err).Message)
		}
	}
	if err := s.cfg.Feeds.KeepChangelogs(r.used); err != nil {
		return imx.Feed{}, nil, err
	}
	f, err = s.cfg.Feeds.PutAdvisories(imx.FeedRequest{Date: r.feed.Date, Anyway: len(r.missed) == 0}, r.feed, r.all)
	return f, r.missed, err
}

// mute says why the newer packages of an archive that a template declares tell nothing of fixes, or "".
func mute(decl imx.Archive) string {
	switch {
	case len(decl.Keyring) > 0:
		return "others than Debian sign it, and Debian's versions are no measure for theirs"
	case decl.Expired:
		return "it stays as it was, so nothing in it is newer"
	case len(decl.Suites) > 0 && !slices.ContainsFunc(decl.Suites, isSecurity):
		return "it has no security suite"
	}
	return ""
}

func isSecurity(suite string) bool {
	return strings.HasSuffix(suite, "-security") || strings.HasSuffix(suite, "/updates")
}

// reading is the making of a feed of changelogs.
type reading struct {
	*Scanner

	report imx.Report
	used   map[imx.Digest]bool // the .debs whose changelogs stay
	all    []vuln.Advisory
	feed   imx.Feed
	missed []string // what may say more, and couldn't be had
}

func (r *reading) skip(what string) {
	r.feed.Skipped++
	r.feed.Skips = append(r.feed.Skips, what)
}

func (r *reading) miss(what string) {
	r.missed = append(r.missed, what)
	r.skip(what)
}

// archive reads what an archive's newer packages say.
func (r *reading) archive(ctx context.Context, decl imx.Archive, installed []vuln.Package) error {
	snapshot, err := r.cfg.Index(ctx, decl, r.report)
	if err != nil {
		return err
	}
	from := shelf{snapshot, decl}
	newer := newerThan(installed, from)
	if err := snapshot.Index.Err(); err != nil {
		return err
	}
	const step = "read changelogs"
	progress := imx.Progress{Step: step, Status: imx.StepRunning, Total: int64(len(newer)), Unit: "packages"}
	for i, candidates := range newer {
		progress.Message, progress.Done = candidates[0].source, int64(i)
		r.report(progress)
		changes, err := r.changes(ctx, candidates, from)
		if err != nil {
			return err
		}
		r.all = append(r.all, vuln.ChangelogAdvisories(changes, candidates[0].release, candidates[0].source)...)
	}
	progress.Message, progress.Status, progress.Done = "", imx.StepDone, progress.Total
	r.report(progress)
	for _, suite := range snapshot.Suites {
		if suite.Date.After(r.feed.Date) {
			r.feed.Date = suite.Date
		}
	}
	return nil
}

// shelf is what an archive has.
type shelf struct {
	archive.Snapshot

	decl imx.Archive
}

// newerThan returns, for every source package that an archive has newer binaries of than images have, those binaries,
// the smallest first. Only packages of the release that the image is of count.
func newerThan(installed []vuln.Package, in shelf) [][]candidate {
	found := map[origin]map[string]imx.Package{}
	for _, p := range installed {
		release, ok := strings.CutPrefix(p.Ecosystem, vuln.Debian(""))
		if !ok || release == "" {
			continue
		}
		from := origin{release, p.Name}
		for _, b := range p.Binaries {
			best := in.newest(b.Name, from)
			if best != nil && deb.Compare(best.Version, b.Version) > 0 {
				if found[from] == nil {
					found[from] = map[string]imx.Package{}
				}
				found[from][best.Ref()] = best.Package
			}
		}
	}
	var all [][]candidate
	for from, packages := range found {
		var candidates []candidate
		for _, p := range packages {
			candidates = append(candidates, candidate{from, p})
		}
		slices.SortFunc(candidates, func(a, b candidate) int {
			return cmp.Or(deb.Compare(b.pkg.Version, a.pkg.Version), cmp.Compare(a.pkg.Size, b.pkg.Size), cmp.Compare(a.pkg.Ref(), b.pkg.Ref()))
		})
		all = append(all, candidates)
	}
	slices.SortFunc(all, func(a, b []candidate) int {
		return cmp.Or(cmp.Compare(a[0].source, b[0].source), cmp.Compare(a[0].release, b[0].release))
	})
	return all
}

// newest returns the newest package of a name that comes from the source package in the release, or nil.
func (in shelf) newest(name string, from origin) *deb.Package {
	for _, p := range in.Index.Versions(name) {
		if vuln.Release(cmp.Or(in.Codenames[p.Suite], p.Suite)) == from.release && cmp.Or(p.Source, p.Name) == from.source {
			return p
		}
	}
	return nil
}

// changes reads the first changelog that the candidates have. Where none has, it misses those that couldn't be had.
func (r *reading) changes(ctx context.Context, candidates []candidate, from shelf) ([]vuln.Change, error) {
	tried := map[string]bool{}
	var missed []string
	for len(candidates) > 0 {
		c := candidates[0]
		candidates = candidates[1:]
		if tried[c.pkg.Name] {
			continue
		}
		tried[c.pkg.Name], r.used[c.pkg.Digest] = true, true
		var lost error // why the archive doesn't have the package, or not as its index says
		found, err := r.cfg.Feeds.Changelog(c.pkg.Name, c.source, c.pkg.Digest, func() (b io.ReadCloser, err error) {
			b, lost = r.cfg.Package(ctx, from.decl, c.pkg, func(imx.Progress) {})
			return b, lost
		})
		kind := imx.KindOf(err)
		switch {
		case err != nil && kind != imx.NotFound && kind != imx.Refused:
			return nil, fmt.Errorf("reading what package %s fixes: %w", c.pkg.Ref(), err)
		case lost != nil:
			missed = append(missed, "package "+c.pkg.Ref()+": "+imx.AsError(lost).Message)
			continue // another binary of the source may be there
		case err != nil:
			continue // or may have one
		case found.Elsewhere == "":
			return found.Changes, nil
		}
		if p := from.newest(found.Elsewhere, c.origin); p != nil {
			candidates = append([]candidate{{c.origin, p.Package}}, candidates...)
		}
	}
	for _, m := range missed {
		r.miss(m)
	}
	return nil, nil
}
