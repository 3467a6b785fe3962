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

// Trials are the folders of machines for tests.
type Trials struct{ ms machines }

// NewTrials returns those of a data folder.
func NewTrials(data string) *Trials { return &Trials{machines{data: data}} }

// Folder makes a machine's.
func (t *Trials) Folder() (string, error) { return t.ms.folder() }

// Tidy is what follows when a machine has removed its own.
func (t *Trials) Tidy() { t.ms.tidy() }

// Sandbox names what tests run in, with a program for the probe.
func Sandbox(version, probe string) (imx.Digest, error) {
	ms := machines{version: version, probe: probe}
	return ms.sandbox()
}

// Rights are what everybody may at an address.
func Rights(a Anonymous, address net.Addr) []imx.RegistryRight { return a.rights(address) }
