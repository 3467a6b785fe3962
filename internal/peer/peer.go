//go:build linux

// Package peer says which local account is at the other end of a unix socket, by what the kernel knows. Whose account that is, and what it
// may do, it doesn't say.
package peer

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"imx"
)

// Account returns the name of the account at the other end of a connection: that with which whoever is there logged in, which the kernel
// keeps through sudo and su (pam_loginuid(8)), or of a process that nobody's login began, such as a daemon, its user. One that this machine
// has no name for is "uid 1234". It is the process that connected that is asked about, whichever holds the connection by now.
// Errors: Refused where that can't be told, as when that process has ended.
func Account(conn *net.UnixConn) (string, error) {
	p, err := at(conn)
	if err != nil {
		return "", err
	}
	defer p.close()
	uid, err := p.login()
	return name(uid), err
}

// peer is a process that connected, as the kernel noted it then.
type peer struct {
	pid int    // 0 for one that this process can't see, as outside of a container that it is in
	uid uint32 // that it had
	// handle is a pidfd of it; -1 where the kernel has none to give (before Linux 6.5).
	handle int
}

// at asks who connected (SO_PEERCRED and SO_PEERPIDFD of unix(7)).
func at(conn *net.UnixConn) (peer, error) {
	p := peer{handle: -1}
	raw, err := conn.SyscallConn()
	if err != nil {
		return p, unknown(err)
	}
	var creds *unix.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) {
		if creds, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); asked != nil || creds.Pid == 0 {
			return
		}
		p.handle, asked = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD)
		if errors.Is(asked, unix.ENOPROTOOPT) {
			p.handle, asked = -1, nil
		}
	})
	switch err := errors.Join(err, asked); {
	case errors.Is(err, unix.ESRCH): // some kernels give no pidfd of what has ended, others do
		return p, gone(err)
	case err != nil:
		return p, unknown(err)
	}
	p.pid, p.uid = int(creds.Pid), creds.Uid
	return p, nil
}

func (p peer) close() {
	if p.handle >= 0 {
		_ = unix.Close(p.handle)
	}
}

// unset is the login of a process that no login began (audit_setloginuid(3)).
const unset = math.MaxUint32

// login returns the user as whom somebody logged in, or else the process's own.
func (p peer) login() (uint32, error) {
	if p.pid == 0 {
		return p.uid, nil
	}
	// What is read below this folder is the same process's: its number can be another's by now, its folder can't.
	proc, err := os.OpenRoot(fmt.Sprintf("/proc/%d", p.pid))
	if err != nil {
		return 0, gone(err)
	}
	defer func() { _ = proc.Close() }() // it was only read from
	text, err := proc.ReadFile("loginuid")
	if errors.Is(err, fs.ErrNotExist) { // by a kernel without audit, or of a process that has ended
		if _, there := proc.Stat("comm"); there == nil {
			text, err = []byte(strconv.Itoa(unset)), nil
		}
	}
	if err != nil {
		return 0, gone(err)
	}
	if err := p.there(); err != nil {
		return 0, gone(err)
	}
	uid, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	switch {
	case err != nil:
		return 0, unknown(err)
	case uid == unset:
		return p.uid, nil
	}
	return uint32(uid), nil
}

// there makes sure that the number is still that of the process that connected. Where the kernel gives no pidfd, another could have it
// that began between a connection and the look at it.
func (p peer) there() error {
	if p.handle < 0 {
		return nil
	}
	if err := unix.PidfdSendSignal(p.handle, 0, nil, 0); !errors.Is(err, unix.EPERM) {
		return err
	}
	return nil // it is there, for others to end
}

// name is an account's name.
func name(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return "uid " + number
}

func gone(err error) error {
	return imx.Errorf(imx.Refused, "the server can't tell who is asking: the process that connected has ended: %w", err).
		WithHint("let the process that connects to the server's socket ask, and wait for the answer")
}

func unknown(err error) error {
	return imx.Errorf(imx.Refused, "the server can't tell who is asking: %w", err)
}
