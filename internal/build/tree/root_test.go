// A root that is read from outside: nothing in it leads out of it, and what can't be read is no "none".

package tree_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/build/tree"
)

func root(tb testing.TB) (*tree.Root, string) {
	tb.Helper()
	dir := tb.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755), os.Symlink("usr/bin", filepath.Join(dir, "bin"))); err != nil {
		tb.Fatal(err)
	}
	r, err := tree.OpenRoot(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	})
	return r, dir
}

func write(tb testing.TB, name, text string, mode fs.FileMode) {
	tb.Helper()
	if err := errors.Join(os.WriteFile(name, []byte(text), mode), os.Chmod(name, mode)); err != nil {
		tb.Fatal(err)
	}
}

func TestAnItemSaysWhatIsThere(t *testing.T) {
	r, dir := root(t)
	write(t, filepath.Join(dir, "usr/bin/app"), "text", 0o750)
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "usr/bin/out")); err != nil {
		t.Fatal(err)
	}
	app, err := r.Item("usr/bin/app")
	if err != nil {
		t.Fatal(err)
	}
	content, err := app.Content()
	if string(content) != "text" || app.Mode != 0o750 || app.Size != 4 || err != nil {
		t.Errorf("%v has %q, %v", app, content, err)
	}
	for name, want := range map[string]string{"bin/app": "usr/bin/app", "bin/../bin/none": "usr/bin/none", "usr/bin/out": "etc/passwd"} {
		if got, err := r.Resolve(name); got != want || err != nil {
			t.Errorf("%s is %s, %v", name, got, err)
		}
	}
	if got, err := r.Parent("bin/out"); got != "usr/bin/out" || err != nil {
		t.Errorf("bin/out is %s, %v", got, err)
	}
	if !r.Exists("usr/bin/out") || r.Exists("usr/bin/none") {
		t.Error("a link to nowhere isn't there, or what isn't there is")
	}
}

func TestWhatNoImageCanHoldIsRefused(t *testing.T) {
	r, dir := root(t)
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Item("fifo"); imx.KindOf(err) != imx.Refused {
		t.Errorf("err = %v", err)
	}
	if _, err := r.Item("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
}

func TestLinksThatGoRoundAreRefused(t *testing.T) {
	r, dir := root(t)
	if err := errors.Join(os.Symlink("b", filepath.Join(dir, "a")), os.Symlink("a", filepath.Join(dir, "b"))); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Resolve("a/x"); imx.KindOf(err) != imx.Invalid {
		t.Errorf("%s, %v", got, err)
	}
}

// A program that lost its capabilities because nobody could read them would fail in the instance, far
// from here.
func TestCapabilitiesThatCannotBeReadAreAnErrorAndNotNone(t *testing.T) {
	r, dir := root(t)
	write(t, filepath.Join(dir, "app"), "text", 0o755)
	if caps, err := r.Caps("app"); caps != "" || err != nil {
		t.Errorf("%q, %v", caps, err)
	}
	if _, err := r.Caps("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
	raw := []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	if err := unix.Setxattr(filepath.Join(dir, "app"), tree.CapsXattr, raw, 0); err != nil {
		t.Skipf("this test gives capabilities, which needs root: %v", err)
	}
	if caps, err := r.Caps("app"); caps != "0100000200040000000000000000000000000000" || err != nil {
		t.Errorf("%q, %v", caps, err)
	}
}

// broken is a file whose disk fails behind the first bytes.
func broken(text string) *tree.Item {
	it := tree.Text("broken", []byte(text))
	it.Open = func() (io.ReadCloser, error) { return io.NopCloser(failing{}), nil }
	return it
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, unix.EIO }

func TestAFailingDiskIsNoContent(t *testing.T) {
	it, other := broken("text"), tree.Text("other", []byte("text"))
	if _, err := it.Content(); !errors.Is(err, unix.EIO) {
		t.Errorf("err = %v", err)
	}
	for _, pair := range [][2]*tree.Item{{it, other}, {other, it}} {
		if same, err := pair[0].SameContent(pair[1]); same || !errors.Is(err, unix.EIO) {
			t.Errorf("same is %v, %v", same, err)
		}
	}
	if err := (tree.Tree{"broken": it}).Sum(t.Context()); !errors.Is(err, unix.EIO) {
		t.Errorf("err = %v", err)
	}
}

func TestAFileThatIsTooLargeToReadIsRefused(t *testing.T) {
	it := tree.Text("large", nil)
	it.Size = 1 << 30
	if _, err := it.Content(); imx.KindOf(err) != imx.Refused {
		t.Errorf("err = %v", err)
	}
}

func TestAnItemComesWithTheDirectoriesAboveIt(t *testing.T) {
	whole := tree.Tree{}
	for _, name := range []string{"usr", "usr/bin", "etc"} {
		whole[name] = &tree.Item{Path: name, Mode: fs.ModeDir | 0o755}
	}
	whole["usr/bin/app"] = tree.Text("usr/bin/app", nil)
	var got []string
	for _, it := range whole.WithParents(tree.Tree{"usr/bin/app": whole["usr/bin/app"]}) {
		got = append(got, it.Path)
	}
	if diff := cmp.Diff([]string{"usr", "usr/bin", "usr/bin/app"}, got); diff != "" {
		t.Error(diff)
	}
}
