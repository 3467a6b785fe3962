//go:build linux

package peer_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"imx"
	"imx/internal/peer"
)

// What a process that connects is told by its environment.
const (
	socketEnv = "IMX_TEST_PEER_SOCKET"
	loginEnv  = "IMX_TEST_PEER_LOGIN" // whom the kernel has as logged in
	userEnv   = "IMX_TEST_PEER_USER"  // as whom it connects
	leaveEnv  = "IMX_TEST_PEER_LEAVE" // it hands the connection to another process, and ends
	askEnv    = "IMX_TEST_PEER_ASK"   // of a process that is connected to: it says who connects
)

func TestMain(m *testing.M) {
	if socket := os.Getenv(socketEnv); socket != "" {
		do := connect
		if os.Getenv(askEnv) != "" {
			do = ask
		}
		if err := do(socket); err != nil {
			_, _ = io.WriteString(os.Stderr, err.Error()+"\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// connect holds a connection until the other end closes it.
func connect(socket string) error {
	if uid, err := strconv.Atoi(os.Getenv(userEnv)); err == nil {
		if err := syscall.Setuid(uid); err != nil {
			return err
		}
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	if os.Getenv(leaveEnv) == "" {
		_, err := io.Copy(io.Discard, conn)
		return err
	}
	f, err := conn.File()
	if err != nil {
		return err
	}
	heir := exec.Command("cat")
	heir.Stdin = f
	return heir.Start()
}

// ask writes to its output that it listens, and then who connected.
func ask(socket string) error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(os.Stdout, "ready\n"); err != nil {
		return err
	}
	conn, err := l.AcceptUnix()
	if err != nil {
		return err
	}
	account, err := peer.Account(conn)
	_, _ = io.WriteString(os.Stdout, account+"\n")
	return err
}

// from is a connection from a process of its own, with what its environment tells it, and that process, which ends with the test.
func from(t *testing.T, env ...string) (*net.UnixConn, *exec.Cmd) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can log somebody else in")
	}
	if err := exec.Command("sh", "-ec", "echo 0 > /proc/self/loginuid").Run(); err != nil {
		t.Skip("this kernel lets nobody log somebody else in:", err)
	}
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // others connect, too
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := os.Chmod(socket, 0o777); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The kernel lets each process set its own login alone, which what it becomes keeps.
	cmd := exec.Command("sh", "-ec", `echo "$`+loginEnv+`" > /proc/self/loginuid; exec "$0"`, self)
	cmd.Env, cmd.Stderr = append(os.Environ(), append(env, socketEnv+"="+socket)...), os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = cmd.Wait()
	})
	return conn, cmd
}

// nameless is a user that no machine has a name for.
const nameless = "1999999999"

const unset = "4294967295"

func TestWhoLoggedInCountsAndElseTheUser(t *testing.T) {
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip("this needs the user nobody")
	}
	for what, c := range map[string]struct{ login, user, want string }{
		"root on a console":                     {unset, "0", "root"},
		"a daemon's user":                       {unset, nobody.Uid, "nobody"},
		"somebody who became root by sudo":      {nobody.Uid, "0", "nobody"},
		"root who became somebody else by su":   {"0", nobody.Uid, "root"},
		"somebody whom this machine can't name": {nameless, "0", "uid " + nameless},
		"a user whom this machine can't name":   {unset, nameless, "uid " + nameless},
	} {
		t.Run(what, func(t *testing.T) {
			conn, _ := from(t, loginEnv+"="+c.login, userEnv+"="+c.user)
			if got, err := peer.Account(conn); err != nil || got != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// A connection that outlives the process that made it is from nobody: else one could connect, hand it on, and be root alone.
func TestAProcessThatHasEndedIsNobody(t *testing.T) {
	conn, cmd := from(t, loginEnv+"=0", leaveEnv+"=yes")
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	got, err := peer.Account(conn)
	if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "the process that connected has ended") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAProcessNumberThatIsAnothersByNowIsNotBelieved(t *testing.T) {
	conn, cmd := from(t, loginEnv+"=0", leaveEnv+"=yes")
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if !peer.Sure(conn) {
		t.Skip("this kernel gives no pidfd of who connected")
	}
	if uid, err := peer.LoginOfAnother(conn, os.Getpid()); imx.KindOf(err) != imx.Refused {
		t.Errorf("got %d, %v: it is the login of another process", uid, err)
	}
}

// From a container that has the server alone in it, nobody who connects can be seen, nor how they logged in.
func TestOfAProcessThatCannotBeSeenTheUserCounts(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a process that sees no other")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	cmd := exec.Command(self)
	cmd.Env, cmd.Stderr = append(os.Environ(), socketEnv+"="+socket, askEnv+"=yes"), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(out)
	if _, err := said.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got, err := said.ReadString('\n'); err != nil || got != "root\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func BenchmarkAccount(b *testing.B) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		b.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "socket")
	conn, err := net.FileConn(f)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := peer.Account(conn.(*net.UnixConn)); err != nil { //nolint:errcheck // it is one
			b.Fatal(err)
		}
	}
	_ = errors.Join(conn.Close(), f.Close(), syscall.Close(fds[1]))
}
