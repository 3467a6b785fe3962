package ingress_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/ingress"
)

func route(host, path, service string) ingress.Route {
	return ingress.Route{Route: imx.Route{Ingress: "public", Host: host, Path: path}, Service: service}
}

func TestTheMostExactHostAndThenTheLongestPathHasARequest(t *testing.T) {
	table := ingress.NewTable([]ingress.Route{
		route("shop.example", "/", "shop"), route("shop.example", "/api/", "api"), route("shop.example", "/api/v2", "v2"),
		route("*.shop.example", "", "wild"), route("*", "/health", "any"), route("only.example", "/a", "a"),
	})
	for asked, want := range map[string]string{
		"shop.example/": "shop", "shop.example/apix": "shop", "shop.example/api": "api", "shop.example/api/": "api",
		"shop.example/api/v2/x": "v2", "shop.example/api/v20": "api", "eu.shop.example/api": "wild", "a.eu.shop.example/": "",
		"other.example/health": "any", "other.example/": "", "only.example/b": "", "only.example/health": "any", "shop.example/health": "shop",
	} {
		host, path, _ := strings.Cut(asked, "/")
		if got, _ := table.Match("public", host, "/"+path); got.Service != want {
			t.Errorf("%s goes to %q, not %q", asked, got.Service, want)
		}
	}
	if _, ok := table.Match("other", "shop.example", "/"); ok {
		t.Error("a route of another ingress is taken")
	}
}

// The law of routing, against looking at each route by itself: what has a request matches it, and nothing that matches is more exact.
func TestNothingThatMatchesIsMoreExactThanWhatIsTaken(t *testing.T) {
	hosts := []string{"a.example", "b.a.example", "*.a.example", "*.example", "*"}
	paths := []string{"", "/", "/x", "/x/", "/x/y", "/xy", "/x/y/z"}
	rapid.Check(t, func(t *rapid.T) {
		var routes []ingress.Route
		for i := range rapid.IntRange(0, 12).Draw(t, "routes") {
			routes = append(routes, route(rapid.SampledFrom(hosts).Draw(t, "host"), rapid.SampledFrom(paths).Draw(t, "path"), fmt.Sprint(i)))
		}
		host := rapid.SampledFrom([]string{"a.example", "b.a.example", "c.a.example", "d.example", "c.b.a.example"}).Draw(t, "asked host")
		path := rapid.SampledFrom([]string{"/", "/x", "/x/y", "/x/yz", "/x/y/z/", "/xyz"}).Draw(t, "asked path")
		got, ok := ingress.NewTable(routes).Match("public", host, path)
		some := false
		for _, r := range routes {
			if !imx.Covers(r.Host, host) || path != r.Prefix() && !strings.HasPrefix(path, r.Prefix()+"/") {
				continue
			}
			some = true
			if exact(r.Host) > exact(got.Host) || r.Host == got.Host && len(r.Prefix()) > len(got.Prefix()) {
				t.Fatalf("%s%s goes to %s%s, and %s%s is more exact", host, path, got.Host, got.Path, r.Host, r.Path)
			}
		}
		if some != ok {
			t.Fatalf("%s%s: %v, and there is a route: %v", host, path, ok, some)
		}
	})
}

func exact(host string) int {
	switch {
	case host == "*":
		return 0
	case strings.HasPrefix(host, "*."):
		return 1
	}
	return 2
}

func FuzzNoPathLeavesItsRoute(f *testing.F) {
	f.Add("a.example", "/x/../y")
	f.Add("*", "//x/./")
	table := ingress.NewTable([]ingress.Route{route("*", "/x", "x")})
	f.Fuzz(func(t *testing.T, host, path string) {
		_, ok := table.Match("public", imx.HostName(host), path)
		if ok && ingress.Clean(path) && (strings.Contains(path+"/", "/../") || !strings.HasPrefix(path, "/x")) {
			t.Errorf("%q is routed", path)
		}
	})
}

func pool(weights imx.Weights, instances ...int) ingress.Pool {
	p := ingress.Pool{Weights: weights}
	for i, release := range instances {
		p.Instances = append(p.Instances, ingress.Instance{ID: fmt.Sprint("in", i), Release: release})
	}
	return p
}

func TestReleasesGetRequestsByTheirWeightsAndInstancesByWhatTheyHave(t *testing.T) {
	p := pool(imx.Weights{1: 90, 2: 10}, 1, 1, 1, 2, 3)
	draw := rand.New(rand.NewPCG(1, 2)).IntN
	got := map[int]int{}
	for range 10000 {
		in, ok := p.Pick(func(ingress.Instance) ingress.Load { return ingress.Load{} }, draw)
		if !ok {
			t.Fatal("nobody")
		}
		got[in.Release]++
	}
	if got[2] < 800 || got[2] > 1200 || got[3] != 0 {
		t.Errorf("%v", got)
	}
	busy := func(in ingress.Instance) ingress.Load { return ingress.Load{Open: map[string]int{"in0": 5}[in.ID]} }
	two := pool(imx.Weights{1: 1}, 1, 1)
	if in, _ := two.Pick(busy, func(int) int { return 0 }); in.ID != "in1" {
		t.Errorf("the busier of two is taken: %s", in.ID)
	}
}

func TestTriedInstancesAreOverAndSuspectOnesTheLastResort(t *testing.T) {
	p := pool(imx.Weights{1: 1, 2: 1}, 1, 1, 2)
	loads := map[string]ingress.Load{"in0": {Tried: true}, "in1": {Suspect: true}}
	load := func(in ingress.Instance) ingress.Load { return loads[in.ID] }
	first := func(int) int { return 0 }
	var order []string
	for {
		in, ok := p.Pick(load, first)
		if !ok {
			break
		}
		order = append(order, in.ID)
		loads[in.ID] = ingress.Load{Tried: true}
	}
	if diff := cmp.Diff([]string{"in2", "in1"}, order); diff != "" {
		t.Error(diff)
	}
}

func TestAClientMayAskSoOftenAndASecondLaterAgain(t *testing.T) {
	r := ingress.NewRates(100)
	now, one, other := time.Unix(100, 0), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	count := func(a netip.Addr, at time.Time) (n int) {
		for range 10 {
			if r.Allow("route", a, 3, at) {
				n++
			}
		}
		return n
	}
	for _, c := range []struct{ got, want int }{
		{count(one, now), 3},
		{count(one, now), 0},
		{count(other, now), 3},
		{count(one, now.Add(time.Second)), 3},
		{count(one, now.Add(1340*time.Millisecond)), 1},
		{count(one, now), 0},
	} {
		if c.got != c.want {
			t.Errorf("%d requests are let in, not %d", c.got, c.want)
		}
	}
	if n := count(netip.MustParseAddr("2001:db8::1"), now) + count(netip.MustParseAddr("2001:db8::2"), now); n != 3 {
		t.Errorf("two addresses of one network ask %d times", n)
	}
}

func TestManyClientsTakeBoundedMemory(t *testing.T) {
	r := ingress.NewRates(64)
	now := time.Unix(100, 0)
	for i := range 100_000 {
		if !r.Allow("route", netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1, now) {
			t.Fatal("a client's first request is refused")
		}
	}
	if r.Len() > 64 {
		t.Errorf("%d clients are remembered", r.Len())
	}
}
