// What becomes of isolation and of published ports when somebody else changes the machine's network:
// its packet filter, its routes, its other engines.

package local_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/engine"
	"imx/internal/engine/local"
)

func TestRulesThatSomebodyTookAwayArePutBack(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r, other := m.release("web", 1), m.release("other", 1)
	x, y := e.healthy(t, r, 1)[0], e.healthy(t, other, 1)[0]
	if err := e.Route(t.Context(), engine.Route{Service: "web", Releases: []imx.Release{r}, Weights: imx.Weights{1: 1}}); err != nil {
		t.Fatal(err)
	}
	if m.reaches(t, x, y) {
		t.Fatal("one instance may call another")
	}
	for _, harm := range []string{
		"nft delete table inet " + m.table,
		"nft flush table inet " + m.table,
		"ip route del unreachable " + m.cfg.Network.String(),
		"ip route flush table 6909304 " + half(m.cfg.Network),
		"ip rule del iif lo to " + half(m.cfg.Network) + " lookup 6909304",
	} {
		run(t, harm)
		start := time.Now()
		await(t, "published port works and the fence stands", func() bool {
			return m.answers(t, "web") == x.ID && m.reached(t, r) == x.ID && strings.Contains(run(t, "ip route show type unreachable"), m.cfg.Network.String())
		})
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("after %q it took %s until all was as before", harm, took)
		}
		if m.reaches(t, x, y) {
			t.Errorf("after %q one instance may call another", harm)
		}
		seen, err := e.Observe(t.Context())
		if n := len(seen.Mended); err != nil || n == 0 || !seen.Mended[n-1].Time.After(start) {
			t.Errorf("after %q it says %+v, %v", harm, seen.Mended, err)
		}
	}
}

// half is where services' addresses are.
func half(p netip.Prefix) string { return netip.PrefixFrom(p.Addr(), p.Bits()+1).String() }

// reached asks the service by its own address, as answers does.
func (m *machine) reached(t *testing.T, r imx.Release) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	id, err := get(ctx, fmt.Sprintf("http://%s:80/id", r.Address))
	if err != nil {
		return ""
	}
	return id
}

func TestTheMachineReachesAServiceByItsOwnAddress(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	x := e.healthy(t, r, 1)[0]
	route := engine.Route{Service: "web", Releases: []imx.Release{r}, Weights: imx.Weights{1: 1}}
	if err := e.Route(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	if id, err := get(t.Context(), fmt.Sprintf("http://%s:80/id", r.Address)); err != nil || id != x.ID {
		t.Errorf("%s answered, %v; want %s", id, err, x.ID)
	}
	if err := local.CheckNetwork(m.cfg.Network, m.cfg.ID); err != nil {
		t.Errorf("its own range, with a way to its services: %v", err)
	}
	elsewhere := m.release("none", 1).Address
	for _, to := range []string{r.Address.String() + ":81", elsewhere.String() + ":80"} {
		if _, err := get(t.Context(), "http://"+to+"/id"); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%s, which no service has: %v", to, err)
		}
	}
	route.Weights = nil
	if err := e.Route(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t.Context(), fmt.Sprintf("http://%s:80/id", r.Address)); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("without any traffic: %v", err)
	}
}

// answers asks the service by its published port, without patience: a connection that is being opened
// while the rules come and go may hang.
func (m *machine) answers(t *testing.T, service string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	id, err := get(ctx, fmt.Sprintf("http://127.0.0.1:%d/id", m.ports[m.services[service]]))
	if err != nil {
		return ""
	}
	return id
}

// reaches reports whether one instance can open a connection to another, to whom it may not.
func (m *machine) reaches(t *testing.T, from, to imx.Instance) bool {
	t.Helper()
	said, err := m.ask(t, from.ID, "/dial"+query(map[string]string{"to": fmt.Sprintf("%s:80", to.Address)}))
	if err != nil {
		t.Fatal(err)
	}
	return said == ""
}

func run(t *testing.T, command string) string {
	t.Helper()
	words := strings.Fields(command)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return string(out)
}

