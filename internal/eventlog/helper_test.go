package eventlog_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/eventlog"
)

func clock() time.Time { return time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC) }

// record is the text of the record with an index: no two are alike, and some are empty.
func record(i int) []byte {
	if i%7 == 3 {
		return []byte{}
	}
	return fmt.Appendf(nil, "event %d %s", i, strings.Repeat("x", i*i%50))
}

// memory is a folder in memory, where the machine has one: the faults of disks are simulated, so that what a real one takes for each
// sync and each new name says nothing.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "imx-eventlog-") //nolint:usetesting // t's are on a disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// fill makes a log of n records in batches of some sizes, with segments of 4 KiB, and closes it.
func fill(t *testing.T, dir string, n int) imx.Checkpoint {
	t.Helper()
	log := openSmall(t, dir)
	grow(t, log, n)
	c := log.Checkpoint()
	closeLog(t, log)
	return c
}

func grow(t *testing.T, log *eventlog.Log, n int) {
	t.Helper()
	if err := extend(log, n); err != nil {
		t.Fatal(err)
	}
}

// extend appends records, in batches of one to five, until the log has n.
func extend(log *eventlog.Log, n int) error {
	for i := int(log.Size()); i < n; {
		var batch [][]byte
		for range min(1+i%5, n-i) {
			batch = append(batch, record(i))
			i++
		}
		if _, err := log.Append(batch...); err != nil {
			return err
		}
	}
	return nil
}

func openSmall(t *testing.T, dir string) *eventlog.Log {
	t.Helper()
	log, _, err := eventlog.OpenOn(eventlog.Config{Dir: dir, Now: clock}, 4<<10, eventlog.Sound)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func closeLog(t *testing.T, log *eventlog.Log) {
	t.Helper()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

// contents are all records of a log.
func contents(t *testing.T, log *eventlog.Log) []string {
	t.Helper()
	var list []string
	for r, err := range log.Read(0, log.Size()) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(r))
	}
	return list
}

// check verifies a log's files.
func check(t *testing.T, dir string, earlier ...imx.Checkpoint) imx.LogCheck {
	t.Helper()
	c, err := eventlog.Verify(t.Context(), dir, nil, earlier...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wantGood(t *testing.T, c imx.LogCheck, events int64) {
	t.Helper()
	if c.Bad != nil || c.Error != nil || c.Events != events {
		t.Fatalf("verify: %d events, bad %v, error %v; want %d good ones", c.Events, c.Bad, c.Error, events)
	}
}

func wantBad(t *testing.T, c imx.LogCheck, first int64) {
	t.Helper()
	if c.Bad == nil || *c.Bad != first || c.Error == nil || c.Error.Kind != imx.Refused || c.Events != first {
		t.Fatalf("verify: bad %v, events %d, error %v; want event %d to be the first bad one", deref(c.Bad), c.Events, c.Error, first)
	}
}

func deref(n *int64) any {
	if n == nil {
		return nil
	}
	return *n
}

// files are the paths of all files below a folder, but for the lock, which is no part of the log.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != "lock" {
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// edit changes a file's content.
func edit(t *testing.T, path string, change func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// copyLog copies a log's folder, but for its lock.
func copyLog(t *testing.T, from, to string) {
	t.Helper()
	for _, path := range files(t, from) {
		rel, err := filepath.Rel(from, path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		target := filepath.Join(to, rel)
		if err = errors.Join(err, os.MkdirAll(filepath.Dir(target), 0o750), os.WriteFile(target, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func segmentFiles(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "records", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}
