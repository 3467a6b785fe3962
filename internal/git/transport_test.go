package git_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"imx/internal/git"
)

// bare makes a bare copy of a repository, whose path a server serves.
func (r *remote) bare() string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "shop.git")
	r.git("clone", "--quiet", "--bare", r.dir, path)
	r.git("-C", path, "config", "http.receivepack", "true")
	return path
}

// followed fetches a branch over some transport, and writes a note back.
func followed(t *testing.T, url, commit, bare string) {
	t.Helper()
	repo, err := git.Open(t.Context(), git.Config{Dir: filepath.Join(t.TempDir(), "copy.git"), URL: url, Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if got := fetch(t, repo); got != commit {
		t.Errorf("fetched %s, the branch is at %s", got, commit)
	}
	if err := repo.Note(t.Context(), commit, "success\n"); err != nil {
		t.Error(err)
	}
	out, err := exec.Command("git", "-C", bare, "notes", "--ref=imx", "show", commit).Output()
	if err != nil || strings.TrimSpace(string(out)) != "success" {
		t.Errorf("the note is %q, %v", out, err)
	}
}

func TestABareRepositoryIsFollowedOverAPathAndAFileURL(t *testing.T) {
	r := newRemote(t)
	id := r.commit("one")
	bare := r.bare()
	followed(t, bare, id, bare)
	followed(t, "file://"+bare, id, bare)
}

// serveHTTPS serves a bare repository over https, and returns its address and the file with the certificate.
func serveHTTPS(t *testing.T, bare string) (url, ca string) {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, missing := os.Stat(backend); err != nil || missing != nil {
		t.Skip("git-http-backend isn't there")
	}
	server := httptest.NewTLSServer(&cgi.Handler{
		Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(bare), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
		Logger: log.New(io.Discard, "", 0), // who is stopped, or doesn't trust it, hangs up
	})
	t.Cleanup(server.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	return server.URL + "/" + filepath.Base(bare), ca
}

func TestABareRepositoryIsFollowedOverHTTPS(t *testing.T) {
	r := newRemote(t)
	id := r.commit("one")
	bare := r.bare()
	url, ca := serveHTTPS(t, bare)
	repo, err := git.Open(t.Context(), git.Config{Dir: filepath.Join(t.TempDir(), "copy.git"), URL: url, Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Fetch(t.Context()); err == nil {
		t.Error("a certificate that nobody vouches for is trusted")
	}
	t.Setenv("GIT_SSL_CAINFO", ca)
	followed(t, url, id, bare)
}

func TestABareRepositoryIsFollowedOverSSH(t *testing.T) {
	const sshd = "/usr/sbin/sshd"
	if _, err := os.Stat(sshd); err != nil || os.Geteuid() != 0 {
		t.Skip("this needs sshd, and root to start it")
	}
	r := newRemote(t)
	id := r.commit("one")
	bare := r.bare()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	own, _ := sshKey(t)
	host, _ := sshKey(t)
	port := freePort(t)
	known := filepath.Join(dir, "known_hosts")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	public, err := os.ReadFile(host + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "sshd_config")
	write(config, fmt.Sprintf("Port %d\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s.pub\nPidFile none\nStrictModes no\nUsePAM no\n"+
		"PasswordAuthentication no\nPermitRootLogin prohibit-password\nPermitUserEnvironment no\n", port, host, own))
	write(known, fmt.Sprintf("[127.0.0.1]:%d %s", port, public))
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where its children without rights live
		t.Fatal(err)
	}
	server := exec.Command(sshd, "-D", "-e", "-f", config)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	answers(t, port)
	t.Setenv("GIT_SSH_COMMAND", fmt.Sprintf("ssh -F none -oBatchMode=yes -oIdentitiesOnly=yes -oIdentityAgent=none -i %s -oUserKnownHostsFile=%s", own, known))
	followed(t, fmt.Sprintf("ssh://%s@127.0.0.1:%d%s", me.Username, port, bare), id, bare)
	write(known, "")
	repo, err := git.Open(t.Context(), git.Config{Dir: filepath.Join(dir, "copy.git"), URL: fmt.Sprintf("ssh://%s@127.0.0.1:%d%s", me.Username, port, bare), Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "can't be fetched") {
		t.Errorf("a host that nobody knows: %v", err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, text, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// answers waits until something listens on a port.
func answers(t *testing.T, port int) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = conn.Close()
			return
		}
		<-tick.C
	}
	t.Fatal("sshd doesn't answer")
}
