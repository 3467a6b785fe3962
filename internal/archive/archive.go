// Package archive fetches signed Debian archives and verifies every byte of them: first the
// signature on a suite's InRelease, then its dates, then the lists that it names, then each
// package. It chooses no package and unpacks none.
//
// Whatever it can't verify it refuses, naming the archive, the suite, the file below the mirror's root
// and both values. A mirror's host stands in no message: mirrors are the machine's own choice, and
// any of them must have the same bytes.
package archive

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"imx"
	"imx/internal/blob"
	"imx/internal/deb"
)

// Config says where an Archive keeps and finds things.
type Config struct {
	Dir     string           // cache of verified indices; made where it doesn't exist
	Blobs   *blob.Store      // where packages go
	AptDir  string           // the host's apt configuration; "" means /etc/apt
	Keyring string           // Debian's keyring; "" means that of the package debian-archive-keyring
	Now     func() time.Time // nil means time.Now
	Client  *http.Client     // nil means one that follows the proxy settings of the environment
}

// Archive fetches from archives. Its methods may be called from several goroutines at once.
type Archive struct {
	cfg    Config
	lists  *listCache // of Packages files, by the digests that verified InReleases give
	client *http.Client
	rings  keyrings
	pace   pace

	bringing singleflight.Group // of lists that aren't in the cache, by digest
	reading  sync.RWMutex       // held for reading by a fetch that needs lists, for writing by prune
}

// Snapshot is an archive as its newest verified indices describe it.
type Snapshot struct {
	Index  *deb.Index        // reads from the cache's files: look at its Err before believing in it
	Suites []imx.LockedSuite // sorted by suite
	// Priorities are those that the suites' Releases give them (deb.Release), by suite.
	Priorities map[string]int
	// Codenames are those of the suites whose Release calls them otherwise ("stable"), by suite.
	Codenames map[string]string
	// Notices name the host's apt sources that were left out, each with its place below the apt folder.
	Notices imx.Diagnostics
}

