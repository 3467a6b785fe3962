package nft

import (
	"cmp"
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"imx/internal/network"
)

// chain is a chain with its rules; hook is nil for one that others jump to.
type chain struct {
	name     string
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	priority *nftables.ChainPriority
	rules    [][]expr.Any
}

// A packet's way through the chains, with the policy of each base chain being to accept, because a
// packet that isn't ours is nobody's business here:
//
//	guard   prerouting, before connection tracking: drops a source that its interface may not use
//	arrive  prerouting: a service's address or a published port becomes an instance's
//	depart  output: the same for the machine's own connections to published ports and services' addresses
//	cross   forward: only what is allowed passes from, to and between instances
//	enter   input: an instance may answer the machine, and open nothing
//	mask    postrouting: a source that an instance couldn't answer becomes the machine's
//
// chains returns them in an order in which none is jumped to before it is there.
func chains(m model) []chain {
	accept := nftables.ChainPriorityFilter
	all := []chain{{name: refusal, rules: [][]expr.Any{join(tcp(), reset())}}, {name: waiting, rules: wait(m.group)}}
	for _, l := range m.lanes {
		all = append(all, l.chainOf())
	}
	return append(
		all,
		chain{name: "sent", rules: sent()},
		chain{name: "received", rules: received()},
		chain{"guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw, guard(m.network)},
		chain{"arrive", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest, arrive()},
		chain{"depart", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest, depart(m.network)},
		chain{"cross", nftables.ChainTypeFilter, nftables.ChainHookForward, accept, cross(m.network)},
		chain{"enter", nftables.ChainTypeFilter, nftables.ChainHookInput, accept, enter()},
		chain{"mask", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, mask(m.network)},
	)
}

// chainOf deals new connections out over the service's slots in turn. A connection that finds no
// slot meets the kernel in the middle of a transaction: it is dropped, and its next SYN finds one.
func (l lane) chainOf() chain {
	return chain{name: l.chain(), rules: [][]expr.Any{
		join(tcp(), []expr.Any{
			&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: arrivalsPrefix + l.service},
			&expr.Numgen{Register: 1, Modulus: network.Slots, Type: unix.NFT_NG_INCREMENTAL},
			&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: slotsPrefix + l.service},
			&expr.Immediate{Register: 2, Data: binary.BigEndian.AppendUint16(nil, l.inside)},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2},
		}),
		drop(),
	}}
}

// wait reports attempts to open a connection to a netlink group, as many as somebody can want to hear of, and leaves them
// without an answer: whoever opens a connection tries again by itself.
func wait(group uint16) [][]expr.Any {
	const (
		mostReports = 1000 // a second: more than that are one flood
		burst       = 200
	)
	return [][]expr.Any{
		join(tcp(), []expr.Any{
			&expr.Limit{Type: expr.LimitTypePkts, Rate: mostReports, Unit: expr.LimitTimeSecond, Burst: burst},
			&expr.Log{
				Key:   1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_SNAPLEN | 1<<unix.NFTA_LOG_QTHRESHOLD,
				Group: group, Snaplen: maxHeaders, QThreshold: 1,
			},
		}),
		drop(),
	}
}

// guard lets in from an instance only packets with its own address, and from elsewhere none with an
// address of the network. Nothing from an instance reaches 127.0.0.0/8, which its interface has to
// route for answers to connections that came through a published port.
func guard(within netip.Prefix) [][]expr.Any {
	fromInstance := in(loadName(expr.MetaKeyIIFNAME), setInterfaces)
	return [][]expr.Any{
		join(fromInstance, []expr.Any{
			&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{unix.NFPROTO_IPV4}},
		}, drop()),
		join(fromInstance, ipv4Only(), notIn(join(loadName(expr.MetaKeyIIFNAME), source(register(4))), setBindings), drop()),
		join(fromInstance, ipv4Only(), addressIn(destination(1), loopback()), drop()),
		join(notIn(loadName(expr.MetaKeyIIFNAME), setInterfaces), loadName(expr.MetaKeyIIFNAME), []expr.Any{
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte(ifname("lo"))},
		}, ipv4Only(), addressIn(source(1), within), drop()),
	}
}

// arrive takes in new connections from instances to services' addresses, and from anywhere to
// published ports. What an instance may call is decided after the destination is known.
func arrive() [][]expr.Any {
	return [][]expr.Any{
		join(in(loadName(expr.MetaKeyIIFNAME), setInterfaces), ipv4Only(), tcp(),
			destination(1), port(register(1)), verdictOf(mapServices)),
		published(),
	}
}

