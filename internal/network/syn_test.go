package network_test

import (
	"encoding/binary"
	"encoding/hex"
	"testing"

	"imx/internal/network"
)

// captured is a SYN from 192.0.2.2:40000 to 192.0.2.1:80 with options, as tcpdump shows one whose checksums are right.
const captured = "4500003c1c4640004006" + "9a72" + "c0000202c00002019c40005000000001" + "00000000a002faf0" + "56b4" + "0000020405b40402080a000000010000000001030307"

func TestASYNIsReadAndItsChecksumsPutRight(t *testing.T) {
	whole, err := hex.DecodeString(captured)
	if err != nil {
		t.Fatal(err)
	}
	broken := append([]byte(nil), whole...)
	broken[10], broken[36] = 0, 0xff // an interface would have put them right
	s, err := network.ParseSYN(broken)
	if err != nil {
		t.Fatal(err)
	}
	if s.From.String() != "192.0.2.2:40000" || s.To.String() != "192.0.2.1:80" {
		t.Errorf("it is from %s to %s", s.From, s.To)
	}
	for what, part := range map[string][]byte{
		"header":  s.Packet[:20],
		"segment": append(append([]byte(nil), s.Packet[12:20]...), append([]byte{0, 6, 0, byte(len(s.Packet) - 20)}, s.Packet[20:]...)...),
	} {
		sum := uint32(0)
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
		if sum = sum>>16 + sum&0xffff; sum != 0xffff { // RFC 1071: with its checksum it sums up to that
			t.Errorf("the %s's checksum is wrong: %x", what, sum)
		}
	}
	if s, err := network.ParseSYN(broken[:44]); err != nil || s.Packet != nil {
		t.Errorf("cut short after its headers it gave a packet of %d bytes, %v", len(s.Packet), err)
	}
}

func FuzzParseSYN(f *testing.F) {
	whole, err := hex.DecodeString(captured)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:40])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, packet []byte) {
		s, err := network.ParseSYN(packet)
		if err != nil || s.Packet == nil {
			return
		}
		again, err := network.ParseSYN(s.Packet)
		if err != nil || again.From != s.From || again.To != s.To || string(again.Packet) != string(s.Packet) {
			t.Errorf("read again it is %v, %v", again, err)
		}
	})
}
