package network

import (
	"cmp"
	"hash/fnv"
	"net/netip"
	"slices"

	"imx"
)

// slots deals a service's slots out to its ready instances of routed releases, or returns nil
// if there is none. A release gets at least one slot, and less than one more than its weight among the releases that
// have a ready instance is worth; instances of one release differ by at most one slot (of more than there are slots some
// get none).
//
// Which slots an instance gets depends on a hash of its id and the slot, so that most slots stay
// where they are when others come and go: a changed slot costs a client that keeps no connection
// nothing, but the kernel needn't be told of an unchanged one.
func slots(service string, weights imx.Weights, instances []Endpoint) []netip.Addr {
	members := map[int][]Endpoint{}
	for _, e := range instances {
		if e.Ready && weights[e.Release] > 0 {
			members[e.Release] = append(members[e.Release], e)
		}
	}
	if len(members) == 0 {
		return nil
	}
	var bids []bid
	var left []int // slots still to give, by instance
	var addrs []netip.Addr
	quotas := releaseQuotas(weights, members)
	for _, q := range quotas {
		for i, e := range byHash(service, members[q.release]) {
			share := q.slots / len(members[q.release])
			if i < q.slots%len(members[q.release]) {
				share++
			}
			for slot := range Slots {
				bids = append(bids, bid{mix(idHash(service, e.ID) + uint64(slot)*0x9e3779b97f4a7c15), len(addrs), slot})
			}
			left = append(left, share)
			addrs = append(addrs, e.Address)
		}
	}
	slices.SortFunc(bids, func(a, b bid) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.slot, b.slot), cmp.Compare(a.member, b.member))
	})
	dealt := make([]netip.Addr, Slots)
	for _, b := range bids {
		if !dealt[b.slot].IsValid() && left[b.member] > 0 {
			dealt[b.slot] = addrs[b.member]
			left[b.member]--
		}
	}
	return dealt
}

// bid is an instance's claim to a slot; the lowest rank is served first.
type bid struct {
	rank   uint64
	member int
	slot   int
}

type quota struct {
	release   int
	slots     int
	remainder int
}

// releaseQuotas shares the slots out by the largest remainder: each release gets its exact share
// rounded down or up, but at least one slot, which those with the most then lack. The quotas are in order of the release's number.
func releaseQuotas(weights imx.Weights, members map[int][]Endpoint) []quota {
	total, given := 0, 0
	for release := range members {
		total += weight(weights, release)
	}
	var qs []quota
	for release := range members {
		exact := weight(weights, release) * Slots
		q := quota{release, exact / total, exact % total}
		if q.slots == 0 {
			q.slots, q.remainder = 1, 0 // rounded up
		}
		given += q.slots
		qs = append(qs, q)
	}
	slices.SortFunc(qs, func(a, b quota) int {
		return cmp.Or(cmp.Compare(b.remainder, a.remainder), cmp.Compare(a.release, b.release))
	})
	for i := range Slots - given {
		qs[i].slots++
	}
	for range given - Slots {
		most := slices.IndexFunc(qs, func(q quota) bool { return q.slots == slices.MaxFunc(qs, bySlots).slots })
		qs[most].slots--
	}
	slices.SortFunc(qs, func(a, b quota) int { return cmp.Compare(a.release, b.release) })
	return qs
}

func bySlots(a, b quota) int { return cmp.Compare(a.slots, b.slots) }

// weight caps a weight, so that no sum of weights overflows.
func weight(weights imx.Weights, release int) int { return min(weights[release], 1<<40) }

// byHash orders instances so that who gets the odd slot doesn't depend on their names' order.
func byHash(service string, es []Endpoint) []Endpoint {
	es = slices.Clone(es)
	slices.SortFunc(es, func(a, b Endpoint) int {
		return cmp.Or(cmp.Compare(mix(idHash(service, a.ID)), mix(idHash(service, b.ID))), cmp.Compare(a.ID, b.ID))
	})
	return es
}

func idHash(service, id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(service + "\x00" + id)) // a hash's Write returns no error
	return h.Sum64()
}

// mix spreads every input bit over the whole word (the finaliser of MurmurHash3).
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
