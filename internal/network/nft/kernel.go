package nft

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"imx"
)

// fingerprint stands for the rules and chains of a table as the kernel shows them, with their
// handles: a rule that was taken out and put back isn't the same.
type fingerprint [sha256.Size]byte

// headerSize is the size of struct nfgenmsg, which comes before a message's attributes. It holds
// the generation, which differs in each reading.
const headerSize = 4

// sockets are a Table's two ways to the kernel. They stay open between calls: closing a netlink socket
// waits until the kernel has disposed of all that was replaced, which takes longer than a change.
type sockets struct {
	rules *nftables.Conn // for transactions, and what the library can read
	asks  *netlink.Conn  // for what it can't
}

func openSockets() (*sockets, error) {
	// A transaction goes out in one message and is answered by one for each of its parts: with the
	// usual 208 KiB, a large ruleset would fail with EMSGSIZE on its way out or ENOBUFS on its way back.
	const buffer = 16 << 20
	rules, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(c.SetWriteBuffer(buffer), c.SetReadBuffer(buffer))
	}))
	if err != nil {
		return nil, err
	}
	asks, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, errors.Join(err, rules.CloseLasting())
	}
	return &sockets{rules, asks}, nil
}

// open makes sure that there are sockets.
func (t *Table) open() error {
	if t.kernel != nil {
		return nil
	}
	var err error
	t.kernel, err = openSockets()
	return explain(err)
}

// close closes the sockets, if they are open. Answers that nobody read go with them.
func (t *Table) close() {
	if t.kernel == nil {
		return
	}
	_ = t.kernel.rules.CloseLasting() // nothing is lost with a socket
	_ = t.kernel.asks.Close()
	t.kernel = nil
}

// readGeneration returns the kernel's count of transactions in this network namespace.
func (s *sockets) readGeneration() (uint32, error) {
	msgs, err := s.ask(unix.NFT_MSG_GETGEN, netlink.Request, nil)
	if err != nil {
		return 0, err
	}
	for _, m := range msgs {
		ad, err := attributes(m)
		if err != nil {
			return 0, err
		}
		for ad.Next() {
			if ad.Type() == unix.NFTA_GEN_ID {
				return ad.Uint32(), nil
			}
		}
	}
	return 0, errors.New("the kernel told no generation of its packet filter rules")
}

// readRules returns the fingerprint of the table's rules.
func (t *Table) readRules() (fingerprint, error) {
	table, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: unix.NFTA_RULE_TABLE, Data: []byte(t.name + "\x00")}})
	if err != nil {
		return fingerprint{}, err
	}
	msgs, err := t.kernel.ask(unix.NFT_MSG_GETRULE, netlink.Request|netlink.Dump, table)
	if err != nil {
		return fingerprint{}, err
	}
	sum := sha256.New()
	for _, m := range msgs {
		_, _ = sum.Write(m.Data[min(headerSize, len(m.Data)):]) // a hash's Write returns no error
	}
	return fingerprint(sum.Sum(nil)), nil
}

// ask sends one request of the nf_tables subsystem and returns the answers.
func (s *sockets) ask(kind netlink.HeaderType, flags netlink.HeaderFlags, attrs []byte) ([]netlink.Message, error) {
	return s.asks.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | kind, Flags: flags},
		Data:   append([]byte{byte(nftables.TableFamilyINet), unix.NFNETLINK_V0, 0, 0}, attrs...),
	})
}

func attributes(m netlink.Message) (*netlink.AttributeDecoder, error) {
	if len(m.Data) < headerSize {
		return nil, errors.New("the kernel's answer about packet filter rules is cut short")
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[headerSize:])
	if err != nil {
		return nil, err
	}
	ad.ByteOrder = binary.BigEndian
	return ad, nil
}

