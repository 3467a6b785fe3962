package front

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"imx"
)

// Word is the program's first argument where it is to be Main. What follows are the folder of its logs, that of what its Authority keeps,
// the user to be, and the version to call itself.
const Word = "__ingress"

// confined is the first argument of a process that has given its rights up already, before the version.
const confined = "confined"

// The descriptors that a confined process begins with: the socket over which it is asked, and its folders.
const (
	controlFD = 3 + iota
	logsFD
	keptFD
)

// Open makes an Authority that keeps what it has in a folder.
type Open func(folder *os.Root) Authority

// Main answers until it is told to end, and returns the exit status. What ends a server, ctx, doesn't end it.
func Main(ctx context.Context, args []string, say io.Writer, open Open) int {
	err := errors.New("it is started by a server, with a log folder, a state folder, a user and a version")
	switch {
	case len(args) == 2 && args[0] == confined:
		err = run(context.WithoutCancel(ctx), args[1], open)
	case len(args) == 4:
		err = confine(args[0], args[1], args[2], args[3])
	}
	if err != nil {
		_, _ = fmt.Fprintf(say, "the ingress' process can't go on: %v\n", err)
		return 1
	}
	return 0
}

// run is a confined process.
func run(ctx context.Context, version string, open Open) error {
	// Not to leave its memory, with keys in it, behind.
	if err := errors.Join(unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}), unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)); err != nil {
		return err
	}
	if err := confineCalls(); err != nil {
		return err
	}
	debug.SetMemoryLimit(softMemory)
	logs, err := given(logsFD)
	if err != nil {
		return err
	}
	kept, err := given(keptFD)
	if err != nil {
		return err
	}
	l, err := net.FileListener(os.NewFile(controlFD, "control"))
	if err != nil {
		return err
	}
	control, ok := l.(*net.UnixListener)
	if !ok {
		return errors.New("the control socket is none")
	}
	control.SetUnlinkOnClose(false)
	access, err := openAccess(logs)
	if err != nil {
		return err
	}
	authority := open(kept)
	s := newServer(version, access, authority)
	done := make(chan struct{})
	go access.flushing(done)
	s.listen(ctx, control)
	s.plugs.end() //nolint:contextcheck // what it finishes outlives who asked for the end
	authority.Close()
	close(done)
	access.flush()
	return nil
}

// softMemory is what it tries to do with. The keeper's limit, of all processes of an ingress together, is above that.
const softMemory = 1 << 30

// given opens a folder that came as a descriptor: the process has no way to it by its path.
func given(fd int) (*os.Root, error) {
	dir, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(fd))
	return dir, errors.Join(err, unix.Close(fd))
}

// ownFolder opens a folder of root's as one of the user's.
func ownFolder(path string, uid int) (*os.Root, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return dir, chownAll(dir, ".", uid)
}

// chownAll gives what is in a folder to the user: another one may have made it, for another server.
func chownAll(dir *os.Root, name string, uid int) error {
	if err := dir.Lchown(name, uid, uid); err != nil {
		return err
	}
	info, err := dir.Lstat(name)
	if err != nil || !info.IsDir() {
		return err
	}
	f, err := dir.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() // read-only
	names, err := f.Readdirnames(-1)
	for _, n := range names {
		err = errors.Join(err, chownAll(dir, name+"/"+n, uid))
	}
	return err
}

// confine becomes a process of a user that owns nothing but these folders, with no right beyond that, for good: in a new image of
// this very program, because what a thread gives up its others would keep.
func confine(logs, kept, user, version string) error {
	uid, err := strconv.Atoi(user)
	if err != nil {
		return err
	}
	for i, path := range []string{logs, kept} {
		dir, err := ownFolder(path, uid)
		if err != nil {
			return err
		}
		f, err := dir.Open(".")
		if err != nil {
			return err
		}
		if err := inherit(f, logsFD+i); err != nil {
			return err
		}
	}
	if err := inherit(os.NewFile(controlFD, "control"), controlFD); err != nil {
		return err
	}
	runtime.LockOSThread() // which is the one that goes on
	for _, give := range []func() error{
		dropBounding,
		func() error { return syscall.Setgroups(nil) },
		func() error { return syscall.Setgid(uid) },
		func() error { return syscall.Setuid(uid) },
		func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) },
	} {
		if err := give(); err != nil {
			return fmt.Errorf("giving up the rights of root: %w", err)
		}
	}
	return syscall.Exec("/proc/self/exe", []string{"imx", Word, confined, version}, os.Environ())
}

// inherit gives a file the number that it has in the next image.
func inherit(f *os.File, number int) error {
	fd := int(f.Fd()) // that it may block is nothing to a folder, nor to a socket that is opened anew
	if fd == number {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		return err
	}
	return errors.Join(unix.Dup3(fd, number, 0), f.Close())
}

// dropBounding takes away all capabilities that a program could ever get.
func dropBounding() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) { // a kernel that doesn't know it
			return err
		}
	}
	return nil
}

// listen answers questions until one ends the process.
func (s *Server) listen(ctx context.Context, control *net.UnixListener) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	context.AfterFunc(ctx, func() { _ = control.Close() }) // nothing is written through it
	for {
		conn, err := control.AcceptUnix()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // no descriptor is left just now
			continue
		}
		go s.talk(conn, stop) //nolint:contextcheck // connections outlive the question
	}
}

// talk answers one question.
func (s *Server) talk(conn *net.UnixConn, stop func()) {
	defer conn.Close() // both sides have ended their sending
	if conn.SetDeadline(time.Now().Add(talkTime)) != nil {
		return
	}
	var q question
	files, err := receive(conn, &q)
	if err != nil {
		return // who asks has gone
	}
	a, back := s.reply(q, files)
	if send(conn, a, back) == nil && q.Op == opDrain {
		s.draining.Store(true)
		stop()
	}
}

func (s *Server) reply(q question, files []*os.File) (a answer, back []*os.File) {
	var err error
	switch {
	case q.Op == opListen && len(files) == 1:
		err = s.plugs.add(q.Port, files[0])
		files = nil
	case q.Op == opListeners:
		a.Ports, back = s.plugs.sockets()
	case q.Op == opConfigure && q.Config != nil:
		err = s.configure(*q.Config)
		st := s.status()
		a.Status = &st
	case q.Op == opStatus:
		st := s.status()
		a.Status = &st
	case q.Op == opBusy:
		a.Busy = s.backends.busy()
	case q.Op == opCounts:
		a.Counts = s.counts.list()
	case q.Op == opDrain:
	default:
		err = imx.Errorf(imx.Invalid, "the ingress' process doesn't understand %q", q.Op)
	}
	closeAll(files)
	if err != nil {
		a = answer{Error: imx.AsError(err)}
	}
	return a, back
}
