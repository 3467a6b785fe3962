// These tests let the kernel judge: every image is really mounted and read back, because an image
// that only its own writer understands is worth nothing.
package erofs_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/erofs"
)

var epoch = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

func file(p string, mode fs.FileMode, text string) erofs.Entry {
	return erofs.Entry{Path: p, Mode: mode, Size: int64(len(text)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text)), nil
	}}
}

func write(tb testing.TB, entries []erofs.Entry) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "image")
	f, err := os.Create(name)
	if err != nil {
		tb.Fatal(err)
	}
	if err := errors.Join(erofs.Write(f, entries, epoch), f.Close()); err != nil {
		tb.Fatal(err)
	}
	return name
}

func mount(tb testing.TB, image string, by func(image, target string) error) string {
	tb.Helper()
	if os.Getuid() != 0 {
		tb.Skip("mounting needs root")
	}
	target := tb.TempDir()
	if err := by(image, target); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := erofs.Unmount(target); err != nil {
			tb.Error(err)
		}
	})
	return target
}

// seen is what can be read of one path, from an entry or from a mounted image.
type seen struct {
	Mode     fs.FileMode
	UID, GID int
	Links    int
	Time     int64
	Link     string
	Sum      [32]byte
	Xattrs   map[string]string
}

func look(tb testing.TB, root string) map[string]seen {
	tb.Helper()
	all := map[string]seen{}
	err := filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		info, err := os.Lstat(p)
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return errors.ErrUnsupported
		}
		s := seen{Mode: info.Mode(), UID: int(st.Uid), GID: int(st.Gid), Links: int(st.Nlink), Time: info.ModTime().Unix()}
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			s.Sum = sha256.Sum256(data)
		case info.Mode()&fs.ModeSymlink != 0:
			if s.Link, err = os.Readlink(p); err != nil {
				return err
			}
		}
		s.Xattrs = xattrs(p)
		all[rel] = s
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

func xattrs(p string) map[string]string {
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(p, buf)
	if err != nil || n == 0 {
		return nil
	}
	all := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		value := make([]byte, 4096)
		m, _ := unix.Lgetxattr(p, name, value)
		all[name] = string(value[:m])
	}
	return all
}

func content(tb testing.TB, e erofs.Entry) []byte {
	tb.Helper()
	if e.Size == 0 {
		return nil
	}
	r, err := e.Open()
	if err != nil {
		tb.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// meant is what look should find of the entries, with the parents that Write makes.
func meant(tb testing.TB, entries []erofs.Entry) map[string]seen {
	tb.Helper()
	all := map[string]seen{".": {Mode: fs.ModeDir | 0o755}}
	for _, e := range entries {
		for p := path.Dir(e.Path); p != "."; p = path.Dir(p) {
			if _, ok := all[p]; !ok {
				all[p] = seen{Mode: fs.ModeDir | 0o755}
			}
		}
	}
	for _, e := range entries {
		s := seen{Mode: e.Mode, UID: e.UID, GID: e.GID, Xattrs: e.Xattrs, Link: e.Link}
		if e.Mode.IsRegular() {
			s.Sum = sha256.Sum256(content(tb, e))
		}
		if e.Mode&fs.ModeSymlink != 0 {
			s.Mode = fs.ModeSymlink | 0o777
		}
		if !e.Time.IsZero() {
			s.Time = e.Time.Unix()
		}
		all[e.Path] = s
	}
	for p, s := range all {
		if s.Links = 1; s.Time == 0 {
			s.Time = epoch.Unix()
		}
		if s.Mode.IsDir() {
			s.Links = 2
			for q, child := range all {
				if q != "." && path.Dir(q) == p && child.Mode.IsDir() {
					s.Links++
				}
			}
		}
		all[p] = s
	}
	return all
}

func TestAMountedImageHoldsWhatWasWritten(t *testing.T) {
	entries := []erofs.Entry{
		{Path: "etc", Mode: fs.ModeDir | 0o750, GID: 42},
		file("etc/passwd", 0o644, "root:x:0:0\n"),
		file("etc/empty", 0o600, ""),
		{Path: "etc/old", Mode: fs.ModeDir | 0o755, Time: time.Unix(1_000_000_000, 0)},
		file("usr/bin/su", 0o755|fs.ModeSetuid, strings.Repeat("binary", 5000)),
		{Path: "bin", Mode: fs.ModeSymlink | 0o777, Link: "usr/bin"},
		{Path: "tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		{Path: "srv/deep/er", Mode: fs.ModeDir | 0o700, UID: 100000, GID: 100001},
		{
			Path: "srv/capable", Mode: 0o755, Size: 1, Xattrs: map[string]string{"user.note": "seen", "security.imx": "x"},
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("!")), nil },
		},
	}
	image := write(t, entries)
	for name, by := range map[string]func(image, target string) error{"by file": erofs.Mount, "by loop device": erofs.MountFlat} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat("/dev/loop-control"); err != nil && name == "by loop device" {
				t.Skip("no loop devices here")
			}
			if diff := cmp.Diff(meant(t, entries), look(t, mount(t, image, by))); diff != "" {
				t.Errorf("written (-), mounted (+):\n%s", diff)
			}
		})
	}
}

