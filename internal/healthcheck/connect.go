package healthcheck

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// connect opens a connection to an address of IPv4, as a file whose reads and writes end with ctx. It does what net.Dialer does with
// half of its system calls: a check asks for none of the options that are set there, nor for the names of both ends. The caller
// closes the file, and then calls the function, by which ctx lets go of it.
func connect(ctx context.Context, to netip.AddrPort) (*os.File, func() bool, error) {
	if !to.Addr().Is4() {
		return nil, nil, &os.SyscallError{Syscall: "connect", Err: unix.EAFNOSUPPORT}
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, nil, os.NewSyscallError("socket", err)
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return nil, nil, errors.Join(os.NewSyscallError("connect", err), unix.Close(fd))
	}
	conn := os.NewFile(uintptr(fd), to.String())
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // fails if it is closed already
	if err == nil {
		return conn, stop, nil
	}
	if err := connected(conn); err != nil {
		stop()
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, stop, nil
}

// connected waits until the other end has answered. To an instance of this machine that has mostly happened: the kernel carries
// the packets of both sides before connect returns.
func connected(conn *os.File) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		var done bool
		done, failed = answered(int(fd))
		return done
	})
	return errors.Join(err, failed)
}

// answered reports whether a connection has been made or refused, and how.
func answered(fd int) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}} //nolint:gosec // descriptors fit
	n, err := unix.Poll(fds, 0)
	if errors.Is(err, unix.EINTR) || err == nil && n == 0 {
		return false, nil
	}
	if err != nil {
		return true, os.NewSyscallError("poll", err)
	}
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = syscall.Errno(code)
	}
	return true, os.NewSyscallError("connect", err)
}
