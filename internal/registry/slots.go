package registry

import (
	"net/netip"
	"strconv"
	"time"

	"imx"
	"imx/internal/grant"
)

// limits keep pushes from filling the disk, and one client from keeping others out; tests set smaller ones.
type limits struct {
	blob int64         // bytes of one
	idle time.Duration // an upload that got no further for so long is over

	// How many uploads are under way at once: of everybody; of one owner's tokens; of all without a token, and of one address of
	// theirs.
	uploads, owner, strangers, address int

	again time.Duration // after which whoever found no room is asked to try again
}

// pushLimits are 8 GiB, which is more than any layer has that a machine can do something with, and an
// hour: a client that resumes does so within minutes. A client pushes some six blobs at once. All strangers together take a quarter of
// what there is: who has many addresses must not keep those with a token out.
func pushLimits() limits {
	return limits{blob: 8 << 30, idle: time.Hour, uploads: 256, owner: 32, strangers: 64, address: 16, again: 5 * time.Second}
}

// holder is one of those whose uploads are counted together; the zero holder is everybody.
type holder struct {
	by   imx.Principal
	from string // an address of those who have no token
}

// share is how many uploads a holder may have under way.
type share struct {
	of   holder
	most int
	says string // whose uploads they are
}

// shares are those that an upload of a visitor takes from. Root and the server itself have their part of the whole alone.
func (l limits) shares(v Visitor) []share {
	all := share{holder{}, l.uploads, "everybody together"}
	switch {
	case !v.limited():
		return []share{all}
	case v.Token != "":
		return []share{{holder{by: v.By}, l.owner, string(v.By)}, all}
	}
	from := network(v.From)
	return []share{
		{holder{grant.Anonymous, from}, l.address, "address " + from},
		{holder{by: grant.Anonymous}, l.strangers, "those without a token"},
		all,
	}
}

// network is what one client may have many addresses of: an IPv6 address stands for its /64.
func network(from string) string {
	a, err := netip.ParseAddr(from)
	if err != nil || a.Unmap().Is4() {
		return from
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return from
	}
	return p.String()
}

// take counts an upload that begins, or refuses it. mu is held. Errors: Unavailable.
func (u *uploads) take(l limits, v Visitor) error {
	shares := l.shares(v)
	for _, s := range shares {
		if u.taken[s.of] >= s.most {
			f := faultf(codeTooManyUploads, "%d uploads of %s are under way already, and more at once aren't taken", u.taken[s.of], s.says).
				withHint("push again later: unfinished uploads end an hour after their last byte came")
			f.header = map[string]string{"Retry-After": strconv.Itoa(max(int(l.again/time.Second), 1))}
			return f
		}
	}
	for _, s := range shares {
		u.taken[s.of]++
	}
	return nil
}

// giveBack ends the count of an upload. mu is held.
func (u *uploads) giveBack(l limits, v Visitor) {
	for _, s := range l.shares(v) {
		if u.taken[s.of]--; u.taken[s.of] <= 0 {
			delete(u.taken, s.of)
		}
	}
}

// begin is take for an upload of one request.
func (u *uploads) begin(l limits, v Visitor) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.take(l, v)
}

// end ends the count of what begin began.
func (u *uploads) end(l limits, v Visitor) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.giveBack(l, v)
}
