// These tests exist because every packet between instances is judged by what this package decides:
// the golden worlds in testdata show whole rulesets to a reader, and the laws hold for any world.
package network_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/network"
)

// Each file holds worlds, a line for each service and instance, and the rules that follow:
//
//	service web 10.99.0.1 http=8080:80 weights=1:9,2:1 preview=2:81:8080
//	instance web-1 10.99.1.1 veth1 release=1 ready shown connect=app.http
func TestGoldenWorlds(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			w := network.World{Network: netip.MustParsePrefix("10.99.0.0/16")}
			for line := range strings.Lines(d.Input) {
				words := strings.Fields(line)
				switch words[0] {
				case "service":
					w.Services = append(w.Services, parseService(t, words[1:]))
				case "instance":
					w.Instances = append(w.Instances, parseInstance(t, words[1:]))
				default:
					t.Fatalf("what is %q?", words[0])
				}
			}
			return network.Compute(w).String()
		})
	})
}

func parseService(t *testing.T, words []string) network.ServiceNet {
	t.Helper()
	s := network.ServiceNet{Name: words[0], Address: netip.MustParseAddr(words[1])}
	for _, word := range words[2:] {
		name, value, _ := strings.Cut(word, "=")
		if name == "weights" {
			s.Weights = imx.Weights{}
			for share := range strings.SplitSeq(value, ",") {
				release, weight, _ := strings.Cut(share, ":")
				s.Weights[number(t, release)] = number(t, weight)
			}
			continue
		}
		if name == "preview" {
			p := strings.Split(value, ":")
			s.Preview = network.Preview{Release: number(t, p[0]), Publish: number(t, p[1]), Inside: number(t, p[2])}
			continue
		}
		inside, published, _ := strings.Cut(value, ":")
		s.Ports = append(s.Ports, imx.Port{Name: name, Container: number(t, inside), Publish: number(t, published)})
	}
	return s
}

func parseInstance(t *testing.T, words []string) network.Endpoint {
	t.Helper()
	service, _, _ := strings.Cut(words[0], "-")
	e := network.Endpoint{ID: words[0], Service: service, Release: 1, Address: netip.MustParseAddr(words[1])}
	for _, word := range words[2:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "release":
			e.Release = number(t, value)
		case "ready":
			e.Ready = true
		case "shown":
			e.Shown = true
		case "connect":
			service, port, _ := strings.Cut(value, ".")
			e.Connect = append(e.Connect, imx.PortRef{Service: service, Port: port})
		default:
			e.Interface = name
		}
	}
	return e
}

func number(t *testing.T, text string) int {
	t.Helper()
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// world draws worlds that are mostly sensible, with collisions and nonsense among them.
func world(t *rapid.T) network.World {
	w := network.World{Network: netip.MustParsePrefix("10.99.0.0/16")}
	name := rapid.SampledFrom([]string{"web", "app", "db", "mail"})
	port := rapid.SampledFrom([]string{"http", "pg"})
	address := func(third byte) netip.Addr {
		return netip.AddrFrom4([4]byte{10, 99, third, byte(rapid.IntRange(1, 40).Draw(t, "address"))})
	}
	for range rapid.IntRange(0, 4).Draw(t, "services") {
		s := network.ServiceNet{Name: name.Draw(t, "service"), Address: address(0), Weights: imx.Weights{}}
		for range rapid.IntRange(0, 2).Draw(t, "ports") {
			s.Ports = append(s.Ports, imx.Port{
				Name: port.Draw(t, "port"), Container: rapid.IntRange(-1, 70000).Draw(t, "container"), Publish: rapid.IntRange(0, 3).Draw(t, "publish"),
			})
		}
		for range rapid.IntRange(0, 3).Draw(t, "weights") {
			s.Weights[rapid.IntRange(1, 4).Draw(t, "release")] = rapid.OneOf(rapid.IntRange(-1, 5), rapid.Int()).Draw(t, "weight")
		}
		s.Preview = network.Preview{
			Release: rapid.IntRange(0, 4).Draw(t, "preview"), Publish: rapid.IntRange(0, 3).Draw(t, "at"), Inside: rapid.IntRange(-1, 70000).Draw(t, "inside"),
		}
		w.Services = append(w.Services, s)
	}
	for i := range rapid.IntRange(0, 80).Draw(t, "instances") {
		e := network.Endpoint{
			ID: fmt.Sprintf("i%d", i), Service: name.Draw(t, "of"), Release: rapid.IntRange(1, 4).Draw(t, "release"),
			Address: address(1), Interface: fmt.Sprintf("v%d", i), Ready: rapid.Bool().Draw(t, "ready"),
			Shown: rapid.Bool().Draw(t, "shown"),
		}
		if rapid.IntRange(0, 20).Draw(t, "stray") == 0 {
			e.Address = rapid.SampledFrom([]netip.Addr{{}, netip.MustParseAddr("192.0.2.1"), netip.IPv6Loopback()}).Draw(t, "elsewhere")
		}
		for range rapid.IntRange(0, 2).Draw(t, "connects") {
			e.Connect = append(e.Connect, imx.PortRef{Service: name.Draw(t, "to"), Port: port.Draw(t, "port")})
		}
		w.Instances = append(w.Instances, e)
	}
	return w
}

// sensible draws a world in which names and addresses are unique, for the laws about shares.
func sensible(t *rapid.T) network.World {
	w := world(t)
	seen := map[string]bool{}
	w.Services = slices.DeleteFunc(w.Services, func(s network.ServiceNet) bool {
		defer func() { seen[s.Name] = true }()
		return seen[s.Name]
	})
	for i := range w.Instances {
		w.Instances[i].Address = netip.AddrFrom4([4]byte{10, 99, 1, byte(i)})
	}
	return w
}

func TestOrderOfInputMeansNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := sensible(t)
		want := network.Compute(w)
		shuffle := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		shuffle.Shuffle(len(w.Instances), func(i, j int) { w.Instances[i], w.Instances[j] = w.Instances[j], w.Instances[i] })
		shuffle.Shuffle(len(w.Services), func(i, j int) { w.Services[i], w.Services[j] = w.Services[j], w.Services[i] })
		got := network.Compute(w)
		if diff := cmp.Diff(want.String(), got.String()); diff != "" || !got.Equal(want) {
			t.Fatalf("another order gave other rules:\n%s", diff)
		}
	})
}

