// Package scan joins what the feeds say, what images have in them and what runs: it answers which vulnerabilities
// images have, which images have one, now and at any past time, and keeps the feeds, and what is stated of images by
// them, up to date.
//
// It matches nothing itself (vuln does) and keeps nothing itself (feed does).
package scan

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"imx"
	"imx/internal/archive"
	"imx/internal/attest"
	"imx/internal/control"
	"imx/internal/feed"
	"imx/internal/vuln"
)

// Config is what a Scanner joins.
type Config struct {
	Feeds  *feed.Store
	Known  *feed.Images
	Client *http.Client // fetches feeds from the addresses that people name
	Server Server
	// Archives are those that templates declared. Index brings the verified indexes of one of them, or of the host's, and
	// Package a .deb of it.
	Archives func() ([]imx.Archive, error)
	Index    func(ctx context.Context, decl imx.Archive, report imx.Report) (archive.Snapshot, error)
	Package  func(ctx context.Context, decl imx.Archive, p imx.Package, report imx.Report) (io.ReadCloser, error)
	// Evidence keeps what is stated of images, and has what was.
	Evidence *attest.Attester
	Version  string
	Now      func() time.Time
	Log      *slog.Logger // gets what goes wrong while nobody asks
}

// Server is what there is to scan.
type Server struct {
	// State is the state at a moment, or now for the zero Time; Images are those that the server had then.
	State  func(at time.Time) (*imx.State, error)
	Images func(ctx context.Context, at time.Time) ([]imx.ImageView, error)
	// Image returns all that is known of an image.
	Image func(ctx context.Context, wanted string) (imx.ImageDetail, error)
	// Pids are the first processes of the instances that run now, by id.
	Pids func(ctx context.Context) (map[string]int, error)
	// KeepFeed and RemoveFeed write down what became of a feed: control.Control's.
	KeepFeed   func(by imx.Principal, f imx.Feed) error
	RemoveFeed func(by imx.Principal, name string) error
}

// Scanner scans images. Its methods may be called from several goroutines at once.
type Scanner struct {
	cfg     Config
	poked   chan struct{}      // has one where feeds or excuses changed since Run looked
	asked   imx.Digest         // of the feeds that Run last matched all images with
	fetched map[string]attempt // the feeds that Run last fetched, by name
	reading turn               // of who brings the changelogs up to date
	stating turn               // of who adds to what is stated of an image
	mu      sync.Mutex         // for read
	read    attempt            // of the changelogs
}

// attempt is how it went to bring feeds up to date.
type attempt struct {
	at       time.Time
	covered  int // how many different packages were looked at
	failures int // in a row
	err      error
}

// turn lets one at a time; who waits can give up.
type turn chan struct{}

func (t turn) take(ctx context.Context) (leave func(), err error) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// New returns a Scanner. It starts nothing.
func New(cfg Config) *Scanner {
	return &Scanner{
		cfg: cfg, poked: make(chan struct{}, 1), fetched: map[string]attempt{}, reading: make(turn, 1), stating: make(turn, 1),
	}
}

// Close lets go of the index of images. What it lost is read out of the images again.
func (s *Scanner) Close() { _ = s.cfg.Known.Close() }

// Feeds lists the feeds that there are, or those that the log says there were at a moment. Errors: NotFound for one
// before the log.
func (s *Scanner) Feeds(at time.Time) ([]imx.Feed, error) {
	if at.IsZero() {
		return s.cfg.Feeds.List()
	}
	state, err := s.cfg.Server.State(at)
	if err != nil {
		return nil, err
	}
	return control.Feeds(state), nil
}

// AddFeed keeps a feed that is sent. Errors: as feed.Store.Put.
func (s *Scanner) AddFeed(ctx context.Context, by imx.Principal, req imx.FeedRequest, r io.Reader) (imx.Feed, error) {
	f, err := s.cfg.Feeds.Put(ctx, req, r)
	if err != nil {
		return f, err
	}
	return f, s.kept(by, f)
}

