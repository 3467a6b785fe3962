package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"imx"
	"imx/internal/disk"
)

// use is how much of something is there.
type use struct {
	bytes                  int64
	manifests, tags, blobs int
}

func (u use) plus(o use) use {
	return use{u.bytes + o.bytes, u.manifests + o.manifests, u.tags + o.tags, u.blobs + o.blobs}
}

func (u use) minus(o use) use {
	return use{u.bytes - o.bytes, u.manifests - o.manifests, u.tags - o.tags, u.blobs - o.blobs}
}

// unsaid is how much one owner's tokens may bring together where no quota says so; all that comes without a token is one owner's. Each
// tag and each manifest is an event on the log, which is kept for good and read at each start, and each of the three is a file that
// every collection and every count of the quotas reads. Bytes have no such bound: a full disk is said, and mended by removing.
func unsaid() use { return use{manifests: 100_000, tags: 100_000, blobs: 1_000_000} }

// usage knows how much each repository and each owner has: it is counted from the names when the first push comes that is bounded, and
// kept up to date from then on; and how much is on its way.
type usage struct {
	quotas func() map[string]imx.RegistryQuota
	scan   func() (used, error)
	unsaid use
	// naming is held for reading while a name is made or removed, so that none comes or goes during a count.
	naming   sync.RWMutex
	mu       sync.Mutex
	known    bool
	now      used // if it is known
	underWay used // the bytes of uploads that haven't ended
}

// used is by repositories and by owners; each name counts once for either.
type used struct {
	repositories map[string]use
	owners       map[imx.Principal]use // "" is whoever has no token
}

func nothingUsed() used { return used{map[string]use{}, map[imx.Principal]use{}} }

func (u used) add(repo string, owner imx.Principal, more use) {
	add(u.repositories, repo, more)
	add(u.owners, owner, more)
}

func add[K comparable](to map[K]use, key K, more use) {
	if to[key] = to[key].plus(more); to[key] == (use{}) {
		delete(to, key)
	}
}

// of returns how much there is in a quota's scope.
func (u used) of(q imx.RegistryQuota) use {
	if q.Owner != "" {
		return u.owners[q.Owner]
	}
	var sum use
	for repo, one := range u.repositories {
		if imx.MatchRepository(q.Repositories, repo) {
			sum = sum.plus(one)
		}
	}
	return sum
}

// charge takes room for one name, or refuses it: of pushes that race for the last room one gets it. What was held for its bytes, if
// anything, becomes the name's. The caller makes the name and then says by settle whether it is a new one. Errors: Exhausted, with the quota.
func (u *usage) charge(v Visitor, repo string, more use, held *hold) (settle func(kept bool), err error) {
	if err := u.beginFor(v); err != nil {
		return nil, err
	}
	defer u.mu.Unlock()
	held.set(0)
	if err := u.fits(v, repo, more); err != nil {
		u.naming.RUnlock()
		return nil, err
	}
	if u.known {
		u.now.add(repo, v.owner(), more)
	}
	return func(kept bool) {
		u.mu.Lock()
		defer u.mu.Unlock()
		if !kept && u.known {
			u.now.add(repo, v.owner(), use{}.minus(more))
		}
		u.naming.RUnlock()
	}, nil
}

// enter returns with naming held for reading and mu held.
func (u *usage) enter() {
	u.naming.RLock()
	u.mu.Lock()
}

// begin is enter, with the numbers known.
func (u *usage) begin() error {
	for {
		if u.enter(); u.known {
			return nil
		}
		u.mu.Unlock()
		u.naming.RUnlock()
		if err := u.count(); err != nil {
			return err
		}
	}
}

// beginFor is begin for those whom something bounds, and enter for others.
func (u *usage) beginFor(v Visitor) error {
	if v.limited() {
		return u.begin()
	}
	u.enter()
	return nil
}

func (u *usage) count() error {
	u.naming.Lock()
	defer u.naming.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.known {
		return nil
	}
	now, err := u.scan()
	if err == nil {
		u.now, u.known = now, true
	}
	return err
}

// hold is the room that an upload has while its bytes come: they count for the quotas until it ends. Nil holds nothing. Only one
// goroutine at a time may use it.
type hold struct {
	usage *usage
	v     Visitor
	repo  string
	bytes int64 // changed with usage.mu held
}

// reach makes the room as large as the upload is going to be at least, or refuses that. A visitor's own limits are none of the
// server's. Errors: Exhausted, with the quota; the room stays as it was.
func (h *hold) reach(bytes int64) error {
	if bytes <= h.bytes {
		return nil
	}
	u := h.usage
	if err := u.beginFor(h.v); err != nil {
		return err
	}
	defer u.naming.RUnlock()
	defer u.mu.Unlock()
	if err := u.fits(h.v, h.repo, use{bytes: bytes - h.bytes}); err != nil {
		return err
	}
	h.set(bytes)
	return nil
}

// keep gives back what is more than the bytes that came.
func (h *hold) keep(bytes int64) {
	h.usage.mu.Lock()
	defer h.usage.mu.Unlock()
	h.set(min(bytes, h.bytes))
}

