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

// Changelogs is the name of the feed that imx makes by itself.
const Changelogs = "changelogs"

// every is how long the changelogs stay as they are, unless images came with other packages.
const every = time.Hour

// Refresh fetches feeds that came from a URL again, or one for the first time, and looks at the changelogs of newer
// packages. It returns the feeds that it brought. A feed that can't be had stays as it was; the first failure is told
// when all others were tried. Errors: as feed.Store.Fetch; NotFound for a feed that there isn't; Conflict for one that
// came as a file.
func (s *Scanner) Refresh(ctx context.Context, by imx.Principal, req imx.RefreshRequest, report imx.Report) ([]imx.Feed, error) {
	wanted, err := s.wanted(req)
	if err != nil {
		return nil, err
	}
	brought := []imx.Feed{}
	var failed error
	for _, one := range wanted {
		step := "fetch " + one.Name
		report(imx.Progress{Step: step, Status: imx.StepRunning})
		f, err := s.cfg.Feeds.Fetch(ctx, s.cfg.Client, one)
		if err == nil {
			err = s.kept(by, f)
		}
		if err != nil {
			report(imx.Progress{Step: step, Status: imx.StepFailed, Message: imx.AsError(err).Message})
			failed = cmp.Or(failed, err)
			continue
		}
		report(imx.Progress{Step: step, Status: imx.StepDone, Done: f.Entries, Total: f.Entries, Unit: "entries"})
		brought = append(brought, f)
	}
	if req.URL == "" && (req.Name == "" || req.Name == Changelogs) {
		s.mu.Lock()
		defer s.mu.Unlock()
		f, err := s.changelogs(ctx, by, report)
		if err != nil {
			return brought, cmp.Or(failed, err)
		}
		brought = append(brought, f)
	}
	return brought, failed
}

// wanted lists what is to be fetched.
func (s *Scanner) wanted(req imx.RefreshRequest) ([]imx.FeedRequest, error) {
	if req.URL != "" {
		name, err := feed.URLName(req.URL)
		return []imx.FeedRequest{{Name: cmp.Or(req.Name, name), Source: req.URL, Anyway: req.Anyway}}, err
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
			wanted = append(wanted, imx.FeedRequest{Name: f.Name, Format: f.Format, Source: f.Source, Anyway: req.Anyway})
		case req.Name != "" && req.Name != Changelogs:
			return nil, imx.Errorf(imx.Conflict, "feed %s came as a file, so there is nowhere to fetch it from", f.Name).
				WithHint("add the newer file: imx feed add --name %s FILE", f.Name)
		}
	}
	if req.Name != "" && req.Name != Changelogs && len(wanted) == 0 {
		return nil, imx.Errorf(imx.NotFound, "there is no feed %q", req.Name).WithHint("imx feed list shows those that there are")
	}
	return wanted, nil
}

// upToDate looks at the changelogs if that was a while ago, or if there are other packages now.
func (s *Scanner) upToDate(ctx context.Context, report imx.Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	packages := 0
	_ = s.cfg.Known.Use(func(x *vuln.Index) error { _, packages = x.Size(); return nil }) // can't fail
	if packages == s.covered && s.cfg.Now().Sub(s.refreshed) < every {
		return nil
	}
	_, err := s.changelogs(ctx, imx.Server, report)
	return err
}

// origin is a source package of a release.
type origin struct{ release, source string }

// candidate is a package of the archive that is newer than what an image has.
type candidate struct {
	origin
	pkg imx.Package
}

// changelogs brings the changelogs of all packages that are newer than those that images have, and makes a feed of what
// they say that they fix. An archive other than the host's that can't say anything is skipped, with why.
func (s *Scanner) changelogs(ctx context.Context, by imx.Principal, report imx.Report) (imx.Feed, error) {
	declared, err := s.cfg.Archives()
	if err != nil {
		return imx.Feed{}, err
	}
	var installed []vuln.Package
	_ = s.cfg.Known.Use(func(x *vuln.Index) error { installed = slices.Clone(x.All()); return nil }) // can't fail
	r := reading{Scanner: s, report: report, used: map[imx.Digest]bool{}, feed: imx.Feed{Name: Changelogs, Format: imx.FormatChangelog}}
	if err := r.archive(ctx, imx.Archive{Name: imx.HostArchive}, installed); err != nil {
		return imx.Feed{}, err
	}
	for _, decl := range declared {
		why := mute(decl)
		if why == "" {
			if err := r.archive(ctx, decl, installed); err != nil {
				why = imx.AsError(err).Message
			}
		}
		if why != "" {
			r.feed.Skipped++
			r.feed.Skips = append(r.feed.Skips, "archive "+decl.Name+": "+why)
		}
	}
	if err := s.cfg.Feeds.KeepChangelogs(r.used); err != nil {
		return imx.Feed{}, err
	}
	f, err := s.cfg.Feeds.PutAdvisories(r.feed, r.all)
	if err != nil {
		return f, err
	}
	s.refreshed, s.covered = s.cfg.Now(), len(installed)
	return f, s.kept(by, f)
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

// changes reads the first changelog that the candidates have.
func (r *reading) changes(ctx context.Context, candidates []candidate, from shelf) ([]vuln.Change, error) {
	tried := map[string]bool{}
	for len(candidates) > 0 {
		c := candidates[0]
		candidates = candidates[1:]
		if tried[c.pkg.Name] {
			continue
		}
		tried[c.pkg.Name], r.used[c.pkg.Digest] = true, true
		found, err := r.cfg.Feeds.Changelog(c.pkg.Name, c.source, c.pkg.Digest, func() (io.ReadCloser, error) {
			return r.cfg.Package(ctx, from.decl, c.pkg, func(imx.Progress) {})
		})
		switch {
		case imx.KindOf(err) == imx.NotFound || imx.KindOf(err) == imx.Refused:
			continue // another binary of the source may have one
		case err != nil:
			return nil, fmt.Errorf("reading what package %s fixes: %w", c.pkg.Ref(), err)
		case found.Elsewhere == "":
			return found.Changes, nil
		}
		if p := from.newest(found.Elsewhere, c.origin); p != nil {
			candidates = append([]candidate{{c.origin, p.Package}}, candidates...)
		}
	}
	return nil, nil
}
