package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process names a process for good: a pid alone may be given to another one later.
type process struct {
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks from boot to its start, field 22 of /proc/pid/stat
}

// identify returns the process that now has the pid. It fails when there is none.
func identify(pid int) (process, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, err
	}
	// The second field is the name in brackets and may hold anything; count from its end.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return process{}, fmt.Errorf("local: /proc/%d/stat has %d fields", pid, len(fields))
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return process{Pid: pid, Start: start}, err
}

// handle is a pidfd: it stands for one process, however long that is dead.
// A nil handle stands for a process that had already gone when it was asked for.
type handle struct{ file *os.File }

// open returns a handle of the process, nil where it has gone.
func (p process) open() (*handle, error) {
	if p.Pid <= 0 {
		return nil, nil
	}
	// Non-blocking, so that the runtime's poller waits for its end and no thread does.
	fd, err := unix.PidfdOpen(p.Pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("local: pidfd of process %d: %w", p.Pid, err)
	}
	h := &handle{os.NewFile(uintptr(fd), "pidfd:"+strconv.Itoa(p.Pid))}
	if now, err := identify(p.Pid); err != nil || now.Start != p.Start {
		return nil, h.file.Close() // the pid is another process's by now
	}
	return h, nil
}

// gone reports whether the process has ended (a zombie has).
func (h *handle) gone() bool {
	if h == nil {
		return true
	}
	gone := false
	err := h.control(func(fd int) error {
		gone = ended(fd)
		return nil
	})
	return gone || err != nil // closed: it belongs to an instance that was taken away
}

// signal sends a signal; to a process that has gone it is no error.
func (h *handle) signal(s unix.Signal) error {
	if h == nil {
		return nil
	}
	err := h.control(func(fd int) error { return unix.PidfdSendSignal(fd, s, nil, 0) })
	if errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// wait returns when the process has ended, the handle is closed or ctx ends.
func (h *handle) wait(ctx context.Context) {
	if h == nil {
		return
	}
	conn, err := h.file.SyscallConn()
	if err != nil || h.file.SetReadDeadline(time.Time{}) != nil {
		return // closed
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = h.file.SetReadDeadline(time.Unix(1, 0)) // fails only if it is closed
		close(stopped)
	})
	_ = conn.Read(func(fd uintptr) bool { return ended(int(fd)) }) // an error means: closed, or time out
	if !stop() {
		<-stopped // or its deadline would hit the next wait
	}
}

func (h *handle) close() {
	if h != nil {
		_ = h.file.Close() // nothing was written
	}
}

func (h *handle) control(f func(fd int) error) error {
	conn, err := h.file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := conn.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// ended polls a pidfd, which gets readable at the process's end.
func ended(fd int) bool {
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // descriptors fit
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}

func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "" // no /proc: equal for all records, so it tells nothing apart
	}
	return strings.TrimSpace(string(id))
}