// depart leads the machine's own connections to services' addresses, and to what it publishes. What else is routed to the loopback
// interface in the network, as services' addresses are, is nobody's.
func depart(within netip.Prefix) [][]expr.Any {
	return [][]expr.Any{
		published(),
		join(ipv4Only(), tcp(), destination(1), port(register(1)), verdictOf(mapServices)),
		join(loadName(expr.MetaKeyOIFNAME), []expr.Any{
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte(ifname("lo"))},
		}, ipv4Only(), tcp(), addressIn(destination(1), within), reset()),
	}
}

// published leads connections to the machine's own addresses to the services that publish a port.
func published() []expr.Any {
	return join(ipv4Only(), tcp(), []expr.Any{
		&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL)},
	}, port(1), verdictOf(mapPublished))
}

// cross sends every packet from or to the network or an instance's interface into a chain that
// ends with a drop.
func cross(within netip.Prefix) [][]expr.Any {
	return [][]expr.Any{
		join(in(loadName(expr.MetaKeyIIFNAME), setInterfaces), follow("sent")),
		join(in(loadName(expr.MetaKeyOIFNAME), setInterfaces), follow("received")),
		join(ipv4Only(), addressIn(source(1), within), drop()),
		join(ipv4Only(), addressIn(destination(1), within), drop()),
	}
}

// enter treats what instances send to the machine itself as what they send anywhere: no
// permission names the machine, so only answers pass.
func enter() [][]expr.Any {
	return [][]expr.Any{join(in(loadName(expr.MetaKeyIIFNAME), setInterfaces), follow("sent"))}
}

// sent judges what instances send.
func sent() [][]expr.Any {
	return append(
		tracked(),
		join(ipv4Only(), tcp(), in(join(source(1), destination(register(1)), port(register(2))), setAllowed), accept()),
		drop(),
	)
}

// received judges what comes to instances from outside: only what a published port led to one.
func received() [][]expr.Any {
	return append(
		tracked(),
		join(ipv4Only(), tcp(), translated(), in(join(destination(1), port(register(1))), setExposed), accept()),
		drop(),
	)
}

// tracked lets packets of known connections pass and drops those that fit none.
func tracked() [][]expr.Any {
	return [][]expr.Any{
		join(state(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept()),
		join(state(expr.CtStateBitINVALID), drop()),
	}
}

// mask gives connections that come from 127.0.0.0/8, or from the very instance that they go to, a
// source that the instance can answer.
func mask(within netip.Prefix) [][]expr.Any {
	return [][]expr.Any{
		join(ipv4Only(), addressIn(source(1), loopback()), addressIn(destination(1), within), []expr.Any{&expr.Masq{}}),
		join(ipv4Only(), in(join(source(1), destination(register(1))), setHairpins), []expr.Any{&expr.Masq{}}),
	}
}

func loopback() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8) }

// register is the 32-bit register n behind the first one, NFT_REG32_00 (which is also the begin of
// register 1).
func register(n uint32) uint32 { return unix.NFT_REG32_00 + n }

func join(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// loadName puts an interface's name into register 1, which it fills.
func loadName(key expr.MetaKey) []expr.Any { return []expr.Any{&expr.Meta{Key: key, Register: 1}} }

func ipv4Only() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV4}},
	}
}

func tcp() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
	}
}

// source and destination load the addresses of the IPv4 header (RFC 791, section 3.1).
func source(to uint32) []expr.Any { return header(expr.PayloadBaseNetworkHeader, 12, 4, to) }

func destination(to uint32) []expr.Any { return header(expr.PayloadBaseNetworkHeader, 16, 4, to) }

// port loads the destination port of the TCP header.
func port(to uint32) []expr.Any { return header(expr.PayloadBaseTransportHeader, 2, 2, to) }

func header(base expr.PayloadBase, offset, length, to uint32) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: to, Base: base, Offset: offset, Len: length}}
}

// addressIn compares the address that load puts into register 1 with a prefix.
func addressIn(load []expr.Any, p netip.Prefix) []expr.Any {
	bits := binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-p.Bits()))
	want := p.Masked().Addr().As4()
	return join(load, []expr.Any{
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: bits, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: want[:]},
	})
}

func in(load []expr.Any, set string) []expr.Any {
	return join(load, []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: set}})
}

func notIn(load []expr.Any, set string) []expr.Any {
	return join(load, []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: set, Invert: true}})
}

// verdictOf does what a map says about the key that is loaded.
func verdictOf(name string) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: 1, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: name}}
}

func state(bits uint32) []expr.Any { return ct(expr.CtKeySTATE, bits) }

// translated matches connections whose destination was changed (IPS_DST_NAT).
func translated() []expr.Any {
	const destinationChanged = 1 << 5
	return ct(expr.CtKeySTATUS, destinationChanged)
}

func ct(key expr.CtKey, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: key, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func accept() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }

func drop() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}} }

func follow(name string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: name}}
}

func reset() []expr.Any { return []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}} }

func compareLanes(a, b lane) int {
	return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.inside, b.inside))
}
