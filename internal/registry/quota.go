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
	bytes     int64
	manifests int
}

func (u use) plus(o use) use { return use{u.bytes + o.bytes, u.manifests + o.manifests} }

func (u use) minus(o use) use { return use{u.bytes - o.bytes, u.manifests - o.manifests} }

// usage knows how much each repository and each owner has, as long as a quota asks for it: it is counted from the names when the first
// push comes after a quota was set, and kept up to date from then on.
type usage struct {
	quotas func() map[string]imx.RegistryQuota
	scan   func() (used, error)
	// naming is held for reading while a name is made or removed, so that none comes or goes during a count.
	naming sync.RWMutex
	mu     sync.Mutex
	known  bool
	now    used
}

// used is by repositories and by owners; each name counts once for either.
type used struct {
	repositories map[string]use
	owners       map[imx.Principal]use
}

func (u used) add(repo string, owner imx.Principal, more use) {
	u.repositories[repo] = u.repositories[repo].plus(more)
	if owner != "" {
		u.owners[owner] = u.owners[owner].plus(more)
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

// charge takes room for one name, or refuses it: of pushes that race for the last room one gets it. The caller makes the name and
// then says by settle whether it is a new one. Errors: Exhausted, with the quota.
func (u *usage) charge(v Visitor, repo string, more use) (settle func(kept bool), err error) {
	quotas := u.quotas()
	if len(quotas) == 0 {
		u.naming.RLock()
		u.forget()
		return func(bool) { u.naming.RUnlock() }, nil
	}
	if err := u.begin(); err != nil {
		return nil, err
	}
	defer u.mu.Unlock()
	if err := u.fits(quotas, v, repo, more); err != nil {
		u.naming.RUnlock()
		return nil, err
	}
	u.now.add(repo, v.owner(), more)
	return func(kept bool) {
		u.mu.Lock()
		defer u.mu.Unlock()
		if !kept && u.known {
			u.now.add(repo, v.owner(), use{}.minus(more))
		}
		u.naming.RUnlock()
	}, nil
}

// begin returns with naming held for reading, mu held, and the numbers known.
func (u *usage) begin() error {
	for {
		u.naming.RLock()
		u.mu.Lock()
		if u.known {
			return nil
		}
		u.mu.Unlock()
		u.naming.RUnlock()
		if err := u.count(); err != nil {
			return err
		}
	}
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

// room refuses early what charge would refuse when all bytes have come. A visitor's own limits are none of the server's.
func (u *usage) room(v Visitor, repo string, bytes int64) error {
	quotas := u.quotas()
	if len(quotas) == 0 || !v.limited() {
		return nil
	}
	if err := u.begin(); err != nil {
		return err
	}
	defer u.naming.RUnlock()
	defer u.mu.Unlock()
	return u.fits(quotas, v, repo, use{bytes: bytes})
}

// fits checks each quota. mu is held.
func (u *usage) fits(quotas map[string]imx.RegistryQuota, v Visitor, repo string, more use) error {
	if !v.limited() {
		return nil
	}
	for _, q := range quotas {
		if q.Owner != "" && q.Owner != v.By || q.Owner == "" && !imx.MatchRepository(q.Repositories, repo) {
			continue
		}
		now := u.now.of(q)
		after := now.plus(more)
		switch {
		case q.Bytes > 0 && more.bytes > 0 && after.bytes > int64(q.Bytes):
			return errOverQuota(q, imx.Size(now.bytes).String()+" of "+q.Bytes.String(), imx.Size(more.bytes).String())
		case q.Manifests > 0 && more.manifests > 0 && after.manifests > q.Manifests:
			return errOverQuota(q, fmt.Sprintf("%d of %d manifests", now.manifests, q.Manifests), "one more")
		}
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
		all[scope] = imx.RegistryUse{RegistryQuota: q, UsedBytes: imx.Size(now.bytes), UsedManifests: now.manifests}
	}
	return all, nil
}

// used counts all names.
func (r *Registry) used() (used, error) {
	all := used{map[string]use{}, map[imx.Principal]use{}}
	repositories, err := r.repositories()
	if err != nil {
		return all, err
	}
	for _, repo := range repositories {
		for _, sort := range []string{blobNames, manifestNames} {
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
		says := parseMark(string(text))
		one := use{}
		if bytes, err := says.bytesOf(keyDigest(file)); err == nil {
			one.bytes, _ = r.blobs.Size(bytes) // what is gone takes no room
		}
		if sort == manifestNames {
			one.manifests = 1
		}
		all.add(repo, says.owner, one)
	}
	return nil
}
