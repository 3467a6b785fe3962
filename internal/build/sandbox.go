package build

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"imx"
)

// sandbox is a build root that is mounted, and seen, only in namespaces of its own: mounts,
// network (with nothing but a loopback that is down), host name and System V IPC. All of it ends
// with the thread that made it, whatever ends the process.
type sandbox struct {
	dir   string // the work folder
	root  string // the build root: what dpkg sees as "/"
	upper string // what was changed against the lower layer
	limit time.Duration
	epoch time.Time
}

// packagesDir is where the build root shows the packages that its dpkg is to unpack.
const packagesDir = "run/packages"

// packages is the folder for what packagesDir shows.
func (s *sandbox) packages() string { return filepath.Join(s.dir, "packages") }

// enter makes a sandbox and calls f on a thread inside it. lower is the root to begin with; all
// changes go to dir/upper and are gone with dir.
func (b *Builder) enter(ctx context.Context, dir, lower string, epoch time.Time, f func(context.Context, *sandbox) error) error {
	box := &sandbox{
		dir: dir, root: filepath.Join(dir, "root"), upper: filepath.Join(dir, "upper"),
		limit: b.cfg.Limit, epoch: epoch,
	}
	for _, name := range []string{"root", "upper", "work", "lower", "packages"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil { //nolint:gosec // a file system's root
			return err
		}
	}
	if err := os.Chmod(box.upper, 0o755); err != nil { //nolint:gosec // a file system's root, whatever the umask
		return err
	}
	done := make(chan error, 1)
	onOwnThread(func() {
		err := box.mount(lower)
		if err == nil {
			err = f(ctx, box)
		}
		done <- err
	})
	return <-done
}

// onOwnThread calls f in a goroutine whose thread nothing else ever uses: it ends with f. The
// process's first thread can't end, so it is kept from being the one.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		defer runtime.UnlockOSThread()
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // the first thread is held by who waits below
			f()
		}()
		<-done
	}()
}

// mount moves the thread into new namespaces and puts the root together there. Paths are relative
// to the work folder, whose own path may have characters that overlayfs's options can't.
func (s *sandbox) mount(lower string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC); err != nil {
		return imx.Errorf(imx.Unavailable, "making the build's namespaces: %w", err).WithHint("imx server needs to run as root")
	}
	unix.Umask(0o022) // of this thread: a mount namespace of its own brings a umask and a folder of its own
	if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Chdir(s.dir)); err != nil {
		return fmt.Errorf("leaving the host's mounts: %w", err)
	}
	err := inOrder(
		func() error { return unix.Sethostname([]byte("build")) },
		func() error { return unix.Setdomainname([]byte("(none)")) },
		func() error { return unix.Mount(lower, "lower", "", unix.MS_BIND, "") },
		overlay,
		func() error { return tmpfs("root/proc", "mode=555") }, // a place for each program's own /proc
		func() error { return tmpfs("root/tmp", "mode=1777") },
		func() error { return tmpfs("root/run", "mode=755") },
		func() error { return tmpfs("root/dev", "mode=755") },
		func() error { return os.Mkdir(filepath.Join("root", packagesDir), 0o755) }, //nolint:gosec // read by the sandbox
		func() error { return bindReadOnly("packages", filepath.Join("root", packagesDir)) },
		s.devices,
	)
	if err != nil {
		return fmt.Errorf("mounting the build root: %w", err)
	}
	return nil
}

func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// overlay lays the changes over the lower root. Its options keep every changed file whole in upper.
func overlay() error {
	const options = "lowerdir=lower,upperdir=upper,workdir=work,redirect_dir=off,metacopy=off,index=off"
	const flags = unix.MS_NOSUID | unix.MS_NODEV
	// volatile (Linux 5.10) spares dpkg's many syncs: what is kept is synced when it is published.
	err := unix.Mount("overlay", "root", "overlay", flags, options+",volatile")
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount("overlay", "root", "overlay", flags, options)
	}
	return err
}

func tmpfs(target, options string) error {
	if err := os.Mkdir(target, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // as in every root
		return err
	}
	return unix.Mount("tmpfs", target, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options)
}

func bindReadOnly(from, to string) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	const flags = unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
	return unix.Mount("", to, "", flags, "")
}

// devices fills /dev with the harmless devices, taken from the host's: mknod isn't allowed everywhere.
func (s *sandbox) devices() error {
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		target := filepath.Join(s.root, "dev", name)
		if err := os.WriteFile(target, nil, 0o600); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, target, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	shm := filepath.Join(s.root, "dev/shm")
	if err := errors.Join(os.Mkdir(shm, 0o700), os.Chmod(shm, 0o777|os.ModeSticky)); err != nil {
		return err
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(target, filepath.Join(s.root, "dev", name)); err != nil {
			return err
		}
	}
	return nil
}

// capabilities is what installing packages takes; all others are dropped for good. Without
// CAP_SYS_CHROOT and CAP_DAC_READ_SEARCH there is no way out of a chroot, and the kernel gives no user
// namespace to who is in one.
const capabilities = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setfcap"

// start is run by the host's shell as the first process of the new process table. /proc is read-only:
// the root user may write to much of /proc/sys without any capability.
const start = `mount -t proc -o ro,nosuid,nodev,noexec proc root/proc && exec chroot root "$@"`

// keptLines is how many of the last lines of output a failure shows.
const keptLines = 20

// maxOutput ends a program that writes more, in bytes.
const maxOutput = 64 << 20

// run runs a program of the build root as root, with a process table of its own, and returns when
// the last of its processes has ended. Lines that it writes to descriptor 3 go to status. The error
// is Exhausted after the time limit; otherwise it has the last lines of output.
func (s *sandbox) run(ctx context.Context, status func(line string), argv ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.limit, errTooLong)
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	args := append([]string{
		"--pid", "--mount", "--fork", "--kill-child=KILL", "--", "/bin/sh", "-c", start, "start",
		"/usr/bin/setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=" + capabilities, "--",
	}, argv...)
	out := &tail{}
	cmd := exec.CommandContext(ctx, "unshare", args...)
	cmd.Env = s.environment()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return errors.Join(err, w.Close())
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			status(lines.Text())
		}
		_, _ = io.Copy(io.Discard, r) // a line that is too long ends the scan, and mustn't block who writes
	})
	err = errors.Join(w.Close(), cmd.Wait())
	reading.Wait()
	return s.outcome(ctx, err, out)
}

var errTooLong = errors.New("took longer than it may")

func (s *sandbox) outcome(ctx context.Context, err error, out *tail) error {
	cause := context.Cause(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(cause, errTooLong):
		return imx.Errorf(imx.Exhausted, "it was stopped after %s; the last it wrote:\n%s", s.limit, out.lines())
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

// unmountBelow unmounts all that is mounted below dir in the process's own namespace. Builds mount
// nothing there; it's for those who looked into a build by hand.
func unmountBelow(dir string) error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			points = append(points, fields[4])
		}
	}
	for _, p := range slices.Backward(points) {
		if err := unix.Unmount(p, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	return nil
}
