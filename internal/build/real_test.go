package build_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/erofs/erofstest"
)

// realImages are images of real packages, with a command that shows that they work.
func realImages() map[string]struct {
	spec    imx.ImageSpec
	command []string
	says    string
} {
	type image = struct {
		spec    imx.ImageSpec
		command []string
		says    string
	}
	return map[string]image{
		"web": {
			imx.ImageSpec{Packages: []string{"nginx-light"}, User: "www-data"},
			[]string{"/usr/sbin/nginx", "-t"},
			"test is successful",
		},
		"store": {
			imx.ImageSpec{Packages: []string{"redis-server"}, User: "redis"},
			[]string{"/usr/bin/redis-server", "--version"},
			"Redis server v=",
		},
		"app": {
			imx.ImageSpec{Packages: []string{"python3-minimal", "python3-redis", "ca-certificates"}, User: "nobody"},
			[]string{"/usr/bin/python3", "-c", "import redis, ssl; print(len(ssl.create_default_context().get_ca_certs()) > 100)"},
			"True",
		},
	}
}

func TestImagesOfRealPackagesWorkAndHaveNothingThatWasNotAskedFor(t *testing.T) {
	w, b := host(t)
	for name, image := range realImages() {
		image.spec.Name = name
		res := run(t, b, w.planned(t, image.spec))
		t.Logf("%+v", res.Image)
		root := erofstest.Mounted(t, b, res.Image.Digest)
		if said := chrooted(t, root, image.command...); !strings.Contains(said, image.says) {
			t.Errorf("%s: %v says %q", name, image.command, said)
		}
		for _, p := range erofstest.Paths(t, root) {
			info, err := os.Lstat(filepath.Join(root, p))
			if err != nil {
				t.Fatal(err)
			}
			base := filepath.Base(p)
			if info.Mode().IsRegular() && info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
				t.Errorf("%s: %s is %s", name, p, info.Mode())
			}
			if !info.IsDir() && slices.Contains([]string{"sh", "bash", "dash", "dpkg", "apt", "apt-get", "shadow", "machine-id"}, base) || strings.HasSuffix(p, ".pyc") {
				t.Errorf("%s has %s", name, p)
			}
		}
	}
}

// chrooted runs a command in an image's root, with the writable folders that an engine provides.
func chrooted(tb testing.TB, root string, command ...string) string {
	tb.Helper()
	script := `for d in run tmp dev var/log var/lib/nginx; do test -d "$0/$d" && mount -t tmpfs none "$0/$d"; done; mkdir -p "$0/var/log/nginx"; touch "$0/dev/null"; exec chroot "$0" "$@"`
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, root}, command...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Unshareflags: unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Errorf("%v: %v\n%s", command, err, out)
	}
	return string(out)
}