func TestAMountIsReadOnlyAndUnmountingTwiceIsFine(t *testing.T) {
	root := mount(t, write(t, []erofs.Entry{file("a", 0o644, "a")}), erofs.Mount)
	if err := os.WriteFile(filepath.Join(root, "a"), []byte("b"), 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing into the mount: %v", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		t.Fatal(err)
	}
	if want := int64(unix.ST_RDONLY | unix.ST_NODEV | unix.ST_NOSUID); st.Flags&want != want {
		t.Errorf("mount flags %#x lack some of %#x", st.Flags, want)
	}
	for range 2 {
		if err := erofs.Unmount(root); err != nil {
			t.Error(err)
		}
	}
}

func TestAnyTreeInAnyOrderGivesTheSameImageAndTheKernelReadsItBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		entries := draw(rt)
		image := write(t, entries)
		first, err := os.ReadFile(image)
		if err != nil {
			rt.Fatal(err)
		}
		shuffled := slices.Clone(entries)
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		second, err := os.ReadFile(write(t, shuffled))
		if err != nil {
			rt.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			rt.Fatal("another order of the entries gave other bytes")
		}
		if os.Getuid() != 0 {
			return
		}
		target := t.TempDir()
		if err := erofs.Mount(image, target); err != nil {
			rt.Fatal(err)
		}
		got := look(t, target)
		if err := erofs.Unmount(target); err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(meant(t, entries), got); diff != "" {
			rt.Fatalf("written (-), mounted (+):\n%s", diff)
		}
	})
}

// draw makes a tree whose sizes lie around EROFS's borders: inline or not, one block or several,
// directories of more than one block.
func draw(t *rapid.T) []erofs.Entry {
	name := rapid.StringMatching(`[a-c]{1,2}|[a-z.]{1,200}[z]|ä|\x01`)
	dirs := rapid.SliceOfNDistinct(name, 0, 4, rapid.ID).Draw(t, "dirs")
	all := map[string]erofs.Entry{}
	for i := range rapid.IntRange(0, 60).Draw(t, "entries") {
		p := name.Draw(t, "name")
		if len(dirs) > 0 && rapid.Bool().Draw(t, "below") {
			p = path.Join(rapid.SampledFrom(dirs).Draw(t, "dir"), p)
		}
		if slices.Contains(dirs, p) {
			continue
		}
		e := erofs.Entry{Path: p, UID: rapid.SampledFrom([]int{0, 33, 65534, 70000}).Draw(t, "uid"), GID: i}
		if rapid.Bool().Draw(t, "dated") {
			e.Time = time.Unix(rapid.SampledFrom([]int64{1, epoch.Unix(), 1 << 33}).Draw(t, "time"), 0)
		}
		perm := fs.FileMode(rapid.Uint32Range(0, 0o777).Draw(t, "perm"))
		switch rapid.IntRange(0, 5).Draw(t, "type") {
		case 0:
			e.Mode, e.Link = fs.ModeSymlink|0o777, rapid.StringMatching(`[a-z/]{1,300}`).Draw(t, "link")
		case 1:
			e.Mode = fs.ModeDir | perm
		default:
			size := rapid.SampledFrom([]int{0, 1, 100, 4000, 4032, 4064, 4095, 4096, 4097, 9000}).Draw(t, "size")
			text := strings.Repeat(string(rune('a'+i%26)), size)
			f := file(p, perm, text)
			e.Mode, e.Size, e.Open = f.Mode, f.Size, f.Open
			if rapid.Bool().Draw(t, "xattr") {
				e.Xattrs = map[string]string{"user.a": strings.Repeat("v", i), "security.b": ""}
			}
		}
		all[p] = e
	}
	return slices.Collect(maps.Values(all))
}