func TestEverySlotNamesAReadyRoutedInstance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := world(t)
		for _, p := range network.Compute(w).Pools {
			good := map[netip.Addr]bool{}
			for _, e := range w.Instances {
				here := w.Network.Contains(e.Address)
				if here && (e.Service == p.Service && e.Ready && routed(w, e) || network.PreviewOf(e.Service) == p.Service && e.Shown && previewed(w, e)) {
					good[e.Address] = true
				}
			}
			name, _, _ := strings.Cut(p.Service, ".")
			if len(p.Slots) != network.Slots && (len(p.Slots) != 0 || len(good) > 0 && unique(w, name)) {
				t.Fatalf("%s has %d slots for %d instances", p.Service, len(p.Slots), len(good))
			}
			for _, a := range p.Slots {
				if !good[a] {
					t.Fatalf("%s: slot of %s, which isn't ready and routed", p.Service, a)
				}
			}
		}
	})
}

func routed(w network.World, e network.Endpoint) bool {
	return slices.ContainsFunc(w.Services, func(s network.ServiceNet) bool { return s.Name == e.Service && s.Weights[e.Release] > 0 })
}

func previewed(w network.World, e network.Endpoint) bool {
	return slices.ContainsFunc(w.Services, func(s network.ServiceNet) bool { return s.Name == e.Service && s.Preview.Release == e.Release })
}

func unique(w network.World, name string) bool {
	n := 0
	for _, s := range w.Services {
		if s.Name == name {
			n++
		}
	}
	return n == 1
}

func TestSharesAreAtLeastASlotAndLessThanOneMoreThanTheWeights(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := sensible(t)
		r := network.Compute(w)
		for _, s := range w.Services {
			release := map[netip.Addr]int{}
			total := 0.0
			for _, e := range w.Instances {
				if e.Service == s.Name && e.Ready && s.Weights[e.Release] > 0 {
					release[e.Address] = e.Release
				}
			}
			for _, n := range slices.Compact(slices.Sorted(maps.Values(release))) {
				total += min(float64(s.Weights[n]), 1<<40)
			}
			shares, each := map[int]int{}, map[netip.Addr]int{}
			for _, a := range r.Pool(s.Name).Slots {
				shares[release[a]]++
				each[a]++
			}
			for a, n := range release {
				exact := min(float64(s.Weights[n]), 1<<40) / total * network.Slots
				// Each release with less than a slot's worth may take one from those with the most.
				if got := float64(shares[n]); got < 1 || got >= exact+1 || got < exact-float64(len(s.Weights)) {
					t.Fatalf("release %d of %s has %v slots, its weight is worth %v", n, s.Name, got, exact)
				}
				for b, m := range release {
					if m == n && (each[a] > each[b]+1 || each[b] > each[a]+1) {
						t.Fatalf("%s has %d slots, %s of the same release %d", a, each[a], b, each[b])
					}
				}
			}
		}
	})
}

