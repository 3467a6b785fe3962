package nft

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"

	"imx"
	"imx/internal/network"
)

// model is a ruleset as the kernel holds it: constant rules that look into sets and maps. Nearly
// every change is one of elements alone; the rules change only with the services' ports.
type model struct {
	network netip.Prefix
	lanes   []lane // sorted
	group   uint16 // to which attempts are reported that wait
	sets    map[string]elements
}

// elements are the content of a set or map: by key, in the kernel's form, the value. The value is
// "" in a set, four bytes in a map of addresses and a chain's name in a map of verdicts.
type elements map[string]string

// lane is a chain that spreads new connections for a service over its slots and gives them the
// port inside.
type lane struct {
	service string
	inside  uint16
}

func (l lane) chain() string { return fmt.Sprintf("lane.%s.%d", l.service, l.inside) }

// The sets and maps that are always there.
const (
	setInterfaces = "interfaces" // of instances
	setBindings   = "bindings"   // interface and the source address that it may use
	setAllowed    = "allowed"    // source, destination and port of permitted connections
	setHairpins   = "hairpins"   // address, twice: instances that may call themselves
	setExposed    = "exposed"    // destination and port that published ports lead to
	mapServices   = "services"   // a service's address and port to its lane
	mapPublished  = "published"  // a port of the machine to its lane
	slotsPrefix   = "slots."     // begins the name of each service's map of slot numbers to addresses
	// arrivalsPrefix begins the name of each service's counter of new connections. It is an object of its own, since a count
	// within a rule would make that another rule with each connection.
	arrivalsPrefix = "arrivals."
	refusal        = "refuse" // the chain for services without a ready instance
	waiting        = "wait"   // the chain for those whose connections wait for one
)

// newModel lays a ruleset out. Errors: Invalid for a service's name that the kernel can't take.
func newModel(r network.Ruleset, group uint16) (model, error) {
	m := model{network: r.Network.Masked(), group: group, sets: map[string]elements{
		setInterfaces: {}, setBindings: {}, setAllowed: {}, setHairpins: {}, setExposed: {}, mapServices: {}, mapPublished: {},
	}}
	for _, b := range r.Bindings {
		m.sets[setInterfaces][ifname(b.Interface)] = ""
		m.sets[setBindings][ifname(b.Interface)+ipv4(b.Address)] = ""
	}
	for _, f := range r.Allowed {
		m.sets[setAllowed][ipv4(f.From)+ipv4(f.To)+padded(f.Port)] = ""
		if f.From == f.To {
			m.sets[setHairpins][ipv4(f.From)+ipv4(f.To)] = ""
		}
	}
	for _, t := range r.Exposed {
		m.sets[setExposed][ipv4(t.To)+padded(t.Port)] = ""
	}
	names := regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)
	for _, p := range r.Pools {
		if !names.MatchString(p.Service) {
			return model{}, imx.Errorf(imx.Invalid, "the service name %q can't be part of a packet filter rule's name", p.Service)
		}
		slots := elements{}
		slot := uint32(0)
		for _, a := range p.Slots {
			// numgen counts in the host's byte order
			slots[string(binary.NativeEndian.AppendUint32(nil, slot))] = ipv4(a)
			slot++
		}
		m.sets[slotsPrefix+p.Service] = slots
	}
	var err error
	m.lanes, err = m.addDoors(r)
	return m, err
}

// addDoors fills the maps of doors and returns the lanes that they lead to.
func (m model) addDoors(r network.Ruleset) ([]lane, error) {
	lanes := map[lane]bool{}
	for _, d := range r.Doors {
		if _, ok := m.sets[slotsPrefix+d.Service]; !ok {
			return nil, imx.Errorf(imx.Invalid, "the rules have a door for service %q but no pool", d.Service)
		}
		l := lane{d.Service, d.Inside}
		lanes[l] = true
		chain := l.chain()
		switch empty := len(m.sets[slotsPrefix+d.Service]) == 0; {
		case empty && r.Pool(d.Service).Waits:
			chain = waiting
		case empty:
			chain = refusal
		}
		if d.Published() {
			m.sets[mapPublished][padded(d.Port)[:2]] = chain
		} else {
			m.sets[mapServices][ipv4(d.Address)+padded(d.Port)] = chain
		}
	}
	return slices.SortedFunc(maps.Keys(lanes), compareLanes), nil
}

// counters are the names of all services' counters.
func (m model) counters() map[string]bool {
	names := map[string]bool{}
	for _, l := range m.lanes {
		names[arrivalsPrefix+l.service] = true
	}
	return names
}

// sameRules reports whether the models differ in elements at most.
func (m model) sameRules(other model) bool {
	return m.network == other.network && m.group == other.group && slices.Equal(m.lanes, other.lanes) && maps.EqualFunc(m.sets, other.sets,
		func(elements, elements) bool { return true })
}

// missing returns what has in its elements and lacks doesn't, or has otherwise.
func (e elements) missing(lacks elements) elements {
	out := elements{}
	for key, value := range e {
		if other, ok := lacks[key]; !ok || other != value {
			out[key] = value
		}
	}
	return out
}

// ifname is an interface's name as the kernel compares it: 16 bytes, zeros at the end.
func ifname(name string) string {
	var b [16]byte
	copy(b[:], name)
	return string(b[:])
}

func ipv4(a netip.Addr) string {
	b := a.As4()
	return string(b[:])
}

// padded is a port as a part of a concatenated key, where each takes whole registers of 4 bytes.
func padded(port uint16) string {
	return string(append(binary.BigEndian.AppendUint16(nil, port), 0, 0))
}