// set makes the room another. mu is held.
func (h *hold) set(bytes int64) {
	if h != nil && bytes != h.bytes {
		h.usage.underWay.add(h.repo, h.v.owner(), use{bytes: bytes - h.bytes})
		h.bytes = bytes
	}
}

// fits checks each quota, and what is bounded without one. mu is held.
func (u *usage) fits(v Visitor, repo string, more use) error {
	if !v.limited() {
		return nil
	}
	most := u.unsaid
	for _, q := range u.quotas() {
		if q.Owner != "" && q.Owner != v.By || q.Owner == "" && !imx.MatchRepository(q.Repositories, repo) {
			continue
		}
		if err := u.fitsQuota(q, more); err != nil {
			return err
		}
		if q.Manifests > 0 {
			most.manifests = 0
		}
		if q.Tags > 0 {
			most.tags = 0
		}
	}
	now := u.now.owners[v.owner()]
	for _, one := range []struct {
		what            string
		now, more, most int
	}{{"manifests", now.manifests, more.manifests, most.manifests}, {"tags", now.tags, more.tags, most.tags}, {"blobs", now.blobs, more.blobs, most.blobs}} {
		if one.most > 0 && one.more > 0 && one.now+one.more > one.most {
			return faultf(codeOverQuota, "%s brought %d %s already, and no quota allows more", v.whose(), one.now, one.what).withHint(
				"whoever runs the server can allow more manifests and tags: imx registry quota set; for more blobs, make a token of another owner")
		}
	}
	return nil
}

// fitsQuota checks one quota. mu is held.
func (u *usage) fitsQuota(q imx.RegistryQuota, more use) error {
	now, coming := u.now.of(q), u.underWay.of(q).bytes
	switch {
	case q.Bytes > 0 && more.bytes > 0 && now.bytes+coming+more.bytes > int64(q.Bytes):
		used := imx.Size(now.bytes+coming).String() + " of " + q.Bytes.String()
		if coming > 0 {
			used += ", with the " + imx.Size(coming).String() + " of uploads that are under way,"
		}
		return errOverQuota(q, used, imx.Size(more.bytes).String())
	case q.Manifests > 0 && more.manifests > 0 && now.manifests+more.manifests > q.Manifests:
		return errOverQuota(q, fmt.Sprintf("%d of %d manifests", now.manifests, q.Manifests), "one more")
	case q.Tags > 0 && more.tags > 0 && now.tags+more.tags > q.Tags:
		return errOverQuota(q, fmt.Sprintf("%d of %d tags", now.tags, q.Tags), "one more")
	}
	return nil
}

func errOverQuota(q imx.RegistryQuota, used, needs string) error {
	return faultf(codeOverQuota, "the quota of %s has no room for this push: %s are used, and it needs %s", q.Scope(), used, needs).
		withHint("imx registry quota list shows the quotas; whoever runs the server can set another")
}

// forget has the next push that a quota bounds count anew.
func (u *usage) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.known = false
}

// Used returns how much of each quota is used.
func (r *Registry) Used() (map[string]imx.RegistryUse, error) {
	all := map[string]imx.RegistryUse{}
	quotas := r.usage.quotas()
	if len(quotas) == 0 {
		return all, nil
	}
	if err := r.usage.begin(); err != nil {
		return nil, err
	}
	defer r.usage.naming.RUnlock()
	defer r.usage.mu.Unlock()
	for scope, q := range quotas {
		now := r.usage.now.of(q)
		all[scope] = imx.RegistryUse{
			RegistryQuota: q, UsedBytes: imx.Size(now.bytes), UsedManifests: now.manifests, UsedTags: now.tags,
			UnderWay: imx.Size(r.usage.underWay.of(q).bytes),
		}
	}
	return all, nil
}

// used counts all names.
func (r *Registry) used() (used, error) {
	all := nothingUsed()
	repositories, err := r.repositories()
	if err != nil {
		return all, err
	}
	for _, repo := range repositories {
		for _, sort := range []string{blobNames, manifestNames, tagNames} {
			if err := r.countNames(all, repo, sort); err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

func (r *Registry) countNames(all used, repo, sort string) error {
	files, err := r.list(repo, sort)
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(r.folder(repo, sort), file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return disk.Error(err, "counting what is in repository "+strings.ReplaceAll(repo, "+", "/"))
		}
		owner, one := r.usedBy(sort, file, string(text))
		all.add(repo, owner, one)
	}
	return nil
}

// usedBy returns how much a name takes, and of whose.
func (r *Registry) usedBy(sort, file, text string) (imx.Principal, use) {
	if sort == tagNames {
		_, owner, _ := parseTag(text) // a damaged one takes room too
		return owner, use{tags: 1}
	}
	says := parseMark(text)
	one := use{blobs: 1}
	if sort == manifestNames {
		one = use{manifests: 1}
	}
	if bytes, err := says.bytesOf(keyDigest(file)); err == nil {
		one.bytes, _ = r.blobs.Size(bytes) // what is gone takes no room
	}
	return says.owner, one
}