// kept writes down that a feed came, and has the images matched with it.
func (s *Scanner) kept(by imx.Principal, f imx.Feed) error {
	s.poke()
	return s.cfg.Server.KeepFeed(by, f)
}

// RemoveFeed forgets a feed. Errors: NotFound.
func (s *Scanner) RemoveFeed(by imx.Principal, name string) error {
	if err := s.cfg.Feeds.Remove(name); err != nil {
		return err
	}
	s.poke()
	return s.cfg.Server.RemoveFeed(by, name)
}

// Scan answers a request. Feeds that imx makes by itself are brought up to date before, if they can be. What couldn't be
// looked at is told as a gap.
// Errors: NotFound and Invalid for a subject as inventory.Find, a moment before the log or yet to come, and what can't be a
// vulnerability's name; Refused for a damaged feed or a VEX document that is none; for a subject that can't be scanned,
// why: NotFound where its bytes are gone, Refused where they were changed, Invalid for what is no image.
func (s *Scanner) Scan(ctx context.Context, by imx.Principal, req imx.ScanRequest, report imx.Report) (imx.ScanResult, error) {
	result := imx.ScanResult{Time: s.cfg.Now().UTC(), At: req.At, Images: []imx.ImageScan{}}
	req, err := readable(req, result.Time)
	if err != nil {
		return result, err
	}
	w, err := s.world(ctx, req)
	if err != nil {
		return result, err
	}
	w.running = req.At.IsZero()
	views, err := w.choose(req)
	if err != nil {
		return result, err
	}
	if views, result.Gaps, err = s.know(ctx, by, req, views, report); err != nil {
		return result, err
	}
	result.Searched = len(views)
	if err := s.upToDate(ctx, report); err != nil {
		if ctx.Err() != nil {
			return result, err
		}
		result.Notices = append(result.Notices, "the changelogs of newer packages couldn't be looked at: "+imx.AsError(err).Message)
	}
	set, err := s.cfg.Feeds.OpenAll()
	if err != nil {
		return result, err
	}
	defer set.Close()
	result.Feeds = set.About
	result.Notices = append(result.Notices, ages(set.About, result.Time)...)
	blind := s.blind(set)
	result.Gaps = append(result.Gaps, blind...)
	pleas, err := given(req.VEX)
	if err != nil {
		return result, err
	}
	w.pleas = append(set.Pleas, pleas...)
	all, err := s.images(ctx, w, views, set)
	if err != nil {
		return result, err
	}
	if req.ID != "" {
		return result, with(&result, req.ID, all, set)
	}
	result.Images = append(result.Images, all...)
	if !req.Keep {
		return result, nil
	}
	return result, s.keepAll(ctx, by, result, set, blind)
}

// readable returns a request as it is carried out. Errors: Invalid for what contradicts itself, and for what can't be
// answered whatever there is.
func readable(req imx.ScanRequest, now time.Time) (imx.ScanRequest, error) {
	const clocks = time.Minute // by which they may differ
	switch {
	case req.Keep && (req.ID != "" || !req.At.IsZero()):
		return req, imx.Errorf(imx.Invalid, "only a whole scan of now can be kept as evidence").WithHint("leave out the vulnerability and the moment")
	case req.Keep && len(req.VEX) > 0:
		return req, imx.Errorf(imx.Invalid, "what documents excuse that aren't kept themselves can't be kept as evidence").
			WithHint("keep them first: imx feed add FILE, or imx vex IMAGE ID; then scan without them")
	case req.At.After(now.Add(clocks)):
		return req, imx.Errorf(imx.Invalid, "%s is yet to come", req.At.UTC().Format(time.RFC3339))
	case req.ID == "":
		return req, nil
	}
	var err error
	req.ID, err = vuln.ParseID(req.ID)
	return req, err
}