func TestWholePercentsAreExact(t *testing.T) {
	for percent := 1; percent < 100; percent++ {
		w := network.World{Network: netip.MustParsePrefix("10.99.0.0/16")}
		w.Services = []network.ServiceNet{{Name: "web", Weights: imx.Weights{1: 100 - percent, 2: percent}}}
		for i := range 6 {
			w.Instances = append(w.Instances, network.Endpoint{
				ID: fmt.Sprintf("web-%d", i), Service: "web", Release: 1 + i%2, Ready: true, Address: netip.AddrFrom4([4]byte{10, 99, 1, byte(i)}),
			})
		}
		got := 0
		for _, a := range network.Compute(w).Pool("web").Slots {
			got += int(a.As4()[3]) % 2
		}
		if got*100 != percent*network.Slots {
			t.Errorf("%d %% are %d of %d slots", percent, got, network.Slots)
		}
	}
}

func TestNobodyIsAllowedWhoDidNotConnect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := world(t)
		r := network.Compute(w)
		for _, f := range r.Allowed {
			if !slices.ContainsFunc(w.Instances, func(from network.Endpoint) bool { return from.Address == f.From && connects(w, from, f) }) {
				t.Fatalf("%v is allowed, and nobody asked for it", f)
			}
		}
		for _, target := range r.Exposed {
			if !slices.ContainsFunc(w.Instances, func(e network.Endpoint) bool { return e.Address == target.To && publishes(w, e.Service, target.Port) }) {
				t.Fatalf("%v is exposed, and nobody published it", target)
			}
		}
		for _, d := range r.Doors {
			if d.Published() && !publishes(w, d.Service, d.Inside) {
				t.Fatalf("%v is open, and nobody published it", d)
			}
		}
	})
}

// connects reports whether one of the instance's Connect stands for the flow.
func connects(w network.World, from network.Endpoint, f network.Flow) bool {
	for _, c := range from.Connect {
		for _, to := range w.Instances {
			if to.Service == c.Service && to.Address == f.To && listens(w, c, f.Port) {
				return true
			}
		}
	}
	return false
}

func listens(w network.World, c imx.PortRef, port uint16) bool {
	return slices.ContainsFunc(w.Services, func(s network.ServiceNet) bool {
		return s.Name == c.Service && slices.ContainsFunc(s.Ports, func(p imx.Port) bool { return p.Name == c.Port && p.Container == int(port) })
	})
}

func publishes(w network.World, service string, inside uint16) bool {
	return slices.ContainsFunc(w.Services, func(s network.ServiceNet) bool {
		return (s.Name == service || network.PreviewOf(s.Name) == service) &&
			(s.Preview.Publish > 0 && s.Preview.Inside == int(inside) ||
				slices.ContainsFunc(s.Ports, func(p imx.Port) bool { return p.Publish > 0 && p.Container == int(inside) }))
	})
}

// An instance that leaves gives up its own slots; of the others' only as many move as the new
// even shares need, and a few more.
func TestFewSlotsMoveWhenAnInstanceLeaves(t *testing.T) {
	for n := 2; n <= 16; n++ {
		w := network.World{Network: netip.MustParsePrefix("10.99.0.0/16")}
		w.Services = []network.ServiceNet{{Name: "web", Weights: imx.Weights{1: 1}}}
		for i := range n {
			w.Instances = append(w.Instances, network.Endpoint{
				ID: fmt.Sprintf("web-1-%d", i), Service: "web", Release: 1, Ready: true, Address: netip.AddrFrom4([4]byte{10, 99, 1, byte(i)}),
			})
		}
		before := network.Compute(w).Pool("web").Slots
		for gone := range n {
			w.Instances[gone].Ready = false
			after := network.Compute(w).Pool("web").Slots
			w.Instances[gone].Ready = true
			moved, own := 0, 0
			for i := range before {
				if before[i] == w.Instances[gone].Address {
					own++
				} else if before[i] != after[i] {
					moved++
				}
			}
			if moved > network.Slots/4 {
				t.Errorf("of %d instances one left its %d slots, and %d others moved", n, own, moved)
			}
		}
	}
}
