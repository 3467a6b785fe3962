package eventlog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// segmentSize is how long a segment grows before the next one begins, in bytes. One batch may
// make it longer.
const segmentSize = 64 << 20

// place is a place between two frames: the index of the next record, the segment (named by its
// first record) and the offset in its file. Offset 0 is before the segment's head.
type place struct {
	index   int64
	segment int64
	offset  int64
}

func segmentPath(dir string, first int64) string {
	return filepath.Join(dir, "records", fmt.Sprintf("%020d.seg", first))
}

func segmentHeader(first int64) []byte {
	return binary.BigEndian.AppendUint64([]byte(segmentMagic), uint64(first)) //nolint:gosec // G115: an index is never negative
}

// segments returns the first indices of the segments, in order.
func segments(dir string) ([]int64, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "records"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []int64
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), ".seg")
		first, err := strconv.ParseInt(digits, 10, 64)
		if ok && err == nil && filepath.Base(segmentPath(dir, first)) == e.Name() {
			list = append(list, first)
		}
	}
	slices.Sort(list)
	return list, nil
}

// damage is where the records stop being readable.
type damage struct {
	index int64    // of the first record that couldn't be read for sure
	found [][]byte // what seems to be the records from there on, as far as they can be told apart
	cause error
}

func (d *damage) Error() string { return d.cause.Error() }
func (d *damage) Unwrap() error { return d.cause }

// frames yields the frames from a place on, through all segments. Where they stop being whole,
// it ends with a *damage; a failing read is any other error.
func frames(dir string, from place) iter.Seq2[frame, error] {
	return func(yield func(frame, error) bool) {
		list, err := segments(dir)
		if err != nil {
			yield(frame{}, err)
			return
		}
		at := from
		for _, first := range list {
			if first < from.segment {
				continue
			}
			if at.offset == 0 || first != at.segment {
				if first != at.index {
					yield(frame{}, &damage{index: at.index, cause: fmt.Errorf("%w: the next segment begins with event %d", errTorn, first)})
					return
				}
				at = place{index: at.index, segment: first}
			}
			if !segmentFrames(dir, &at, yield) {
				return
			}
		}
	}
}

// segmentFrames yields the frames of one segment and moves at behind the last whole one. It
// reports whether to go on with the next segment.
func segmentFrames(dir string, at *place, yield func(frame, error) bool) bool {
	file, err := os.Open(segmentPath(dir, at.segment))
	if err != nil {
		yield(frame{}, err)
		return false
	}
	defer func() { _ = file.Close() }() // it was only read
	r := bufio.NewReaderSize(file, 256<<10)
	if at.offset == 0 {
		head := make([]byte, segmentHead)
		if _, err := io.ReadFull(r, head); err != nil || string(head) != string(segmentHeader(at.segment)) {
			yield(frame{}, &damage{index: at.index, cause: fmt.Errorf("%w: the head of its segment differs", errTorn)})
			return false
		}
		at.offset = segmentHead
	} else if _, err := file.Seek(at.offset, io.SeekStart); err != nil {
		yield(frame{}, err)
		return false
	}
	for {
		f, err := readFrame(r, at.index)
		f.at = *at
		switch {
		case errors.Is(err, io.EOF):
			return true
		case errors.Is(err, errTorn):
			yield(f, &damage{index: at.index, found: f.records, cause: err})
			return false
		case err != nil:
			yield(f, err)
			return false
		}
		*at = f.end()
		if !yield(f, nil) {
			return false
		}
	}
}
