// Reading what an image says of itself: links, users, groups. An image is foreign; nothing in it
// may lead out of it.

package local_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/engine/local"
)

func TestLinksOfAnImageStayInside(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"run", "var", "usr/bin"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"var/run": "/run", "bin": "usr/bin", "up": "../../../..", "etc": "/up/../run", "a": "b", "b": "a", "usr/self": ".",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"/":               ".",
		"/var/run/app":    "run/app",
		"/var/run":        "var/run",
		"/var/run/":       "run",
		"/bin/sh":         "usr/bin/sh",
		"/up/etc/passwd":  "run/passwd",
		"/etc/x":          "run/x",
		"/no/../such/dir": "such/dir",
		"/usr/self/bin/":  "usr/bin",
		"/new/thing/":     "new/thing",
	} {
		if got, err := local.Resolve(root, path); err != nil || got != want {
			t.Errorf("%s leads to %q, %v; want %q", path, got, err, want)
		}
	}
	if _, err := local.Resolve(root, "/a/x"); imx.KindOf(err) != imx.Invalid {
		t.Errorf("a circle of links: %v", err)
	}
}

func TestUsersAreThoseOfTheImage(t *testing.T) {
	passwd := strings.Split("root:x:0:0::/root:/bin/sh\nbroken\nwww-data:x:33:33::/var/www:/bin/false\nwww-data:x:1:1::/:/", "\n")
	group := strings.Split("root:x:0:\nwww-data:x:33:\ntls:x:101:www-data,other\n", "\n")
	for user, want := range map[string]local.Identity{
		"":             {UID: 0, GID: 0, Home: "/root"},
		"www-data":     {UID: 33, GID: 33, Groups: []uint32{101}, Home: "/var/www"},
		"33":           {UID: 33, GID: 33, Groups: []uint32{101}, Home: "/var/www"},
		"1000":         {UID: 1000, GID: 1000, Home: "/"},
		"1000:5":       {UID: 1000, GID: 5, Home: "/"},
		"www-data:tls": {UID: 33, GID: 101, Groups: []uint32{101}, Home: "/var/www"},
	} {
		got, err := local.ResolveUser(passwd, group, user)
		if err != nil {
			t.Errorf("%q: %v", user, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", user, diff)
		}
	}
	for _, user := range []string{"nobody", "-1", "4294967296", "root:nobody", "33:-1"} {
		if got, err := local.ResolveUser(passwd, group, user); imx.KindOf(err) != imx.Invalid {
			t.Errorf("%q is %+v, %v", user, got, err)
		}
	}
}

func FuzzAccounts(f *testing.F) {
	f.Add("root:x:0:0::/root:/bin/sh\n", "tls:x:101:root,\n", "root:tls")
	f.Fuzz(func(t *testing.T, passwd, group, user string) {
		got, err := local.ResolveUser(strings.Split(passwd, "\n"), strings.Split(group, "\n"), user)
		if (err != nil) != (imx.KindOf(err) == imx.Invalid) {
			t.Errorf("%q: %v", user, err)
		}
		if err == nil && got.Home == "" {
			t.Errorf("%q has no home: %+v", user, got)
		}
	})
}

func TestOnlyListenersOfThePortCount(t *testing.T) {
	table := `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4243 1 0
   2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4244 1 0
`
	if diff := cmp.Diff([]string{"socket:[4242]"}, local.Listening(strings.NewReader(table), 8080)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