// with puts the images that have a vulnerability into a result. Where none has it, and no feed has ever heard of it, that
// says nothing.
func with(result *imx.ScanResult, id string, all []imx.ImageScan, set *feed.Set) error {
	for _, one := range all {
		if len(one.Vulnerabilities) > 0 {
			result.Images = append(result.Images, one)
			continue
		}
		for _, gap := range one.Gaps {
			result.Gaps = append(result.Gaps, fmt.Sprintf("image %s@%s: %s", one.Name, one.Image.Short(), gap))
		}
	}
	if len(result.Images) > 0 {
		return nil
	}
	for _, f := range set.Books {
		if known, err := f.Book.Knows(id); known || err != nil {
			return err
		}
	}
	result.Gaps = append(result.Gaps, "no feed knows "+id)
	return nil
}

// keepAll makes the scans of a result evidence. Errors: Unavailable where no feed was asked.
func (s *Scanner) keepAll(ctx context.Context, by imx.Principal, result imx.ScanResult, set *feed.Set, blind []string) error {
	if len(set.Books) == 0 {
		return imx.Errorf(imx.Unavailable, "a scan that asked no feed isn't kept as evidence").WithHint("imx feed add FILE or URL")
	}
	for _, one := range result.Images {
		one.Gaps = slices.Concat(one.Gaps, blind)
		if err := s.keep(ctx, by, one, set.About); err != nil {
			return err
		}
	}
	return nil
}

// blind says what feeds as they are can't tell of any image.
func (s *Scanner) blind(set *feed.Set) []string {
	if len(set.Books) == 0 {
		return []string{"there is no feed, so nothing can be found: imx feed add FILE or URL"}
	}
	s.mu.Lock()
	failed := s.read.err != nil
	s.mu.Unlock()
	tells := func(f imx.Feed) bool {
		return !f.Stale && slices.Contains([]imx.FeedFormat{imx.FormatDSA, imx.FormatTracker, imx.FormatOSV}, f.Format)
	}
	if failed && !slices.ContainsFunc(set.About, tells) {
		return []string{"the archive's newer packages couldn't be looked at, and no feed of advisories is younger than a week"}
	}
	return nil
}

