package network

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Slots is the number of equal shares that a service's new connections are dealt out in: as many as there are
// percents, so that a release with 1 % of the weight gets exactly that. More would make a swap of them all dearer.
const Slots = 100

// Ruleset says who may talk to whom and where new connections go. Everything about the engine's
// Network that isn't in it is denied, except that the machine itself may reach every instance (it
// checks their health). All slices are sorted and hold nothing twice, so that equal rules are
// equal values.
type Ruleset struct {
	Network  netip.Prefix
	Bindings []Binding // the interfaces of instances, and the one source that each may use
	Pools    []Pool    // by service, a service's preview after it
	Doors    []Door
	Allowed  []Flow
	Exposed  []Target // what published ports may lead to
}

// Binding is an instance's interface on the host's side and its only valid source address.
type Binding struct {
	Interface string
	Address   netip.Addr
}

// Pool is where new connections for a service, or for its preview, go: each of the slots names a ready instance and
// gets an equal share. No Slots at all means that connections are refused with a TCP reset or, if it Waits, that nothing
// answers them: whoever opens one tries again by itself, and each attempt is reported.
type Pool struct {
	Service string // or PreviewOf it
	Slots   []netip.Addr
	Waits   bool
}

// Door is where new TCP connections for a service come in, to be spread over its Pool's slots.
type Door struct {
	Service string     // names the Pool
	Address netip.Addr // the service's own; the zero Addr stands for every address of the machine
	Port    uint16     // as dialled
	Inside  uint16     // as it reaches the instance
}

// Published reports whether the door is open to the world, on the machine's own addresses.
func (d Door) Published() bool { return !d.Address.IsValid() }

// Flow is a permission: From may open TCP connections to port Port of To.
type Flow struct {
	From, To netip.Addr
	Port     uint16
}

// Target is a port of an instance.
type Target struct {
	To   netip.Addr
	Port uint16
}

// Pool returns the named service's pool, an empty one where there is none.
func (r Ruleset) Pool(service string) Pool {
	i, ok := slices.BinarySearchFunc(r.Pools, service, func(p Pool, name string) int {
		return cmp.Compare(p.Service, name)
	})
	if !ok {
		return Pool{Service: service}
	}
	return r.Pools[i]
}

// Door returns where a connection to an address and port comes in.
func (r Ruleset) Door(to netip.AddrPort) (Door, bool) {
	for _, d := range r.Doors {
		if d.Port == to.Port() && (d.Address == to.Addr() || d.Published() && !r.Network.Contains(to.Addr())) {
			return d, true
		}
	}
	return Door{}, false
}

// Equal reports whether the rulesets say the same.
func (r Ruleset) Equal(other Ruleset) bool {
	return r.Network == other.Network &&
		slices.Equal(r.Bindings, other.Bindings) &&
		slices.EqualFunc(r.Pools, other.Pools, func(a, b Pool) bool {
			return a.Service == b.Service && a.Waits == b.Waits && slices.Equal(a.Slots, b.Slots)
		}) &&
		slices.Equal(r.Doors, other.Doors) &&
		slices.Equal(r.Allowed, other.Allowed) &&
		slices.Equal(r.Exposed, other.Exposed)
}

// String returns the rules as text, one a line, for people and golden tests:
//
//	network 10.99.0.0/16
//	bind veth1 10.99.0.2
//	pool web 10.99.0.2=32 10.99.0.3=32 abab...
//	door web 10.99.128.1:80 -> 8080
//	door web *:80 -> 8080
//	allow 10.99.0.2 -> 10.99.0.3:5432
//	expose 10.99.0.2:8080
//
// A pool's last word shows its slots in order, a letter for each instance.
func (r Ruleset) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "network %s\n", r.Network)
	for _, x := range r.Bindings {
		fmt.Fprintf(&b, "bind %s %s\n", x.Interface, x.Address)
	}
	for _, p := range r.Pools {
		fmt.Fprintf(&b, "pool %s %s\n", p.Service, p.text())
	}
	for _, d := range r.Doors {
		at := "*"
		if !d.Published() {
			at = d.Address.String()
		}
		fmt.Fprintf(&b, "door %s %s:%d -> %d\n", d.Service, at, d.Port, d.Inside)
	}
	for _, f := range r.Allowed {
		fmt.Fprintf(&b, "allow %s -> %s:%d\n", f.From, f.To, f.Port)
	}
	for _, t := range r.Exposed {
		fmt.Fprintf(&b, "expose %s:%d\n", t.To, t.Port)
	}
	return b.String()
}

func (p Pool) text() string {
	switch {
	case len(p.Slots) == 0 && p.Waits:
		return "waits"
	case len(p.Slots) == 0:
		return "refuses"
	}
	shares := map[netip.Addr]int{}
	for _, a := range p.Slots {
		shares[a]++
	}
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/"
	letters := map[netip.Addr]byte{}
	var words []string
	for i, a := range sortedAddrs(p.Slots) {
		letters[a] = alphabet[i%len(alphabet)]
		words = append(words, fmt.Sprintf("%s=%d", a, shares[a]))
	}
	order := make([]byte, 0, len(p.Slots))
	for _, a := range p.Slots {
		order = append(order, letters[a])
	}
	return strings.Join(append(words, string(order)), " ")
}

// sortedAddrs returns the different addresses in order.
func sortedAddrs(all []netip.Addr) []netip.Addr {
	as := slices.Clone(all)
	slices.SortFunc(as, netip.Addr.Compare)
	return slices.Compact(as)
}

// ordered puts everything into its one order and drops what is there twice.
func (r Ruleset) ordered() Ruleset {
	slices.SortFunc(r.Pools, func(a, b Pool) int { return cmp.Compare(a.Service, b.Service) })
	slices.SortFunc(r.Bindings, func(a, b Binding) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), a.Address.Compare(b.Address))
	})
	r.Bindings = slices.Compact(r.Bindings)
	slices.SortFunc(r.Doors, func(a, b Door) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Port, b.Port),
			cmp.Compare(a.Service, b.Service), cmp.Compare(a.Inside, b.Inside))
	})
	r.Doors = slices.CompactFunc(r.Doors, func(a, b Door) bool { return a.Address == b.Address && a.Port == b.Port })
	slices.SortFunc(r.Allowed, func(a, b Flow) int {
		return cmp.Or(a.From.Compare(b.From), a.To.Compare(b.To), cmp.Compare(a.Port, b.Port))
	})
	slices.SortFunc(r.Exposed, func(a, b Target) int {
		return cmp.Or(a.To.Compare(b.To), cmp.Compare(a.Port, b.Port))
	})
	r.Exposed = slices.Compact(r.Exposed)
	return r
}
