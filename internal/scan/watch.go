package scan

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/feed"
	"imx/internal/vuln"
)

const (
	// renew is how old a scan that is evidence may become. One that finds the same as the last is kept only then, so that
	// the evidence of an image that is released is never older than this and one look, by a wide margin less than a day.
	renew = 12 * time.Hour
	// look is how often images and the age of their scans are looked at. A feed that changes is another reason.
	look = 10 * time.Minute
	// firstWait is how long a build waits at most for the first feed.
	firstWait = 20 * time.Second
	// seldom is how long it takes until a feed is fetched again that could never be had.
	seldom = 24 * time.Hour
)

// Run keeps feeds that came from a URL, and what is stated of released images, up to date, until ctx ends: when a feed
// has changed, by and by when those of URLs or the changelogs may have, and when a scan is old. What fails is logged, and tried again at the next look.
func (s *Scanner) Run(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	s.logFailure(ctx, "which feeds there are couldn't be written down", s.recount())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.poked:
		case <-tick.C:
			s.fetchDue(ctx)
			s.logFailure(ctx, "the changelogs of newer packages couldn't be looked at", s.upToDate(ctx, func(imx.Progress) {}))
		}
		s.logFailure(ctx, "images couldn't be scanned anew", s.restate(ctx))
	}
}

// fetchDue fetches the feeds that came from a URL, of which nobody said that once is enough, and that weren't fetched for
// an hour: one that fails more and more seldom, down to once a day. What fails is logged, and the feed stays as it was.
func (s *Scanner) fetchDue(ctx context.Context) {
	feeds, err := s.cfg.Feeds.List()
	s.logFailure(ctx, "which feeds there are can't be read", err)
	for _, f := range feeds {
		if _, err := feed.URLName(f.Source); err != nil || f.Once {
			continue
		}
		now, last := s.cfg.Now(), s.fetched[f.Name]
		if f.Added.After(last.at) {
			last = attempt{at: f.Added}
		}
		if now.Sub(last.at) < min(every<<min(last.failures, 5), seldom) {
			continue
		}
		last.at = now
		if last.err = s.fetchAgain(ctx, f); last.err == nil {
			last.failures = 0
		} else {
			last.failures++
		}
		s.fetched[f.Name] = last
		s.logFailure(ctx, "feed "+f.Name+" couldn't be fetched anew", last.err)
	}
}

// fetchAgain gives up where a transfer is slower than the next one.
func (s *Scanner) fetchAgain(ctx context.Context, f imx.Feed) error {
	ctx, cancel := context.WithTimeout(ctx, every)
	defer cancel()
	_, err := s.refetch(ctx, imx.Server, imx.FeedRequest{Name: f.Name, Format: f.Format, Source: f.Source})
	return err
}

// poke has Run look at once.
func (s *Scanner) poke() {
	select {
	case s.poked <- struct{}{}:
	default: // it will look anyway
	}
}

func (s *Scanner) logFailure(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a scan that nobody asked for failed", slog.String("what", what), slog.Any("error", err))
	}
}

