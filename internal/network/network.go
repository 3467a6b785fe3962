// Package network turns the wishes of services (their addresses, ports, weights and connections)
// into a Ruleset: one value that says who may talk to whom and where new connections go.
// It doesn't reach the kernel (network/nft does), gives out no addresses and checks no health.
package network

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"imx"
)

// World is all that a Ruleset depends on. The order of its slices means nothing.
type World struct {
	// Network is the engine's whole range: every instance's and every service's address is in it.
	Network   netip.Prefix
	Instances []Endpoint
	Services  []ServiceNet
}

// Endpoint is an instance as the network sees it. One whose Address isn't in the World's Network
// takes no part.
type Endpoint struct {
	ID        string
	Service   string
	Release   int
	Address   netip.Addr
	Interface string // the host's side of its veth; "" for one that isn't plumbed yet, which may not send
	Ready     bool   // may get new connections through its service's address and published ports
	Shown     bool   // may get new connections through its service's preview port
	Connect   []imx.PortRef
}

// ServiceNet is a service as the network sees it.
type ServiceNet struct {
	Name    string
	Address netip.Addr // stable and virtual: no interface has it
	Ports   []imx.Port
	Weights imx.Weights // nil or empty: no traffic, new connections are refused
	Preview Preview
	// Waits says that new connections wait, instead of being refused, while none of its instances can have them.
	Waits bool
}

// Preview is a port on the machine's own addresses that leads to one release of a service, whatever its weight.
type Preview struct {
	Release int // 0: connections to it are refused
	Publish int // the port on the machine's own addresses; 0 means none
	Inside  int // the port of the instance
}

// PreviewOf names the pool of a service's preview. No service has such a name: they hold no dot.
func PreviewOf(service string) string { return service + ".preview" }

// Compute decides the rules. Equal worlds give equal rulesets, whatever the order of their slices.
//
// An instance may open connections only to the ports in its Connect, through the service's address
// or to any of the service's instances directly. Readiness decides only where services' addresses
// and published ports lead: permissions don't change while instances come and go in health, so
// that no connection that is being routed is cut off by it.
//
// Where two services claim the same address and port or the same port of the machine, the first by
// name has it; of one service's own, what it publishes comes before its preview.
func Compute(w World) Ruleset {
	w = w.normal()
	r := Ruleset{Network: w.Network}
	byService := map[string][]Endpoint{}
	for _, e := range w.Instances {
		byService[e.Service] = append(byService[e.Service], e)
		if e.Interface != "" {
			r.Bindings = append(r.Bindings, Binding{e.Interface, e.Address})
		}
	}
	for _, s := range w.Services {
		r.Pools = append(r.Pools, Pool{Service: s.Name, Slots: slots(s.Name, s.Weights, byService[s.Name]), Waits: s.Waits})
		r.Doors = append(r.Doors, doors(s)...)
		if p := s.Preview; p.open() {
			name := PreviewOf(s.Name)
			r.Pools = append(r.Pools, Pool{Service: name, Slots: slots(name, imx.Weights{p.Release: 1}, shown(byService[s.Name], p.Release))})
			r.Doors = append(r.Doors, Door{name, netip.Addr{}, number(p.Publish), number(p.Inside)})
		}
		r.Exposed = append(r.Exposed, exposed(s, byService[s.Name])...)
	}
	r.Allowed = allowed(w, byService)
	return r.ordered()
}

// normal returns the world with its slices copied and in order, without instances that have no
// address in the network and without second services of one name.
func (w World) normal() World {
	w.Instances = slices.Clone(w.Instances)
	slices.SortFunc(w.Instances, func(a, b Endpoint) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), a.Address.Compare(b.Address))
	})
	w.Instances = slices.DeleteFunc(w.Instances, func(e Endpoint) bool {
		return !e.Address.Is4() || !w.Network.Contains(e.Address)
	})
	w.Services = slices.Clone(w.Services)
	slices.SortFunc(w.Services, func(a, b ServiceNet) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), a.Address.Compare(b.Address))
	})
	w.Services = slices.CompactFunc(w.Services, func(a, b ServiceNet) bool { return a.Name == b.Name })
	return w
}

// doors returns where new connections for the service come in.
func doors(s ServiceNet) []Door {
	var ds []Door
	for _, p := range s.Ports {
		if !validPort(p.Container) {
			continue
		}
		if s.Address.Is4() {
			ds = append(ds, Door{s.Name, s.Address, number(p.Container), number(p.Container)})
		}
		if validPort(p.Publish) {
			ds = append(ds, Door{s.Name, netip.Addr{}, number(p.Publish), number(p.Container)})
		}
	}
	return ds
}

func (p Preview) open() bool { return validPort(p.Publish) && validPort(p.Inside) }

// shown returns the instances of a release that a preview may lead to, ready to get its connections.
func shown(instances []Endpoint, release int) []Endpoint {
	var list []Endpoint
	for _, e := range instances {
		if e.Release == release && e.Shown {
			e.Ready = true
			list = append(list, e)
		}
	}
	return list
}

// exposed returns the targets that published ports of the service, and its preview, may lead to.
func exposed(s ServiceNet, instances []Endpoint) []Target {
	var ts []Target
	for _, e := range instances {
		if s.Preview.open() && e.Release == s.Preview.Release {
			ts = append(ts, Target{e.Address, number(s.Preview.Inside)})
		}
	}
	for _, p := range s.Ports {
		if !validPort(p.Container) || !validPort(p.Publish) {
			continue
		}
		for _, e := range instances {
			ts = append(ts, Target{e.Address, number(p.Container)})
		}
	}
	return ts
}

// allowed returns the flows that the instances' Connect lists ask for.
func allowed(w World, byService map[string][]Endpoint) []Flow {
	type ref struct{ service, port string }
	ports := map[ref][]uint16{}
	for _, s := range w.Services {
		for _, p := range s.Ports {
			if validPort(p.Container) {
				ports[ref{s.Name, p.Name}] = append(ports[ref{s.Name, p.Name}], number(p.Container))
			}
		}
	}
	set := map[Flow]bool{}
	for _, from := range w.Instances {
		for _, c := range from.Connect {
			for _, to := range byService[c.Service] {
				for _, port := range ports[ref{c.Service, c.Port}] {
					set[Flow{from.Address, to.Address, port}] = true
				}
			}
		}
	}
	return slices.Collect(maps.Keys(set))
}

func validPort(p int) bool { return p > 0 && p < 1<<16 }

// number narrows a port that validPort has passed.
func number(p int) uint16 { return uint16(p & 0xffff) }
