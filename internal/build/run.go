package build

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"imx"
)

// capabilities is what installing packages takes; all others are dropped for good. Without
// CAP_SYS_CHROOT and CAP_DAC_READ_SEARCH there is no way out of a chroot, and the kernel gives no user
// namespace to who is in one.
const capabilities = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setfcap"

// gate is run by the host's shell before all else, and waits until it is in its cage.
const gate = `read -r _ <&4 && exec 4<&- && exec "$@"`

// start is run by the host's shell as the first process of the new process table. /proc is read-only:
// the root user may write to much of /proc/sys without any capability.
const start = `mount -t proc -o ro,nosuid,nodev,noexec proc root/proc && exec chroot root "$@"`

// keptLines is how many of the last lines of output a failure shows.
const keptLines = 20

// maxOutput ends a program that writes more, in bytes.
const maxOutput = 64 << 20

// run runs a program of the build root as root, with a process table of its own, and returns when
// the last of its processes has ended. Lines that it writes to descriptor 3 go to status, each a sign
// that it goes on. The error is Exhausted after a limit of time, memory or processes; otherwise it has the
// last lines of output.
func (s *sandbox) run(ctx context.Context, status func(line string), argv ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Limit, overdue{s.cfg.Limit})
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p, err := s.start(ctx, argv)
	if err != nil {
		return err
	}
	moved := make(chan struct{}, 1)
	ended := make(chan struct{})
	var beside sync.WaitGroup // both end soon after the last process
	beside.Go(func() {
		lines := bufio.NewScanner(p.status)
		for lines.Scan() {
			status(lines.Text())
			select {
			case moved <- struct{}{}:
			default:
			}
		}
		_, _ = io.Copy(io.Discard, p.status) // a line that is too long ends the scan, and mustn't block who writes
	})
	beside.Go(func() { s.watch(ended, moved, stop) })
	err = p.cmd.Wait()
	close(ended)
	beside.Wait()
	return errors.Join(s.outcome(ctx, err, p.out), p.status.Close())
}

// process is a program that runs in the sandbox.
type process struct {
	cmd    *exec.Cmd
	out    *tail
	status *os.File
}

func (s *sandbox) start(ctx context.Context, argv []string) (*process, error) {
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		return nil, imx.Errorf(imx.Unavailable, "making the build's process table: %w", err).WithHint("install the package util-linux")
	}
	status, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	hold, open, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, status.Close(), w.Close())
	}
	args := append([]string{
		"-c", gate, "gate",
		unshare, "--pid", "--mount", "--fork", "--kill-child=KILL", "--", "/bin/sh", "-c", start, "start",
		"/usr/bin/setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=" + capabilities, "--",
	}, argv...)
	p := &process{cmd: exec.CommandContext(ctx, "/bin/sh", args...), out: &tail{}, status: status}
	p.cmd.Env = s.environment()
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.ExtraFiles = []*os.File{w, hold}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	p.cmd.WaitDelay = 10 * time.Second
	err = p.cmd.Start()
	err = errors.Join(err, w.Close(), hold.Close())
	if err != nil {
		return nil, errors.Join(err, status.Close(), open.Close())
	}
	if err = s.cage.enter(p.cmd.Process.Pid); err == nil {
		_, err = open.WriteString("go\n")
	}
	if err != nil {
		_ = p.cmd.Process.Kill() // it waits at the gate
		_ = p.cmd.Wait()         // as told
		return nil, errors.Join(fmt.Errorf("bounding the sandbox: %w", err), status.Close(), open.Close())
	}
	return p, open.Close()
}

// watch stops what doesn't go on, or what met a limit of its cage, until it ended.
func (s *sandbox) watch(ended, moved <-chan struct{}, stop context.CancelCauseFunc) {
	still := time.NewTimer(s.cfg.StepLimit)
	defer still.Stop()
	look := time.NewTicker(500 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ended:
			return
		case <-moved:
			still.Reset(s.cfg.StepLimit)
		case <-still.C:
			stop(overdue{s.cfg.StepLimit})
		case <-look.C:
			if limit := s.cage.met(); limit != "" {
				stop(excessive{limit})
			}
		}
	}
}

// overdue is why something was stopped that took too long.
type overdue struct{ limit time.Duration }

func (o overdue) Error() string { return "it was stopped after " + o.limit.String() }

// excessive is why something was stopped that wanted too much.
type excessive struct{ limit string }

func (e excessive) Error() string { return "it was stopped: it wanted more than " + e.limit }

func (s *sandbox) outcome(ctx context.Context, err error, out *tail) error {
	cause := context.Cause(ctx)
	if limit := s.cage.met(); limit != "" && err != nil {
		cause = excessive{limit}
	}
	var late overdue
	var much excessive
	switch {
	case err == nil:
		return nil
	case errors.As(cause, &late) || errors.As(cause, &much):
		return imx.Errorf(imx.Exhausted, "%w; the last it wrote:\n%s", cause, out.lines())
	case cause != nil:
		return cause
	case out.total > maxOutput:
		return imx.Errorf(imx.Exhausted, "it was stopped after %s of output; the last of it:\n%s", imx.Size(maxOutput), out.lines())
	case strings.Contains(out.lines(), "No space left on device"):
		return imx.Errorf(imx.Exhausted, "no space left on the disk:\n%s", out.lines()).
			WithHint(hintFull)
	}
	return imx.Errorf(imx.Invalid, "%w; the last it wrote:\n%s", err, out.lines())
}

func (s *sandbox) environment() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/tmp", "LC_ALL=C.UTF-8", "TZ=UTC", "TERM=dumb",
		"DEBIAN_FRONTEND=noninteractive", "DEBCONF_NONINTERACTIVE_SEEN=true",
		"SOURCE_DATE_EPOCH=" + fmt.Sprint(s.epoch.Unix()),
	}
}

// tail keeps the last lines of a program's output.
type tail struct {
	mu    sync.Mutex
	kept  []byte
	total int64
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.total += int64(len(p)); t.total > maxOutput {
		return 0, io.ErrShortWrite
	}
	const room = 16 << 10
	t.kept = append(t.kept, p...)
	if len(t.kept) > 2*room {
		t.kept = slices.Clone(t.kept[len(t.kept)-room:])
	}
	return len(p), nil
}

func (t *tail) lines() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(string(bytes.ToValidUTF8(bytes.TrimSpace(t.kept), []byte("?"))), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-keptLines):], "\n  ")
}