func TestTwoEnginesCantUseTheSameAddresses(t *testing.T) {
	one, two := newMachine(t), newMachine(t)
	two.cfg.Network = one.cfg.Network
	early := two.running(t) // while the range is free
	e := one.running(t)
	r := one.release("web", 1)
	e.healthy(t, r, 1)
	refused := func(err error) {
		t.Helper()
		if imx.KindOf(err) != imx.Conflict || !strings.Contains(err.Error(), one.cfg.Network.String()) {
			t.Errorf("got the error %v", err)
		}
	}
	refused(scale(t, early, two.release("web", 1), 1))
	early.stop()
	_, err := local.Open(t.Context(), two.cfg)
	refused(err)
	refused(local.CheckNetwork(two.cfg.Network, two.cfg.ID))
	if err := local.Purge(t.Context(), two.cfg); err != nil {
		t.Errorf("purging the one without instances: %v", err)
	}
	if got := run(t, "ip route show type unreachable"); !strings.Contains(got, one.cfg.Network.String()) {
		t.Errorf("the other's fence was taken away; unreachable are %s", got)
	}
	if claim := read(t, "/run/imx-shared/"+one.cfg.ID); claim != one.cfg.Network.String() {
		t.Errorf("the other's claim is %q", claim)
	}
	e.healthy(t, r, 1)
}

// A claim counts once it is whole: whoever was killed as it wrote its own uses nothing yet.
func TestAClaimThatWasLeftHalfWrittenIsNone(t *testing.T) {
	m := newMachine(t)
	half := "/run/imx-shared/" + m.cfg.ID + "other.new"
	if err := os.MkdirAll(filepath.Dir(half), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(half, []byte(m.cfg.Network.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(half) }) // it may have gone with the last claim
	e := m.running(t)
	e.healthy(t, m.release("web", 1), 1)
}

func TestAnEngineWithInstancesHasItsFenceAndItsClaimFromItsOpening(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	e.healthy(t, m.release("web", 1), 1)
	e.stop()
	run(t, "ip route del unreachable "+m.cfg.Network.String())
	if err := os.Remove("/run/imx-shared/" + m.cfg.ID); err != nil {
		t.Fatal(err)
	}
	m.open(t)
	if got := run(t, "ip route show type unreachable"); !strings.Contains(got, m.cfg.Network.String()) {
		t.Errorf("after Open unreachable are %s", got)
	}
	if claim := read(t, "/run/imx-shared/"+m.cfg.ID); claim != m.cfg.Network.String() {
		t.Errorf("after Open the claim is %q", claim)
	}
	if err := local.CheckNetwork(m.cfg.Network, m.cfg.ID); err != nil {
		t.Errorf("its own range, with an instance in it: %v", err)
	}
}

func TestARangeInUseIsRefused(t *testing.T) {
	m := newMachine(t)
	run(t, fmt.Sprintf("ip link add other%s type veth peer name peer%[1]s", m.cfg.ID))
	t.Cleanup(func() { run(t, "ip link del other"+m.cfg.ID) })
	b := m.cfg.Network.Addr().As4()
	b[3] = 77
	run(t, fmt.Sprintf("ip address add %s/30 dev other%s", netip.AddrFrom4(b), m.cfg.ID)) // it stays down
	for text, kind := range map[string]imx.Kind{
		m.cfg.Network.String(): imx.Conflict,
		"10.211.0.0/20":        "",
		"127.1.0.0/16":         imx.Invalid,
		"169.254.0.0/16":       imx.Invalid,
		"224.1.0.0/16":         imx.Invalid,
		"10.0.0.0/8":           imx.Invalid,
		"10.211.1.0/30":        imx.Invalid,
		"fd00::/16":            imx.Invalid,
	} {
		if err := local.CheckNetwork(netip.MustParsePrefix(text), m.cfg.ID); imx.KindOf(err) != kind {
			t.Errorf("%s: got the error %v, want one of kind %q", text, err, kind)
		}
	}
}

func TestAClaimedRangeIsNotFree(t *testing.T) {
	m := newMachine(t)
	var err error
	if m.cfg.Network, err = local.FreeNetwork(); err != nil {
		t.Fatal(err)
	}
	e := m.running(t)
	r := m.release("web", 1)
	e.healthy(t, r, 1)
	e.stop()
	run(t, "ip route del unreachable "+m.cfg.Network.String())
	if p, err := local.FreeNetwork(); err != nil || p.Overlaps(m.cfg.Network) {
		t.Errorf("beside %s, %s is said to be free, %v", m.cfg.Network, p, err)
	}
}
