// These tests are here because whoever has a server's keys speaks for it, and a server without them can state nothing:
// they must be sealed, whole, and their loss must say what to do.
package keyring_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"imx"
	"imx/internal/keyring"
)

// folder has the places of sealed keys and of an identity.
type folder struct{ keys, identity string }

func newFolder(t *testing.T) folder {
	t.Helper()
	dir := t.TempDir()
	return folder{filepath.Join(dir, "keys"), filepath.Join(dir, "identity")}
}

func (f folder) open(t *testing.T) *keyring.Files {
	t.Helper()
	s, err := keyring.OpenFiles(f.keys, f.identity)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func made(t *testing.T, s keyring.Store, role imx.Role) crypto.Signer {
	t.Helper()
	k, err := s.Make(role)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func stored(t *testing.T, s keyring.Store, role imx.Role) []crypto.Signer {
	t.Helper()
	keys, err := s.Keys(role)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func same(a, b crypto.Signer) bool {
	k, ok := a.Public().(*ecdsa.PublicKey)
	return ok && k.Equal(b.Public())
}

func TestKeysAreThereAgainAfterAStart(t *testing.T) {
	f := newFolder(t)
	first := f.open(t)
	if got := stored(t, first, imx.RoleBuilder); len(got) != 0 {
		t.Errorf("at first there are %d keys", len(got))
	}
	builder, tester := made(t, first, imx.RoleBuilder), made(t, first, imx.RoleTester)
	again := f.open(t)
	if got := stored(t, again, imx.RoleBuilder); len(got) != 1 || !same(got[0], builder) || same(got[0], tester) {
		t.Errorf("the builder has %d keys, or another's", len(got))
	}
	if k, ok := builder.Public().(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() {
		t.Errorf("it is %T", builder.Public())
	}
	renewed := made(t, again, imx.RoleBuilder)
	if got := stored(t, f.open(t), imx.RoleBuilder); len(got) != 1 || !same(got[0], renewed) {
		t.Errorf("after a new one the builder has %d keys, or another", len(got))
	}
}

func TestNothingOfAKeyIsReadableWithoutTheIdentity(t *testing.T) {
	f := newFolder(t)
	made(t, f.open(t), imx.RoleBuilder)
	err := filepath.WalkDir(filepath.Dir(f.keys), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if st.Mode().Perm() != 0o600 || bytes.Contains(b, []byte("PRIVATE KEY")) || bytes.Contains(b, []byte("AGE-SECRET-KEY")) != (path == f.identity) {
			t.Errorf("%s: mode %s, %q", path, st.Mode(), b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatCannotBeOpenedSaysWhatToDo(t *testing.T) {
	flip := func(path string, at int) error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[len(b)-at] ^= 1
		return os.WriteFile(path, b, 0o600)
	}
	for what, c := range map[string]struct {
		harm func(f folder) error
		says string
		hint string
	}{
		"a lost identity":    {func(f folder) error { return os.Remove(f.identity) }, "isn't there", "from a backup"},
		"another identity":   {func(f folder) error { return os.Remove(f.identity) }, "isn't there", "--identity"},
		"a damaged identity": {func(f folder) error { return flip(f.identity, 5) }, "holds no age identity", "from a backup"},
		"an empty identity":  {func(f folder) error { return os.Truncate(f.identity, 0) }, "holds no age identity", "from a backup"},
		"an open identity":   {func(f folder) error { return os.Chmod(f.identity, 0o644) }, "may be read by others", "chmod 600"},
		"a damaged key":      {func(f folder) error { return flip(filepath.Join(f.keys, "builder.age"), 5) }, "can't be opened", "from a backup"},
		"half a key":         {func(f folder) error { return os.Truncate(filepath.Join(f.keys, "builder.age"), 200) }, "can't be opened", "from a backup"},
		"a huge file":        {func(f folder) error { return os.Truncate(filepath.Join(f.keys, "builder.age"), 1<<20) }, "larger than any", "isn't one that imx wrote"},
	} {
		t.Run(what, func(t *testing.T) {
			f := newFolder(t)
			made(t, f.open(t), imx.RoleBuilder)
			if err := c.harm(f); err != nil {
				t.Fatal(err)
			}
			s, err := keyring.OpenFiles(f.keys, f.identity)
			if err == nil {
				_, err = s.Keys(imx.RoleBuilder)
			}
			if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), c.says) || !strings.Contains(imx.AsError(err).Hint, c.hint) {
				t.Errorf("err = %v (%s)", err, imx.AsError(err).Hint)
			}
		})
	}
}

func TestKeysOfAnotherIdentityAreRefused(t *testing.T) {
	f, other := newFolder(t), newFolder(t)
	made(t, f.open(t), imx.RoleBuilder)
	other.open(t)
	s, err := keyring.OpenFiles(f.keys, other.identity)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Keys(imx.RoleBuilder); imx.KindOf(err) != imx.Refused {
		t.Errorf("err = %v", err)
	}
}

func TestAFullDiskLeavesTheKeyThatWasThere(t *testing.T) {
	f := newFolder(t)
	if err := os.MkdirAll(f.keys, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", f.keys, "tmpfs", 0, "size=8k"); err != nil {
		t.Skipf("this test mounts a tmpfs of 8 KiB, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(f.keys, 0); err != nil {
			t.Error(err)
		}
	})
	s := f.open(t)
	before := made(t, s, imx.RoleBuilder)
	if err := os.WriteFile(filepath.Join(f.keys, "filler"), make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Make(imx.RoleBuilder); imx.KindOf(err) != imx.Exhausted {
		t.Errorf("err = %v", err)
	}
	if got := stored(t, s, imx.RoleBuilder); len(got) != 1 || !same(got[0], before) {
		t.Error("the key that was there is gone")
	}
}

func TestWhatADeadProcessLeftIsRemoved(t *testing.T) {
	f := newFolder(t)
	f.open(t)
	left := filepath.Join(f.keys, ".new-123")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.open(t)
	names, err := os.ReadDir(f.keys)
	if err != nil || slices.ContainsFunc(names, func(e os.DirEntry) bool { return e.Name() == ".new-123" }) {
		t.Errorf("%v, %v", names, err)
	}
}