// recount writes down what the log doesn't know of the feeds: those that came before feeds were on it, and those whose
// server died between keeping and telling.
func (s *Scanner) recount() error {
	state, err := s.cfg.Server.State(time.Time{})
	if err != nil {
		return err
	}
	feeds, err := s.cfg.Feeds.List()
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, f := range feeds {
		there[f.Name] = true
		if err := s.cfg.Server.KeepFeed(imx.Server, f); err != nil {
			return err
		}
	}
	for name := range state.Feeds {
		if !there[name] {
			if err := s.cfg.Server.RemoveFeed(imx.Server, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// restate scans the released images whose evidence may be wrong or old, without reading one that was read before.
func (s *Scanner) restate(ctx context.Context) error {
	w, err := s.world(ctx, imx.ScanRequest{})
	if err != nil {
		return err
	}
	set, err := s.cfg.Feeds.OpenAll()
	if err != nil {
		return err
	}
	defer set.Close()
	asked := vuln.Asked(set.About)
	if w.images = released(w.images, w.state); asked == s.asked {
		w.images = s.due(w.images, w.state.Evidence)
	}
	if err := s.state(ctx, imx.Server, w, set); err != nil {
		return err
	}
	s.asked = asked
	return nil
}

// Built scans an image that was built, or was found built, with the feeds at hand, unless that was done a short while
// ago by the same feeds. Where there is no feed at all, it makes the one that needs nothing from outside, if the image has packages that it can tell of. What
// fails is logged: whether an image may run without a scan is for others to say.
func (s *Scanner) Built(ctx context.Context, by imx.Principal, image imx.Image, report imx.Report) {
	s.logFailure(ctx, "image "+image.Name+" couldn't be scanned", s.built(ctx, by, imx.ImageView{Image: image}, report))
}

func (s *Scanner) built(ctx context.Context, by imx.Principal, v imx.ImageView, report imx.Report) error {
	w := &world{}
	var err error
	if w.state, err = s.cfg.Server.State(time.Time{}); err != nil {
		return err
	}
	feeds, err := s.cfg.Feeds.List()
	if err != nil {
		return err
	}
	last := w.state.Evidence[v.Digest][imx.PredicateScan].Made
	w.images = []imx.ImageView{v}
	if !slices.ContainsFunc(feeds, func(f imx.Feed) bool { return f.Added.After(last) }) {
		w.images = s.due(w.images, w.state.Evidence)
	}
	if len(w.images) == 0 {
		return nil
	}
	if len(feeds) == 0 {
		if err := s.firstFeed(ctx, by, v, report); err != nil {
			return err
		}
	}
	set, err := s.cfg.Feeds.OpenAll()
	if err != nil {
		return err
	}
	defer set.Close()
	return s.state(ctx, by, w, set)
}

// firstFeed looks at the changelogs, there being no feed yet, where an image has packages of Debian's. Whoever built it waits for that,
// but not for long: the archive's indexes were read a moment ago, and what was just resolved has hardly anything newer.
func (s *Scanner) firstFeed(ctx context.Context, by imx.Principal, v imx.ImageView, report imx.Report) error {
	if _, _, err := s.know(ctx, by, imx.ScanRequest{}, []imx.ImageView{v}, func(imx.Progress) {}); err != nil {
		return err
	}
	debian := false
	err := s.cfg.Known.Use(func(x *vuln.Index) error {
		debian = x.Has(v.Digest) && slices.ContainsFunc(x.Packages(v.Digest), func(p vuln.Package) bool {
			return strings.HasPrefix(p.Ecosystem, vuln.Debian(""))
		})
		return nil
	})
	if err != nil || !debian {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	return s.upToDate(ctx, report)
}

// state scans a world's images and keeps what is news. Feeds that there aren't can't say anything.
func (s *Scanner) state(ctx context.Context, by imx.Principal, w *world, set *feed.Set) error {
	if len(set.Books) == 0 || len(w.images) == 0 {
		return nil
	}
	views, gaps, err := s.know(ctx, by, imx.ScanRequest{}, w.images, func(imx.Progress) {})
	if err != nil {
		return err
	}
	for _, n := range gaps {
		s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a scan that nobody asked for lacks an image", slog.String("why", n))
	}
	w.pleas = set.Pleas
	all, err := s.images(ctx, w, views, set)
	if err != nil {
		return err
	}
	blind := s.blind(set)
	for _, one := range all {
		one.Gaps = slices.Concat(one.Gaps, blind)
		last, ok := w.state.Evidence[one.Image][imx.PredicateScan]
		if ok && s.fresh(last) && s.says(last, one) {
			continue
		}
		if err := s.keep(ctx, by, one, set.About); err != nil {
			return err
		}
	}
	return nil
}

// released returns the images that a release of a service names that wasn't taken down: the current ones, and those
// that are kept to go back to.
func released(images []imx.ImageView, state *imx.State) []imx.ImageView {
	named := map[imx.Digest]bool{}
	for _, service := range state.Services {
		for _, r := range service.Releases {
			named[r.Image.Digest] = named[r.Image.Digest] || !service.Destroyed
		}
	}
	var all []imx.ImageView
	for _, v := range images {
		if named[v.Digest] {
			all = append(all, v)
		}
	}
	return all
}

// due returns the images whose scan may be another now, with the same feeds as at the last look: those without one that is fresh,
// and those of which something was excused since.
func (s *Scanner) due(images []imx.ImageView, known map[imx.Digest]map[string]imx.Evidence) []imx.ImageView {
	var all []imx.ImageView
	for _, v := range images {
		last, scanned := known[v.Digest][imx.PredicateScan]
		excused := known[v.Digest][imx.PredicateVEX].Made
		if !scanned || !s.fresh(last) || excused.After(last.Made) {
			all = append(all, v)
		}
	}
	return all
}

// fresh reports whether a scan needn't be made anew for what it is, whatever it says: it isn't old, and its key counts for it.
func (s *Scanner) fresh(last imx.Evidence) bool {
	return s.cfg.Now().Sub(last.Made) < renew && s.cfg.Evidence.Counts(last) == nil
}
