package ingress

import (
	"net/netip"
	"time"
)

// Rates remembers how often each client asked of late. It isn't safe for concurrent use.
type Rates struct {
	most    int // clients to remember
	buckets map[client]bucket
}

type client struct {
	of   string
	addr netip.Addr
}

// bucket is how many requests a client has left, as of a moment.
type bucket struct {
	left float64
	at   time.Time
}

// NewRates remembers up to so many clients.
func NewRates(most int) *Rates { return &Rates{most: most, buckets: map[client]bucket{}} }

// Allow reports whether a client may ask something now, of which it may ask rate times a second, and as many at once. It takes one
// away if so. Clients of one IPv6 network of 64 bits count as one: it is what one of them is given.
func (r *Rates) Allow(of string, addr netip.Addr, rate int, now time.Time) bool {
	if addr = addr.Unmap(); addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			addr = p.Addr()
		}
	}
	c := client{of, addr}
	b, ok := r.buckets[c]
	if !ok {
		r.makeRoom(now)
		b = bucket{float64(rate), now}
	}
	b.left = min(float64(rate), b.left+max(0, now.Sub(b.at).Seconds())*float64(rate))
	b.at = now
	allowed := b.left >= 1
	if allowed {
		b.left--
	}
	r.buckets[c] = b
	return allowed
}

// makeRoom forgets clients where too many are remembered. It looks at a few, in no order: those that didn't ask for a second have all
// of theirs again; if there is none, any one goes.
func (r *Rates) makeRoom(now time.Time) {
	const few = 16
	looked := 0
	for c, b := range r.buckets {
		if len(r.buckets) < r.most {
			return
		}
		if looked++; looked >= few || now.Sub(b.at) >= time.Second {
			delete(r.buckets, c)
		}
	}
}
