package daemon_test

import (
	"net"
	"slices"
	"testing"

	"imx"
	"imx/internal/daemon"
)

// Whoever starts a server without a thought mustn't give its images to the network.
func TestEverybodyMayPullWhereOnlyThisMachineReaches(t *testing.T) {
	pull, both := []imx.RegistryRight{imx.Pull}, []imx.RegistryRight{imx.Pull, imx.Push}
	for _, c := range []struct {
		say     daemon.Anonymous
		address string
		want    []imx.RegistryRight
	}{
		{daemon.AnonymousUsual, "127.0.0.1:5050", pull},
		{daemon.AnonymousUsual, "[::1]:5050", pull},
		{daemon.AnonymousUsual, "[::]:5050", nil},
		{daemon.AnonymousUsual, "192.0.2.1:5050", nil},
		{daemon.AnonymousPulls, "192.0.2.1:5050", pull},
		{daemon.AnonymousPushes, "192.0.2.1:5050", both},
		{daemon.AnonymousNothing, "127.0.0.1:5050", nil},
	} {
		address, err := net.ResolveTCPAddr("tcp", c.address)
		if err != nil {
			t.Fatal(err)
		}
		if got := daemon.Rights(c.say, address); !slices.Equal(got, c.want) {
			t.Errorf("--anonymous %q at %s: %v", c.say, c.address, got)
		}
	}
}
