// A result is there whole or not at all: after a dead process, on a full disk, for two who want the same.

package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/build/store"
)

type made struct{ Name string }

func open(tb testing.TB, dir string) *store.Store {
	tb.Helper()
	s, err := store.Open(dir, "things", "folders")
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func write(tb testing.TB, name, text string) {
	tb.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

func names(tb testing.TB, dir string) []string {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestWhatWasRememberedIsRecalledByTheNextProcess(t *testing.T) {
	dir := t.TempDir()
	key := imx.DigestBytes([]byte("all that went into it"))
	if err := open(t, dir).Remember("things", key, made{"it"}); err != nil {
		t.Fatal(err)
	}
	var got, other made
	s := open(t, dir)
	if !s.Recall("things", key, &got) || got.Name != "it" || !s.Has("things", key.Hex()) {
		t.Errorf("recalled %v", got)
	}
	if s.Recall("things", imx.DigestBytes(nil), &other) {
		t.Error("what nobody made was recalled")
	}
}

func TestADamagedResultWasNeverThereAndCanBeMadeAgain(t *testing.T) {
	s := open(t, t.TempDir())
	key := imx.DigestBytes(nil)
	write(t, s.Path("things", key.Hex()), `{"Name": "i`)
	var got made
	if s.Recall("things", key, &got) {
		t.Errorf("recalled %v", got)
	}
	if err := s.Remember("things", key, made{"it"}); err != nil {
		t.Fatal(err)
	}
	if !s.Recall("things", key, &got) {
		t.Error("it isn't there after it was made again")
	}
}

func TestWhatADeadProcessLeftUnfinishedIsRemoved(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	half, _, err := s.Scratch("thing")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(half, "half"), "of it")
	looked := filepath.Join(half, "root") // somebody looks into it by hand, with a mount
	if err := errors.Join(os.Mkdir(looked, 0o700), unix.Mount("tmpfs", looked, "tmpfs", 0, "")); err != nil {
		t.Skipf("this test mounts, which needs root: %v", err)
	}
	open(t, dir)
	if left := names(t, filepath.Join(dir, "tmp")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestFoldersArePublishedTogether(t *testing.T) {
	s := open(t, t.TempDir())
	dir, done, err := s.Scratch("two")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	dirs := map[string]string{"a": filepath.Join(dir, "1"), "b": filepath.Join(dir, "2")}
	for _, d := range dirs {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(d, "file"), "text")
	}
	if err := s.PublishTrees("folders", dirs); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, names(t, s.Path("folders"))); diff != "" {
		t.Error(diff)
	}
}

func TestOnAFullDiskNothingHalfIsThere(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("this test mounts, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s := open(t, dir)
	err := s.Remember("things", imx.DigestBytes(nil), make([]byte, 128<<10))
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("err = %v", err)
	}
	if left := append(names(t, s.Path("things")), names(t, s.Path("tmp"))...); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestARemovedResultIsGoneAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, name := range []string{"old", "other"} {
		if err := os.Mkdir(s.Path("folders", name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, s.Path("folders", name, "file"), "text")
	}
	for range 2 { // what is gone already is no error
		if err := s.Remove("folders", "old"); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"other"}, names(t, s.Path("folders"))); diff != "" {
		t.Error(diff)
	}
	if left := names(t, s.Path("tmp")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestOneAtATimeMakesAThing(t *testing.T) {
	s := open(t, t.TempDir())
	var inside, most atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			unlock, err := s.Lock(t.Context(), "a thing")
			if err != nil {
				t.Error(err)
				return
			}
			most.Store(max(most.Load(), inside.Add(1)))
			inside.Add(-1)
			unlock()
		})
	}
	all.Wait()
	if most.Load() != 1 {
		t.Errorf("%d at once", most.Load())
	}
}

func TestWhoWaitsForAThingCanGiveUp(t *testing.T) {
	s := open(t, t.TempDir())
	unlock, err := s.Lock(t.Context(), "a thing")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	why := errors.New("nobody wants it any more")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := s.Lock(ctx, "a thing"); !errors.Is(err, why) {
		t.Errorf("err = %v", err)
	}
	other, err := s.Lock(t.Context(), "another")
	if err != nil {
		t.Fatal(err)
	}
	other()
}