func TestATreeThatMakesNoSenseIsRefused(t *testing.T) {
	tests := map[string][]erofs.Entry{
		`"a" is there twice`:                {file("a", 0o644, ""), file("a", 0o644, "")},
		`"a/b" lies below "a"`:              {file("a", 0o644, ""), file("a/b", 0o644, "")},
		`path "../a" is not clean`:          {file("../a", 0o644, "")},
		`path "/a" is not clean`:            {file("/a", 0o644, "")},
		`path "a/" is not clean`:            {file("a/", 0o644, "")},
		`the root is not a directory`:       {file(".", 0o644, "")},
		`"a" is of type`:                    {{Path: "a", Mode: fs.ModeNamedPipe}},
		`symbolic link to ""`:               {{Path: "a", Mode: fs.ModeSymlink}},
		`before 1970`:                       {{Path: "a", Mode: fs.ModeDir, Time: time.Unix(-1, 0)}},
		`has the owner -1:0`:                {{Path: "a", Mode: fs.ModeDir, UID: -1}},
		`no content`:                        {{Path: "a", Size: 1}},
		`has more than 255 bytes`:           {file(strings.Repeat("a", 256), 0o644, "")},
		`the extended attribute "system.x"`: {{Path: "a", Mode: fs.ModeDir, Xattrs: map[string]string{"system.x": ""}}},
	}
	for want, entries := range tests {
		t.Run(want, func(t *testing.T) {
			err := erofs.Write(&nowhere{}, entries, epoch)
			if imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v of kind %q, want one of kind invalid with %q", err, imx.KindOf(err), want)
			}
		})
	}
}

// nowhere panics when anything is written to it.
type nowhere struct{ io.WriteSeeker }

func TestContentOfAnotherLengthThanSaidFailsTheImage(t *testing.T) {
	for _, size := range []int64{1, 2, 4, 5, 5000} {
		e := file("a", 0o644, "abc")
		e.Size = size
		f, err := os.Create(filepath.Join(t.TempDir(), "image"))
		if err != nil {
			t.Fatal(err)
		}
		if err := erofs.Write(f, []erofs.Entry{e}, epoch); err == nil {
			t.Errorf("3 bytes passed for %d", size)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFailureOfTheDiskOrOfAFileComesThrough(t *testing.T) {
	broken := errors.New("broken")
	e := erofs.Entry{Path: "a", Size: 10000, Open: func() (io.ReadCloser, error) { return nil, broken }}
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := erofs.Write(f, []erofs.Entry{e}, epoch); !errors.Is(err, broken) {
		t.Errorf("error %v, want that of the file", err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	if err := erofs.Write(full, []erofs.Entry{file("a", 0o644, "a")}, epoch); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("error %v, want ENOSPC", err)
	}
}

func TestMountingSaysWhatIsMissing(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	if err := erofs.Mount(missing, t.TempDir()); imx.KindOf(err) != imx.NotFound {
		t.Errorf("mounting a missing image: %v", err)
	}
	if err := erofs.Unmount(missing); err != nil {
		t.Errorf("unmounting what isn't there: %v", err)
	}
}
