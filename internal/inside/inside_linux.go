// Package inside looks into a running instance from outside: its files, processes and ports, as the kernel shows them
// for its first process. It runs nothing in it and changes nothing.
package inside

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"imx/internal/procs"
)

// Found is a path of an instance.
type Found struct {
	There   bool
	Mode    uint32 // the permissions, with setuid, setgid and sticky bits
	UID     uint32
	Content []byte // of a regular file, its beginning
}

// File looks at a path of the instance whose first process is pid, as its processes see it, and reads at most limit
// bytes of it. No link of the instance leads out of it.
func File(pid int, name string, limit int64) (Found, error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Found{}, gone(err)
	}
	defer unix.Close(root) // nothing is written through it
	fd, err := openIn(root, name, unix.O_PATH)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return Found{}, nil
	}
	if err != nil {
		return Found{}, err
	}
	defer unix.Close(fd) // nothing is written through it
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Found{}, err
	}
	found := Found{There: true, Mode: st.Mode & 0o7777, UID: st.Uid}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return found, nil
	}
	// The very file that was looked at: by its name it could be another by now, a pipe that keeps the reader waiting.
	// O_NONBLOCK, because a lease that a process of the instance holds would do that, too.
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return found, fmt.Errorf("%s can't be read: %w", name, errors.Unwrap(err))
	}
	defer f.Close() // read-only
	found.Content, err = io.ReadAll(io.LimitReader(f, limit))
	return found, err
}

func openIn(root int, name string, flags uint64) (int, error) {
	return unix.Openat2(root, strings.TrimPrefix(path.Clean("/"+name), "/")+dot(name), &unix.OpenHow{
		Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// dot is what stands for the root itself.
func dot(name string) string {
	if path.Clean("/"+name) == "/" {
		return "."
	}
	return ""
}

// Process is a process of an instance.
type Process struct {
	Pid     int    // as the machine counts
	Program string // path of its executable, as the instance sees it
	UID     uint32 // the effective one
}

// Runs reports whether the process runs a program, named by its path or the path's last part. A link to the program
// is a name of it too: many a server is one.
func (p Process) Runs(program string) bool {
	names := []string{program}
	if !strings.HasPrefix(program, "/") {
		if path.Base(p.Program) == program {
			return true
		}
		names = nil
		for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
			names = append(names, path.Join(dir, program))
		}
	}
	var its unix.Stat_t
	if unix.Stat(fmt.Sprintf("/proc/%d/exe", p.Pid), &its) != nil {
		return false
	}
	return slices.ContainsFunc(names, func(name string) bool { return isFile(p.Pid, name, its) })
}

// isFile reports whether a path of a process is a file.
func isFile(pid int, name string, file unix.Stat_t) bool {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(root) // nothing is written through it
	fd, err := openIn(root, name, unix.O_PATH)
	if err != nil {
		return false
	}
	defer unix.Close(fd) // nothing is written through it
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Dev == file.Dev && st.Ino == file.Ino
}

// Processes are those of the instance whose first process is pid, in the order of their numbers. One that ends
// meanwhile is left out, and so is one that has ended and waits to be told of.
func Processes(pid int) ([]Process, error) {
	numbers, err := procs.Together(pid, "pid")
	if err != nil {
		return nil, gone(err)
	}
	var all []Process
	for _, number := range numbers {
		dir := filepath.Join("/proc", strconv.Itoa(number))
		program, err := os.Readlink(filepath.Join(dir, "exe"))
		uid, err2 := uidOf(dir)
		if errors.Join(err, err2) == nil {
			all = append(all, Process{number, program, uid})
		}
	}
	return all, nil
}

func uidOf(dir string) (uint32, error) {
	text, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "Uid:" {
			uid, err := strconv.ParseUint(f[2], 10, 32)
			return uint32(uid), err
		}
	}
	return 0, errors.New("the kernel shows no user of it")
}

// Ending reports whether the process is ending, or gone: from then on it runs nothing any more, though what it started may
// still be killed. It is not of a pid that is none.
func Ending(pid int) bool {
	const exiting = 0x4 // PF_EXITING of the kernel's sched.h
	if pid <= 0 {
		return false
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
	}
	// After the name, which may have anything in it: the state and the flags (proc_pid_stat(5)).
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(f) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(f[6], 10, 64)
	return err == nil && flags&exiting != 0
}

// Listens are the TCP ports that the instance's processes listen on, sorted.
func Listens(pid int) ([]int, error) {
	var ports []int
	for _, table := range []string{"tcp", "tcp6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if errors.Is(err, fs.ErrNotExist) && table == "tcp6" {
			continue
		}
		if err != nil {
			return nil, gone(err)
		}
		found, err := listening(f)
		_ = f.Close() // read-only
		if err != nil {
			return nil, err
		}
		ports = append(ports, found...)
	}
	slices.Sort(ports)
	return slices.Compact(ports), nil
}

// listening reads a table of proc_net_tcp(5).
func listening(r io.Reader) ([]int, error) {
	const listen = "0A"
	var ports []int
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		f := strings.Fields(scanner.Text())
		if len(f) < 4 || f[3] != listen {
			continue
		}
		_, hex, _ := strings.Cut(f[1], ":")
		port, err := strconv.ParseUint(hex, 16, 16)
		if err != nil {
			return nil, fmt.Errorf("the kernel's table of ports: %w", err)
		}
		ports = append(ports, int(port))
	}
	return ports, scanner.Err()
}

// IsUser reports whether a user, by name or number, is the one with a uid in the instance.
func IsUser(pid int, user string, uid uint32) bool {
	return user == strconv.FormatUint(uint64(uid), 10) || user == UserName(pid, uid)
}

// UserName is the instance's name of a uid, or its digits.
func UserName(pid int, uid uint32) string {
	digits := strconv.FormatUint(uint64(uid), 10)
	passwd, err := File(pid, "/etc/passwd", 1<<20)
	if err != nil {
		return digits
	}
	for line := range strings.Lines(string(passwd.Content)) {
		if f := strings.Split(line, ":"); len(f) > 2 && f[2] == digits {
			return f[0]
		}
	}
	return digits
}

func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return errors.New("nothing of it runs any more")
	}
	return err
}
