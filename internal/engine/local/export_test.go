package local

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"imx"
)

// FailWrites makes the engine's records fail to be written.
func (e *Engine) FailWrites(err error) {
	e.store.write = func(string, []byte) error { return err }
	e.roots.store.write = e.store.write
}

// Parts that tests look at by themselves.
var (
	Listening = listening
	Rotate    = rotate
	Interval  = interval
	Pace      = pace
	Together  = together
	Timeout   = timeout

	ReadSlowly = readSlowly
	ThreadTime = threadTime
)

// Resolve follows the links of a path in an image.
func Resolve(image, path string) (string, error) { return tree(image).resolve(path) }

// Identity is who a process is.
type Identity = identity

// ResolveUser is who a user is by an image's passwd and group.
func ResolveUser(passwd, group []string, user string) (Identity, error) {
	return parseAccounts(passwd, group).resolve(user)
}

// PrintLog turns conmon's log into what a reader sees.
func PrintLog(w io.Writer, r io.Reader) error {
	p := &logPrinter{out: w, partial: map[string][]byte{}}
	return p.print(r)
}

// CheckCommand asks an instance by a command.
func (e *Engine) CheckCommand(ctx context.Context, id string, args ...string) error {
	in, _ := e.living(id)
	return e.checkCommand(ctx, in, args)
}

// Cgroup is the instance's version 2 group.
func (e *Engine) Cgroup(id string) string { return e.cgroups.group(id) }

// Limits shows what is written where for an instance's resources: "directory/file value".
func Limits(r imx.Resources, v1 map[string]string) []string {
	c := cgroups{name: "imx-x", unified: "/v2", v1: v1}
	var list []string
	for _, l := range c.limits(r) {
		list = append(list, filepath.Join(c.limited("web-1-abcde", l.controller), l.file)+" "+l.value)
	}
	return list
}

// Remembered is how many connections to an instance the kernel has in its table, in whatever state they are; health checks apart.
func Remembered(to netip.Addr) (int, error) {
	table, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		err = nil
	}
	n := 0
	for _, flow := range table {
		from, _ := netip.AddrFromSlice(flow.Forward.SrcIP.To4())
		if at, _ := netip.AddrFromSlice(flow.Reverse.SrcIP.To4()); at == to && from != Gateway() {
			n++
		}
	}
	return n, err
}

// LetGo lets an instance's first process go on that waits as crun has it wait.
func LetGo(cfg Config, id string) error { return cfg.unblock(id) }
