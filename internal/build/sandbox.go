package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"imx"
)

// sandbox is a build root that is mounted, and seen, only in namespaces of its own: mounts,
// network (with nothing but a loopback of its own), host name and System V IPC. All of it ends
// with the thread that made it, whatever ends the process.
type sandbox struct {
	dir   string // the work folder
	root  string // the build root: what dpkg sees as "/"
	upper string // what was changed against the lower layer
	epoch time.Time
	cfg   Config
	cage  *cage
}

// hostName is the name of the machine that scripts see.
const hostName = "build"

// packagesDir is where the build root shows the packages that its dpkg is to unpack.
const packagesDir = "run/packages"

// packages is the folder for what packagesDir shows.
func (s *sandbox) packages() string { return filepath.Join(s.dir, "packages") }

// enter makes a sandbox and calls f on a thread inside it. lower is the root to begin with; all
// changes go to dir/upper and are gone with dir.
func (b *Builder) enter(ctx context.Context, dir, lower string, epoch time.Time, f func(context.Context, *sandbox) error) error {
	box := &sandbox{
		dir: dir, root: filepath.Join(dir, "root"), upper: filepath.Join(dir, "upper"),
		epoch: epoch, cfg: b.cfg,
	}
	for _, name := range []string{"root", "upper", "work", "lower", "packages"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil { //nolint:gosec // a file system's root
			return err
		}
	}
	if err := os.Chmod(box.upper, 0o755); err != nil { //nolint:gosec // a file system's root, whatever the umask
		return err
	}
	box.cage = b.groups.cage(filepath.Base(dir), b.cfg.bounds())
	defer box.cage.remove()
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
		func() error { return unix.Sethostname([]byte(hostName)) },
		func() error { return unix.Setdomainname([]byte("(none)")) },
		loopback,
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

// loopback starts the network namespace's own loopback: there are scripts that talk to a program that they
// started, and programs that want some interface to be there.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	lo, err := unix.NewIfreq("lo")
	if err == nil {
		lo.SetUint16(unix.IFF_UP)
		err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
	}
	return errors.Join(err, unix.Close(fd))
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
