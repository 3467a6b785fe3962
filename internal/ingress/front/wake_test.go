package front_test

import (
	"net"
	"net/netip"
	"testing"

	"imx/internal/ingress/front"
)

func TestOnlySoManyRequestsWait(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // each door is knocked at
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	door := netip.MustParseAddrPort(l.Addr().String())
	const most, bytes = 1024, 16 << 20
	for what, size := range map[string]int64{"many small ones": 10, "few large ones": 1 << 20} {
		var s front.Sleepers
		var leave []func()
		for {
			left, err := s.Enter(door, size)
			if err != nil {
				break
			}
			leave = append(leave, left)
		}
		if n := int64(len(leave)); n != min(most, bytes/size) {
			t.Errorf("%s: %d wait", what, n)
		}
		leave[0]()
		again, err := s.Enter(door, size)
		if err != nil {
			t.Fatalf("%s: when one has left there is no room for another: %v", what, err)
		}
		for _, left := range append(leave[1:], again) {
			left()
		}
	}
}
