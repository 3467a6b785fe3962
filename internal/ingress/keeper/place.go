package keeper

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/disk"
	"imx/internal/ingress/front"
)

// Place is where the front of a data folder is: its folder, and an id that no other data folder of the machine has, of
// hexadecimal digits.
type Place struct {
	Dir, ID string
	Memory  imx.Size // that its processes may have together; 0 means 2 GiB
}

func (p Place) memory() imx.Size { return cmp.Or(p.Memory, mostMemory) }

const (
	recordFile  = "process.json"
	logFolder   = "logs"
	stateFolder = "acme"
	saidFile    = "said"
)

// record names a process for good.
type record struct {
	Pid     int    `json:"pid"`
	Socket  string `json:"socket"`
	Program string `json:"program"` // which imx it is
}

// running is a front.
type running struct {
	record record
	began  time.Time // zero for one that another server started
}

func (f *running) client() front.Client { return front.Client{Socket: f.record.Socket} }

// lives reports whether the process is there.
func (f *running) lives() bool { return commandOf(f.record.Pid) == front.Word }

// kill ends a process that doesn't answer, if it is one still. No other program has its first argument.
func (f *running) kill() {
	if f.lives() {
		_ = unix.Kill(f.record.Pid, unix.SIGKILL)
	}
	_ = os.Remove(f.record.Socket)
}

// commandOf is the first argument of a process, "" for none.
func commandOf(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return ""
	}
	args := strings.Split(string(b), "\x00")
	if len(args) < 2 {
		return ""
	}
	return args[1]
}

// Logs is the folder of the access logs.
func (p Place) Logs() string { return filepath.Join(p.Dir, logFolder) }

// user is one that owns nothing: of those numbers that systemd gives to services for a while, by the place's id.
func (p Place) user() int {
	const first, many = 61184, 4336
	n, _ := strconv.ParseUint(p.ID, 16, 32) // it is hexadecimal; 0 would do as well
	return first + int(n%many)
}

// start starts a front that answers nothing yet.
func (p Place) start(ctx context.Context, version string) (*running, error) {
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(p.Dir, strconv.FormatInt(time.Now().UnixNano(), 36)+".sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close() // the process has its own
	control, err := l.File()
	if err != nil {
		return nil, err
	}
	defer control.Close() // the same
	said, err := os.OpenFile(filepath.Join(p.Dir, saidFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, disk.Error(err, "starting the ingress' process")
	}
	defer said.Close() // the same
	g, err := p.group()
	if err == nil {
		err = g.make(p.memory())
	}
	if err != nil {
		return nil, err
	}
	dir, err := os.Open(g.unified)
	if err != nil {
		return nil, err
	}
	defer dir.Close() // read-only
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// Not bound to ctx: it lives on when the server ends.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self, front.Word, p.Logs(), filepath.Join(p.Dir, stateFolder), strconv.Itoa(p.user()), version)
	cmd.Args[0], cmd.Dir, cmd.Env = "imx", "/", []string{"GOTRACEBACK=none"}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = said, said, []*os.File{control}
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the ingress' process: %w", err)
	}
	f := &running{record: record{Pid: cmd.Process.Pid, Socket: path, Program: program()}, began: time.Now()}
	if err := g.enter(cmd.Process.Pid); err != nil {
		f.kill()
		return nil, errors.Join(err, cmd.Wait())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return f, p.answers(f, ended)
}

// answers waits until the front does.
func (p Place) answers(f *running, ended <-chan error) error {
	answered := make(chan error, 1)
	go func() { // it waits on the socket from before there was anybody to answer
		_, err := f.client().Busy()
		answered <- err
	}()
	var err error
	select {
	case err = <-answered:
	case err = <-ended:
		text, _ := os.ReadFile(filepath.Join(p.Dir, saidFile)) // without it the error says less
		err = imx.Errorf(imx.Internal, "the ingress' process ended at once: %w: %s", err, text)
	}
	if err != nil {
		f.kill()
	}
	return err
}

// program says which imx this is: a new one is another file.
func program() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	info, err := os.Stat(self)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s %d %d", self, info.Size(), info.ModTime().UnixNano())
}

func (p Place) remember(r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return disk.WriteWhole(filepath.Join(p.Dir, recordFile), b, 0o600)
}

func (p Place) remembered() (record, bool) {
	var r record
	b, err := os.ReadFile(filepath.Join(p.Dir, recordFile))
	return r, err == nil && json.Unmarshal(b, &r) == nil
}

func (p Place) forget() error {
	err := os.Remove(filepath.Join(p.Dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// tidy removes the group of processes that have ended, and reports whether it is gone. While one finishes what it has, the kernel
// keeps it.
func (p Place) tidy() bool {
	g, err := p.group()
	if err == nil {
		err = g.tidy()
	}
	return err == nil
}

// Purge ends all of the place's processes at once, for a server that is gone. Logs and certificates stay.
func (p Place) Purge(ctx context.Context) error {
	g, err := p.group()
	if err == nil {
		err = g.kill(ctx)
	}
	if err != nil {
		return err
	}
	sockets, err := filepath.Glob(filepath.Join(p.Dir, "*.sock"))
	for _, path := range sockets {
		err = errors.Join(err, os.Remove(path))
	}
	return errors.Join(err, p.forget())
}

// Traces are what the place has on this machine outside of its folder.
func (p Place) Traces() ([]string, error) {
	g, err := p.group()
	if err != nil {
		return nil, err
	}
	var traces []string
	for _, dir := range g.dirs() {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			traces = append(traces, "cgroup "+dir)
		}
	}
	return traces, nil
}
