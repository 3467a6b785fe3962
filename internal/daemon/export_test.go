package daemon

import (
	"net"
	"time"

	"imx"
)

// Due is due, of a disk that is nearly full or not.
func Due(since time.Duration, full bool) (imx.CollectRequest, bool) {
	if full {
		return due(since, diskShort)
	}
	return due(since, diskAmple)
}

// Rights are what everybody may at an address.
func Rights(a Anonymous, address net.Addr) []imx.RegistryRight { return a.rights(address) }