// images matches images, whose packages are known, with feeds.
func (s *Scanner) images(ctx context.Context, w *world, views []imx.ImageView, set *feed.Set) ([]imx.ImageScan, error) {
	matched, err := s.match(views, set)
	if err != nil {
		return nil, err
	}
	if w.running { // only now: a process that was there before all the rest is another one by now
		if w.pids, err = s.cfg.Server.Pids(ctx); err != nil {
			return nil, err
		}
	}
	all := make([]imx.ImageScan, len(views))
	for i, v := range views {
		if all[i], err = s.image(ctx, w, v, matched[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// know makes sure that the packages of images are known. Of those whose can't be it says why; but for artifacts that are
// no images, where nobody asked for one. Errors: why, for an image that was asked for; ctx's.
func (s *Scanner) know(
	ctx context.Context, by imx.Principal, req imx.ScanRequest, views []imx.ImageView, report imx.Report,
) (known []imx.ImageView, gaps []string, err error) {
	for i, v := range views {
		err := s.cfg.Known.Ensure(v.Digest, func() ([]vuln.Package, error) {
			report(imx.Progress{
				Step: "read images", Status: imx.StepRunning, Message: v.Name, Done: int64(i), Total: int64(len(views)), Unit: "images",
			})
			return s.contents(ctx, by, v.Digest)
		})
		if err == nil {
			known = append(known, v)
			continue
		}
		why := imx.AsError(err)
		e := imx.Errorf(why.Kind, "image %s@%s can't be scanned: %s", v.Name, v.Digest.Short(), why.Message).WithHint("%s", why.Hint)
		if req.Subject != "" || ctx.Err() != nil {
			return nil, nil, e
		}
		if why.Kind != imx.Invalid {
			gaps = append(gaps, e.Message)
		}
	}
	if len(views) > 0 {
		report(imx.Progress{Step: "read images", Status: imx.StepDone, Done: int64(len(known)), Total: int64(len(views)), Unit: "images"})
	}
	return known, gaps, nil
}

// matched is what the feeds say of one image.
type matched struct {
	packages []vuln.Package
	found    []imx.Vulnerability
}

func (s *Scanner) match(views []imx.ImageView, set *feed.Set) ([]matched, error) {
	all := make([]matched, len(views))
	if len(views) == 0 {
		return all, nil
	}
	digests := make([]imx.Digest, len(views))
	for i, v := range views {
		digests[i] = v.Digest
	}
	return all, s.cfg.Known.Use(func(x *vuln.Index) error {
		for _, v := range views {
			if !x.Has(v.Digest) { // a collection of garbage came between
				return imx.Errorf(imx.Unavailable, "image %s@%s was removed during the scan", v.Name, v.Digest.Short()).WithHint("scan again")
			}
		}
		m, err := x.Match(set.Books, digests...)
		if err != nil {
			return err
		}
		for i, d := range digests {
			all[i] = matched{x.Packages(d), m.Image(d)}
		}
		return nil
	})
}

// image joins what is known of one image.
func (s *Scanner) image(ctx context.Context, w *world, v imx.ImageView, m matched) (imx.ImageScan, error) {
	one := imx.ImageScan{Image: v.Digest, Name: v.Name, Vulnerabilities: m.found, Releases: w.releases(v.Digest)}
	one.Stated = w.state.Evidence[v.Digest][imx.PredicateScan].Made
	unknown := 0
	for _, p := range m.packages {
		one.Packages += len(p.Binaries)
		if len(p.Files) > 0 {
			one.Components++
		}
		if p.Ecosystem == vuln.Debian("") {
			unknown += len(p.Binaries)
		}
	}
	if unknown > 0 {
		one.Gaps = append(one.Gaps, fmt.Sprintf("of %d packages the release of Debian isn't known, so that no advisory can be matched to them", unknown))
	}
	if w.req.ID != "" {
		one.Vulnerabilities = slices.DeleteFunc(one.Vulnerabilities, func(v imx.Vulnerability) bool { return !vuln.Names(v, w.req.ID) })
		if len(one.Vulnerabilities) == 0 {
			return one, nil
		}
	}
	stated, err := s.stated(w.state, v.Digest)
	if err != nil {
		one.Notices = append(one.Notices, "what was stated of it can't be read, and excuses nothing: "+imx.AsError(err).Message)
	}
	vuln.Excuse(one.Vulnerabilities, v.Name, v.Digest, append(stated, w.pleas...))
	one.Instances = w.instances(v.Digest)
	if err := s.use(ctx, w, &one); err != nil {
		return one, err
	}
	one.Patch = w.patch(one)
	return one, nil
}

// ages warns of feeds that say little about today.
func ages(feeds []imx.Feed, now time.Time) []string {
	var all []string
	for _, f := range feeds {
		if f.Stale {
			all = append(all, fmt.Sprintf("feed %s is %d days old: it knows nothing newer", f.Name, int(now.Sub(f.Date).Hours()/24)))
		}
	}
	return all
}

// given reads the VEX documents of a request.
func given(raw []json.RawMessage) ([]vuln.Plea, error) {
	var all []vuln.Plea
	for i, text := range raw {
		doc, err := vuln.ParseVEX(bytes.NewReader(text))
		if err != nil {
			e := imx.AsError(err)
			return nil, imx.Errorf(imx.Invalid, "VEX document %d: %s", i+1, e.Message).WithHint("%s", e.Hint)
		}
		all = append(all, vuln.Plea{From: "this scan", VEX: doc})
	}
	return all, nil
}
