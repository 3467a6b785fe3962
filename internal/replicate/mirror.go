package replicate

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"cuelabs.dev/go/oci/ociregistry"

	"imx"
)

// builtTag is what the tags of images begin with that the server builds: they are reserved there, and move.
const builtTag = "plan-"

// Listing is what there is to copy: by repository and tag.
type Listing map[Tagged]Image

// Tagged is a tag of a repository.
type Tagged struct{ Repository, Tag string }

// Image is what a tag names, and what refers to that.
type Image struct {
	Digest    imx.Digest
	Referrers []imx.Digest // sorted
}

// There returns the tag that an image gets in a replica. A builder's tag, which is reserved and may move, gets one that isn't and
// doesn't.
func There(tag string, d imx.Digest) string {
	if rest, ok := strings.CutPrefix(tag, builtTag); ok {
		return "built-" + rest + "-" + d.Short()
	}
	return tag
}

// Missing returns what one listing has and the other lacks, by the tags of the first, sorted. An image that lacks a referrer is
// missing too. The second listing has the replica's tags.
func Missing(here, there Listing) []Tagged {
	var missing []Tagged
	for t, im := range here {
		copied, ok := there[Tagged{t.Repository, There(t.Tag, im.Digest)}]
		has := func(d imx.Digest) bool { return slices.Contains(copied.Referrers, d) }
		if !ok || copied.Digest != im.Digest || slices.ContainsFunc(im.Referrers, func(d imx.Digest) bool { return !has(d) }) {
			missing = append(missing, t)
		}
	}
	slices.SortFunc(missing, func(a, b Tagged) int {
		return strings.Compare(a.Repository+":"+a.Tag, b.Repository+":"+b.Tag)
	})
	return missing
}

// list reads what a side has in the repositories of a pattern. A registry that lists no repositories can still be asked for one by
// its name.
func list(ctx context.Context, s Side, pattern string) (Listing, error) {
	all := Listing{}
	repositories := []string{pattern}
	if strings.HasSuffix(pattern, "*") {
		repositories = nil
		for repo, err := range s.Repositories(ctx, "") {
			if err != nil {
				return nil, wrap(s, err, "listing repositories")
			}
			if imx.MatchRepository(pattern, repo) {
				repositories = append(repositories, repo)
			}
		}
	}
	for _, repo := range repositories {
		if err := listTags(ctx, s, repo, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func listTags(ctx context.Context, s Side, repo string, all Listing) error {
	for tag, err := range s.Tags(ctx, repo, "") {
		if err != nil && kind(err) == imx.NotFound {
			return nil
		}
		if err != nil {
			return wrap(s, err, "listing the tags of %s", repo)
		}
		im, err := image(ctx, s, Tagged{repo, tag})
		if err != nil && kind(err) != imx.NotFound { // it may have gone meanwhile
			return err
		}
		if err == nil {
			all[Tagged{repo, tag}] = im
		}
	}
	return nil
}

// same reads what a side has of another's listing.
func same(ctx context.Context, s Side, other Listing) (Listing, error) {
	all := Listing{}
	for t, im := range other {
		t.Tag = There(t.Tag, im.Digest)
		found, err := image(ctx, s, t)
		if err != nil && kind(err) != imx.NotFound {
			return nil, err
		}
		if err == nil {
			all[t] = found
		}
	}
	return all, nil
}

func image(ctx context.Context, s Side, t Tagged) (Image, error) {
	desc, err := s.ResolveTag(ctx, t.Repository, t.Tag)
	if err != nil {
		return Image{}, wrap(s, err, "asking for %s:%s", t.Repository, t.Tag)
	}
	im := Image{Digest: imx.Digest(desc.Digest)}
	for ref, err := range s.Referrers(ctx, t.Repository, desc.Digest, "") {
		if err != nil {
			return im, wrap(s, err, "asking what refers to %s:%s", t.Repository, t.Tag)
		}
		im.Referrers = append(im.Referrers, imx.Digest(ref.Digest))
	}
	slices.Sort(im.Referrers)
	return im, nil
}

// Config says what a Follower follows.
type Config struct {
	Rules   func() map[string]imx.RegistryMirror
	Changed func() <-chan struct{} // closed at the next change of the rules or of what is here
	// Open returns the two sides of a rule.
	Open func(m imx.RegistryMirror) (from, to Side, err error)
	// Enter keeps what comes from being collected until it is whole.
	Enter func(ctx context.Context) (leave func(), err error)
	Now   func() time.Time
	Every time.Duration // between two looks at what others have
	Rest  time.Duration // after a look, at least
}

// Follower copies what rules say, for as long as it runs.
type Follower struct {
	cfg    Config
	mu     sync.Mutex
	status map[string]imx.MirrorStatus
}

// NewFollower makes a Follower. It does nothing until Run.
func NewFollower(cfg Config) *Follower {
	return &Follower{cfg: cfg, status: map[string]imx.MirrorStatus{}}
}

// Run follows the rules until ctx ends.
func (f *Follower) Run(ctx context.Context) error {
	for {
		changed := f.cfg.Changed()
		rules := f.cfg.Rules()
		for _, name := range slices.Sorted(maps.Keys(rules)) {
			f.follow(ctx, rules[name])
		}
		if !wait(ctx, nil, f.cfg.Rest) || !wait(ctx, changed, f.cfg.Every) {
			return nil
		}
	}
}

// wait waits for a change or for some time, and reports whether to go on.
func wait(ctx context.Context, changed <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-changed:
	case <-timer.C:
	}
	return true
}

// Status returns how each rule did, sorted by name.
func (f *Follower) Status() []imx.MirrorStatus {
	rules := f.cfg.Rules()
	f.mu.Lock()
	defer f.mu.Unlock()
	all := []imx.MirrorStatus{}
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		s := f.status[name]
		if s.RegistryMirror != rules[name] {
			s = imx.MirrorStatus{RegistryMirror: rules[name]}
		}
		all = append(all, s)
	}
	return all
}

// follow copies what one rule finds missing.
func (f *Follower) follow(ctx context.Context, m imx.RegistryMirror) {
	copied, behind, err := f.round(ctx, m)
	if ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status[m.Name]
	if s.RegistryMirror != m {
		s = imx.MirrorStatus{RegistryMirror: m}
	}
	s.Looked, s.Copied, s.Behind, s.Error = f.cfg.Now().UTC(), s.Copied+copied, behind, imx.AsError(err)
	f.status[m.Name] = s
}

func (f *Follower) round(ctx context.Context, m imx.RegistryMirror) (copied, behind int, err error) {
	from, to, err := f.cfg.Open(m)
	if err != nil {
		return 0, 0, err
	}
	here, err := list(ctx, from, m.Repository)
	if err != nil {
		return 0, 0, err
	}
	there, err := same(ctx, to, here)
	if err != nil {
		return 0, len(here), err
	}
	for _, t := range Missing(here, there) {
		n, failed := f.one(ctx, Copier{From: from, To: to}, t, here[t].Digest)
		copied += n
		if failed != nil {
			behind++
			err = errors.Join(err, failed)
		}
	}
	return copied, behind, err
}

// one copies one image.
func (f *Follower) one(ctx context.Context, c Copier, t Tagged, d imx.Digest) (int, error) {
	leave, err := f.cfg.Enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	done, err := c.Copy(ctx, Place{Repository: t.Repository, Digest: d}, Place{Repository: t.Repository, Tag: There(t.Tag, d)})
	return done.Manifests, err
}

var _ ociregistry.Interface = Side{}
