package eventlog_test

// The reader of records takes bytes that anybody may have written. It must take back just what
// was written, and never more than is there, whatever it is given.

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"imx/internal/eventlog"
)

func FuzzReadFrame(f *testing.F) {
	f.Add(eventlog.Frame(7, []byte("one"), nil, []byte("three")), int64(7))
	f.Add([]byte("imxb"), int64(0))
	f.Add([]byte{}, int64(0))
	f.Fuzz(func(t *testing.T, b []byte, first int64) {
		if first < 0 {
			return
		}
		records, n, err := eventlog.ReadFrame(b, first)
		switch {
		case len(b) == 0:
			if !errors.Is(err, io.EOF) {
				t.Fatalf("nothing gives %v", err)
			}
		case err == nil:
			if again := eventlog.Frame(first, records...); !bytes.Equal(again, b[:n]) {
				t.Fatalf("a frame is read that would be written otherwise")
			}
		case errors.Is(err, io.EOF):
			t.Fatalf("%d bytes are taken for the end", len(b))
		}
		total := 0
		for _, r := range records {
			total += len(r)
		}
		if total > len(b) {
			t.Fatalf("%d bytes of records out of %d", total, len(b))
		}
	})
}

func TestAFrameIsReadAsItWasWrittenAndNoPartOfIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 50), 1, 20).Draw(t, "records")
		first := rapid.Int64Range(0, 1<<50).Draw(t, "first")
		b := eventlog.Frame(first, records...)
		got, n, err := eventlog.ReadFrame(append(bytes.Clone(b), 1, 2, 3), first)
		if err != nil || n != int64(len(b)) || len(got) != len(records) {
			t.Fatalf("%d records in %d bytes, %v", len(got), n, err)
		}
		for i := range got {
			if !bytes.Equal(got[i], records[i]) {
				t.Fatalf("record %d differs", i)
			}
		}
		if _, _, err := eventlog.ReadFrame(b[:rapid.IntRange(1, len(b)-1).Draw(t, "cut")], first); err == nil {
			t.Fatal("a part of a frame is taken for a frame")
		}
		if _, _, err := eventlog.ReadFrame(b, first+1); err == nil {
			t.Fatal("a frame is read in another place than its own")
		}
	})
}

// The tree must be the one of RFC 6962, for which package tlog is the oracle. Its records are the same each time, so that each size is
// tried once.
func TestTheTreeGrowsAsTlogSaysWithTheSameTiles(t *testing.T) {
	sizes := []int64{65_535, 65_536, 65_537, 70_000}
	for n := range int64(601) {
		sizes = append(sizes, n)
	}
	for _, n := range sizes {
		growsAsTlogSays(t, n)
	}
}

func growsAsTlogSays(t *testing.T, n int64) {
	t.Helper()
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var list []tlog.Hash
		for _, i := range indexes {
			list = append(list, stored[i])
		}
		return list, nil
	})
	var tree eventlog.Tree
	tiles := map[string]bool{}
	for i := range n {
		h := tlog.RecordHash([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
		more, err := tlog.StoredHashesForRecordHash(i, h, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
		for _, path := range tree.Add(h) {
			tiles[path] = true
		}
	}
	want, err := tlog.TreeHash(n, reader)
	if err != nil || tree.Root() != want {
		t.Fatalf("root of %d records: %v, want %v, %v", n, tree.Root(), want, err)
	}
	for _, path := range tree.Partial() {
		tiles[path] = true
	}
	for _, want := range tlog.NewTiles(8, 0, n) {
		path := "tile/" + want.Path()[len("tile/8/"):]
		if !tiles[path] {
			t.Fatalf("tile %s is missing", path)
		}
		delete(tiles, path)
	}
	if len(tiles) > 0 {
		t.Fatalf("too many tiles: %v", tiles)
	}
}
