package front

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
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

// controlFD is the descriptor of the socket over which the process is asked.
const controlFD = 3

// Open makes an Authority that keeps what it has in a folder.
type Open func(folder *os.Root) Authority

// Main answers until it is told to end, and returns the exit status. What ends a server, ctx, doesn't end it.
func Main(ctx context.Context, args []string, say io.Writer, open Open) int {
	if err := run(context.WithoutCancel(ctx), args, open); err != nil {
		_, _ = fmt.Fprintf(say, "the ingress' process can't go on: %v\n", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, args []string, open Open) error {
	if len(args) != 4 {
		return errors.New("it is started by a server, with a log folder, a state folder, a user and a version")
	}
	uid, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	logs, err := ownFolder(args[0], uid)
	if err != nil {
		return err
	}
	kept, err := ownFolder(args[1], uid)
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
	if err := confine(uid); err != nil {
		return err
	}
	access, err := openAccess(logs)
	if err != nil {
		return err
	}
	authority := open(kept)
	s := newServer(args[3], access, authority)
	done := make(chan struct{})
	go access.flushing(done)
	s.listen(ctx, control)
	s.plugs.end()
	authority.Close()
	close(done)
	access.flush()
	return nil
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

// confine makes the process nobody's: a user that owns nothing, with no right beyond that, for good. It is not to leave its
// memory, with keys in it, behind either.
func confine(uid int) error {
	if os.Geteuid() != 0 {
		return nil // somebody else has confined it: it is asked to be less than it may be, and is already
	}
	const maxMemory = 1 << 30
	debug.SetMemoryLimit(maxMemory)
	for _, set := range []func() error{
		func() error { return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) },
		dropBounding,
		func() error { return syscall.Setgroups(nil) },
		func() error { return syscall.Setgid(uid) },
		func() error { return syscall.Setuid(uid) },
		func() error { return everyThread(unix.PR_SET_NO_NEW_PRIVS, 1) },
		func() error { return everyThread(unix.PR_SET_DUMPABLE, 0) },
	} {
		if err := set(); err != nil {
			return fmt.Errorf("giving up the rights of root: %w", err)
		}
	}
	if syscall.Setuid(0) == nil {
		return errors.New("the rights of root can't be given up")
	}
	return nil
}

// dropBounding takes away all capabilities that a program could ever get.
func dropBounding() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if err := everyThread(unix.PR_CAPBSET_DROP, c); err != nil && !errors.Is(err, unix.EINVAL) { // a kernel that doesn't know it
			return err
		}
	}
	return nil
}

func everyThread(option, value uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, option, value, 0); errno != 0 {
		return errno
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
		go s.talk(conn, stop)
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