// compare returns an error of kind Conflict where the kernel's table differs from what was applied.
func (t *Table) compare() error {
	differs := func(what string, args ...any) error {
		return imx.Errorf(imx.Conflict, "the table inet %s was changed by somebody else: %s", t.name, fmt.Sprintf(what, args...)).
			WithHint("the next change of the rules writes it anew; nft list table inet %s shows it", t.name)
	}
	rules, err := t.readRules()
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return explain(err)
	}
	if rules != t.rules {
		return differs("its rules are not the same")
	}
	b := t.newBatch()
	if same, err := b.sameChains(chains(*t.applied)); err != nil || !same {
		return differs("its chains are not the same")
	}
	sets, err := b.conn.GetSets(b.table)
	if err != nil {
		return explain(err)
	}
	if len(sets) != len(t.applied.sets) {
		return differs("it has %d sets instead of %d", len(sets), len(t.applied.sets))
	}
	for _, name := range slices.Sorted(maps.Keys(t.applied.sets)) {
		held, err := b.read(name)
		if err != nil || !maps.Equal(held, t.applied.sets[name]) {
			return differs("set %s does not hold the same", name)
		}
	}
	return nil
}

// sameChains reports whether the kernel's table is awake and has these chains, each at its hook.
func (b *batch) sameChains(wanted []chain) (bool, error) {
	table, err := b.conn.ListTableOfFamily(b.table.Name, b.table.Family)
	if err != nil || table.Flags != 0 {
		return false, err
	}
	held, err := b.conn.ListChainsOfTableFamily(b.table.Family)
	if err != nil {
		return false, err
	}
	left := map[string]chain{}
	for _, c := range wanted {
		left[c.name] = c
	}
	for _, c := range held {
		if c.Table == nil || c.Table.Name != b.table.Name {
			continue
		}
		if w, ok := left[c.Name]; !ok || !w.is(c) {
			return false, nil
		}
		delete(left, c.Name)
	}
	return len(left) == 0, nil
}

// is reports whether the kernel's chain stands where c does and lets pass what it doesn't judge.
func (c chain) is(held *nftables.Chain) bool {
	if c.hook == nil || held.Hooknum == nil {
		return c.hook == nil && held.Hooknum == nil
	}
	return *c.hook == *held.Hooknum && *c.priority == *held.Priority && c.kind == held.Type &&
		held.Policy != nil && *held.Policy == nftables.ChainPolicyAccept
}

// read returns what the kernel has in a set or map.
func (b *batch) read(name string) (elements, error) {
	held, err := b.conn.GetSetElements(b.set(name))
	if err != nil {
		return nil, err
	}
	es := elements{}
	for _, e := range held {
		value := string(e.Val)
		if holdsVerdicts(name) {
			if value, err = chainOfVerdict(e.Val); err != nil {
				return nil, err
			}
		}
		es[string(e.Key)] = value
	}
	return es, nil
}

// chainOfVerdict returns the chain that a verdict's attributes name.
func chainOfVerdict(attrs []byte) (string, error) {
	ad, err := netlink.NewAttributeDecoder(attrs)
	if err != nil {
		return "", err
	}
	name := ""
	for ad.Next() {
		if ad.Type() == unix.NFTA_VERDICT_CHAIN {
			name = ad.String()
		}
	}
	return name, ad.Err()
}

// Arrivals returns how many new connections came for each service since the table was last written whole: through its
// address, its published ports and, under network.PreviewOf its name, its preview. Before the first Apply there are none.
func (t *Table) Arrivals(ctx context.Context) (map[string]int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, imx.Errorf(imx.Unavailable, "new connections weren't counted: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.applied == nil {
		return nil, nil
	}
	if err := t.open(); err != nil {
		return nil, err
	}
	objects, err := t.kernel.rules.GetNamedObjects(t.newBatch().table)
	if err != nil {
		t.close() // there may be answers left in it
		return nil, explain(err)
	}
	counts := map[string]int64{}
	for _, o := range objects {
		named, _ := o.(*nftables.NamedObj)
		if named == nil {
			continue
		}
		service, ours := strings.CutPrefix(named.Name, arrivalsPrefix)
		if counter, is := named.Obj.(*expr.Counter); is && ours {
			counts[service] = int64(min(counter.Packets, math.MaxInt64))
		}
	}
	return counts, nil
}
