package corpus_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imx/internal/erofs"
)

// preparations are what has to be done in a copied folder before it is built, by folder: what the template's
// comments tell its user to do.
func preparations() map[string]func(t *testing.T, s *server, folder string) {
	return map[string]func(t *testing.T, s *server, folder string){
		"static-go": compileGo,
		"varnish":   compileVCL,
	}
}

func compileGo(t *testing.T, _ *server, folder string) {
	t.Helper()
	program := filepath.Base(folder)
	run(t, time.Minute, []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(folder, program), "./"+program)
}

// compileVCL has the image's own Varnish write its configuration as C, and compiles that. The first image, built
// for it, has no library yet.
func compileVCL(t *testing.T, s *server, folder string) {
	t.Helper()
	library := filepath.Join(folder, "site.so")
	if err := os.WriteFile(library, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := erofs.Mount(filepath.Join(s.data, "build", "roots", s.build(t, folder).Root.Hex()+".erofs"), root); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := erofs.Unmount(root); err != nil {
			t.Error(err)
		}
	}()
	// The compiler that Varnish is told to call only copies what it was given. So Varnish fails, after that.
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `mount -t tmpfs none "$0/tmp" && mount --bind /dev "$0/dev" &&
		mount --bind "$1" "$0/var/tmp" && exec chroot "$0" /usr/sbin/varnishd -C -j none -n /tmp/work -p "cc_command=cp %s /var/tmp/site.c" -f /etc/varnish/site.vcl`,
		root, folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Unshareflags: unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	source := filepath.Join(folder, "site.c")
	if _, missing := os.Stat(source); missing != nil {
		t.Fatalf("varnishd -C: %v\n%s", err, tail(string(out), 20))
	}
	run(t, time.Minute, nil, "cc", "-shared", "-fpic", "-O2", "-o", library, source)
}
