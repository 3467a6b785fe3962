package network

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// SYN is an attempt to open a TCP connection, as it came.
type SYN struct {
	From, To netip.AddrPort
	Packet   []byte // whole, with its checksums put right; nil if it carried data that wasn't reported
}

// The parts of the headers that are read (RFC 791 section 3.1, RFC 9293 section 3.1).
const (
	leastIP, leastTCP = 20, 20
	tcpChecksumAt     = 16
	flagsAt           = 13
	flagSYN, flagACK  = 0x02, 0x10
)

// ParseSYN reads an IPv4 packet. The error says why it is no attempt to open a TCP connection. Its checksums may be wrong:
// whoever sends a packet through an interface of the same machine leaves them to that.
func ParseSYN(packet []byte) (SYN, error) {
	if len(packet) < leastIP || packet[0]>>4 != 4 {
		return SYN{}, errors.New("it is no IPv4 packet")
	}
	header := int(packet[0]&0xf) * 4
	total := int(binary.BigEndian.Uint16(packet[2:]))
	fragment := binary.BigEndian.Uint16(packet[6:]) & 0x3fff // but for "don't fragment"
	const protocolAt, protocolTCP = 9, 6
	switch {
	case header < leastIP || len(packet) < header+leastTCP || total < header+leastTCP:
		return SYN{}, errors.New("its headers are cut short")
	case packet[protocolAt] != protocolTCP || fragment != 0:
		return SYN{}, errors.New("it is no whole TCP packet")
	}
	tcp := packet[header:]
	if tcp[flagsAt]&(flagSYN|flagACK) != flagSYN {
		return SYN{}, errors.New("it opens no connection")
	}
	at := func(ip, port []byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip)), binary.BigEndian.Uint16(port))
	}
	s := SYN{From: at(packet[12:16], tcp[0:2]), To: at(packet[16:20], tcp[2:4])}
	if len(packet) >= total {
		s.Packet = summed(packet[:total], header)
	}
	return s, nil
}

// summed returns a copy of a packet with its checksums put right (RFC 1071).
func summed(packet []byte, header int) []byte {
	p := append([]byte(nil), packet...)
	const ipChecksumAt, protocolTCP = 10, 6
	copy(p[ipChecksumAt:], []byte{0, 0})
	binary.BigEndian.PutUint16(p[ipChecksumAt:], fold(add(0, p[:header])))
	tcp := p[header:]
	copy(tcp[tcpChecksumAt:], []byte{0, 0})
	sum := add(add(0, p[12:20]), tcp) + protocolTCP + uint64(len(tcp))
	binary.BigEndian.PutUint16(tcp[tcpChecksumAt:], fold(sum))
	return p
}

// add adds words of 16 bits, the last one filled up with a zero.
func add(sum uint64, b []byte) uint64 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint64(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

func fold(sum uint64) uint16 {
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum & 0xffff)
}
