package local

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"regexp"
	"time"

	"imx"
	"imx/internal/network"
)

// Config is what an engine is opened with. All fields but Network and Log are needed; Purge does
// with Dir, ID and Firewall.
type Config struct {
	// Dir is the engine's own folder, absolute, on a disk that outlives a reboot.
	Dir string
	// ID marks what the engine makes outside Dir (cgroups, interfaces, /run/imx-ID), so that several
	// servers can live on one machine: 1 to 6 lower-case letters and digits.
	ID string
	// Network is the range of addresses, 10.213.0.0/16 if it is the zero Prefix. Its lower half is
	// for services (whoever makes releases gives those out), its upper half for instances.
	Network netip.Prefix
	// Roots returns the path of the EROFS file of an image, by its manifest's digest.
	Roots func(ctx context.Context, image imx.Digest) (string, error)
	// Files returns the content of a release's file. The engine closes it.
	Files    func(d imx.Digest) (io.ReadCloser, error)
	Firewall Firewall
	// Guest says that the images' files are another engine's to lock: this one leaves their locks as they are.
	Guest bool
	// Probe is a program of the machine. Instances whose command is ProbePath have it there, and may run it: an
	// engine that runs what serves has none.
	Probe string
	// Verify is how often the roots of kept releases are read again; 0 means every five minutes.
	Verify time.Duration
	// Open returns the instances that somebody on this machine sends requests to, or may yet send some, and how many: they
	// count as connections that the kernel's table doesn't tell from the engine's own checks. Nil: nobody does.
	Open func() map[netip.Addr]int
	// Knock is told of each attempt to open a connection to a service that sleeps, and from which instance or address. It must not
	// block. Nil: nobody is.
	Knock func(service, from string)
	Log   *slog.Logger // nil means nowhere
}

// ProbePath is where an instance has Config.Probe.
const ProbePath = "/dev/imx"

// Firewall brings rules into the kernel. Apply and Remove are idempotent and atomic: after an error
// the rules are as before.
type Firewall interface {
	Apply(ctx context.Context, r network.Ruleset) error
	// Check tells whether the kernel still has what was applied last. It is asked every second, and
	// its error is of kind Conflict if somebody else changed it.
	Check(ctx context.Context) error
	Remove(ctx context.Context) error
	// Arrivals counts the new connections for each service since some moment. A count that is less than before begins anew.
	Arrivals(ctx context.Context) (map[string]int64, error)
	// Listen calls waits for each attempt to open a connection to a service whose pool waits, until ctx ends.
	Listen(ctx context.Context, waits func(network.SYN)) error
	// Resend sends such an attempt again, from the network namespace of the calling thread.
	Resend(s network.SYN) error
}

// DefaultNetwork is the range of addresses where Config names none.
const DefaultNetwork = "10.213.0.0/16"

func (c Config) checked() (Config, error) {
	if !regexp.MustCompile(`^[a-z0-9]{1,6}$`).MatchString(c.ID) {
		return c, imx.Errorf(imx.Invalid, "%q can't mark an engine: it must be 1 to 6 lower-case letters and digits", c.ID)
	}
	if !filepath.IsAbs(c.Dir) {
		return c, imx.Errorf(imx.Invalid, "the engine's folder %q is not absolute", c.Dir)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Verify <= 0 {
		c.Verify = 5 * time.Minute
	}
	if !c.Network.IsValid() {
		c.Network = netip.MustParsePrefix(DefaultNetwork)
	}
	c.Network = c.Network.Masked()
	return c, usable(c.Network)
}

// runDir holds what must not outlive a reboot: mount points, network namespaces, crun's state. It
// is short because paths of sockets and mount options have narrow bounds.
func (c Config) runDir() string { return "/run/imx-" + c.ID }

func (c Config) mountDir() string { return filepath.Join(c.runDir(), "mnt") }
func (c Config) netnsDir() string { return filepath.Join(c.runDir(), "netns") }
func (c Config) crunDir() string  { return filepath.Join(c.runDir(), "crun") }

// linkPrefix begins the names of all interfaces that the engine makes.
func (c Config) linkPrefix() string { return "imx-" + c.ID + "-" }