// New makes an Archive. It fetches nothing yet.
func New(cfg Config) (*Archive, error) {
	if cfg.AptDir == "" {
		cfg.AptDir = "/etc/apt"
	}
	if cfg.Keyring == "" {
		cfg.Keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	a := &Archive{cfg: cfg, client: newClient(cfg.Client), pace: pace{every: 30 * time.Second, bytes: 120 << 10}}
	if err := os.MkdirAll(a.releaseDir(), 0o700); err != nil {
		return nil, fmt.Errorf("making the cache of archive indices: %w", err)
	}
	if err := removeStaged(a.releaseDir()); err != nil {
		return nil, fmt.Errorf("cleaning the cache of archive indices: %w", err)
	}
	var err error
	if a.lists, err = newListCache(filepath.Join(cfg.Dir, "lists")); err != nil {
		return nil, fmt.Errorf("opening the cache of archive indices: %w", err)
	}
	return a, nil
}

// Forget has the next Fetch read its lists from the disk again and check them: for whoever finds that
// an Index couldn't be read (deb.Index.Err).
func (a *Archive) Forget() { a.lists.forget() }

// fetch is one call of Fetch.
type fetch struct {
	*Archive
	decl   imx.Archive
	arch   string
	known  []imx.LockedSuite
	report imx.Report
}

// suite is what a fetch knows of one suite: a verified release, or why there is none.
type suite struct {
	source
	release deb.Release
	locked  imx.LockedSuite
	from    mirror // the one that the release came from
	cached  bool   // it hadn't changed
	notices imx.Diagnostics
	err     error
}

// Fetch verifies the newest index of each suite of decl and returns all their packages for the
// architecture. known is the newest index seen before of each suite; an older one is refused as
// rolled back. Suites that didn't change are not downloaded again.
//
// Errors: Invalid for a declaration that makes no sense; Refused for a signature, date, name or
// digest that is wrong; Unavailable where a mirror doesn't answer; Exhausted for a full disk.
func (a *Archive) Fetch(ctx context.Context, decl imx.Archive, arch string, known []imx.LockedSuite, report imx.Report) (Snapshot, error) {
	f := &fetch{Archive: a, decl: decl, arch: arch, known: known, report: report}
	sources, notices, err := a.sources(decl, arch)
	if err != nil {
		return Snapshot{}, err
	}
	suites := f.releases(ctx, sources)
	if err := ctx.Err(); err != nil {
		return Snapshot{}, fmt.Errorf("fetching archive %q: %w", decl.Name, err)
	}
	suites, left, err := choose(suites, known, decl.Name)
	if err != nil {
		return Snapshot{}, err
	}
	lists, err := f.allLists(ctx, suites)
	if err != nil {
		return Snapshot{}, err
	}
	snapshot := Snapshot{Index: deb.IndexOf(lists...), Priorities: map[string]int{}, Codenames: map[string]string{}, Notices: append(notices, left...)}
	for _, s := range suites {
		snapshot.Notices = append(snapshot.Notices, s.notices...)
		snapshot.Priorities[s.suite] = s.release.Priority
		snapshot.Suites = append(snapshot.Suites, s.locked)
		if s.release.Codename != "" && s.release.Codename != s.suite {
			snapshot.Codenames[s.suite] = s.release.Codename
		}
	}
	return snapshot, a.remember(decl)
}

// releases verifies the InRelease of all sources at once. A failure stands in its suite: whether
// it matters is decided when all are known.
func (f *fetch) releases(ctx context.Context, sources []source) []suite {
	suites := make([]suite, len(sources))
	var group errgroup.Group
	for i, src := range sources {
		group.Go(func() error {
			suites[i] = f.verified(ctx, src)
			return nil
		})
	}
	_ = group.Wait() // none returns an error
	return suites
}

// choose decides which suites the archive consists of. A source of the host that isn't certain to
// be Debian's is left out, with a notice, if other keys sign it or it can't be reached. No other
// failure leaves a source out, and no failure leaves out one that canLeaveOut holds for a part.
func choose(suites []suite, known []imx.LockedSuite, archive string) ([]suite, imx.Diagnostics, error) {
	var good []suite
	var notices imx.Diagnostics
	for _, s := range suites {
		if s.err == nil {
			good = append(good, s)
		}
	}
	for _, s := range suites {
		switch {
		case s.err == nil:
		case canLeaveOut(s, good, known, archive):
			notices = append(notices, leftOut(s.mirrors[0].at, s.suite, imx.AsError(s.err).Message))
		default:
			return nil, nil, s.err
		}
	}
	slices.SortFunc(good, func(a, b suite) int { return strings.Compare(a.suite, b.suite) })
	return good, notices, nil
}

// canLeaveOut reports whether a suite that failed may be another vendor's. It can't be where the
// declaration says that it is the archive, where the archive had it before, or where a verified
// suite is its relative. How it failed is looked at last: somebody on the way to the mirror can
// bring about every failure.
func canLeaveOut(s suite, good []suite, known []imx.LockedSuite, archive string) bool {
	seen := slices.ContainsFunc(known, func(k imx.LockedSuite) bool { return k.Archive == archive && k.Suite == s.suite })
	if len(good) == 0 || s.sure() || seen || slices.ContainsFunc(good, func(g suite) bool { return related(&s, &g) }) {
		return false
	}
	return isForeign(s.err) || imx.KindOf(s.err) == imx.Unavailable
}

// related reports whether s must be of the same archive as the verified suite g: it is on the same
// mirror, or has the name of g's release ("bookworm", "bookworm-security", "stable-updates").
func related(s, g *suite) bool {
	if s.on(g.from.root) {
		return true
	}
	base := func(name string) string {
		name, _, _ = strings.Cut(strings.ReplaceAll(name, "/", "-"), "-") // "bookworm/updates" is an old form
		return name
	}
	name := base(s.suite)
	return name == base(g.release.Codename) || name == base(g.release.Suite)
}

func leftOut(at imx.Pos, name, reason string) imx.Diagnostic {
	return imx.Diagnostic{
		Severity: imx.SeverityNotice,
		Summary:  fmt.Sprintf("the apt source of suite %q is left out: %s", name, reason),
		At:       at,
	}
}
