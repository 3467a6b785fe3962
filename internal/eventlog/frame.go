package eventlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// The limits of the format.
const (
	// MaxRecord is the longest record, in bytes.
	MaxRecord = 16 << 20
	// MaxBatch is the most that one Append may hold, in bytes of its frame.
	MaxBatch = 64 << 20

	frameMagic  = "imxb"
	frameHead   = 20 // magic, first index, number of records, length of the payload
	frameTail   = 4  // CRC-32C of payload and head
	recordHead  = 4  // length of the record
	segmentHead = 16 // magic, first index
)

// segmentMagic begins every segment file; its last byte is the format's version.
const segmentMagic = "imxlog\x00\x01"

// frame is one batch of records: all of them are there or none is.
type frame struct {
	at      place // where it begins
	records [][]byte
	size    int64 // in bytes, with head and tail
}

// end is the place behind the frame.
func (f frame) end() place {
	return place{index: f.at.index + int64(len(f.records)), segment: f.at.segment, offset: f.at.offset + f.size}
}

// errTorn is what a frame that isn't whole wraps.
var errTorn = errors.New("the batch isn't whole")

// payload joins records into the payload of a frame.
func payload(records [][]byte) []byte {
	n := 0
	for _, r := range records {
		n += recordHead + len(r)
	}
	b := make([]byte, 0, n)
	for _, r := range records {
		b = binary.BigEndian.AppendUint32(b, uint32(len(r))) //nolint:gosec // G115: Append bounds it by MaxRecord
		b = append(b, r...)
	}
	return b
}

// checksum is the payload's part of a frame's checksum, which can be had before its place is known.
func checksum(payload []byte) uint32 {
	return crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli))
}

// appendFrame adds a frame to b.
func appendFrame(b []byte, first int64, count int, payload []byte, sum uint32) []byte {
	head := append(make([]byte, 0, frameHead), frameMagic...)
	head = binary.BigEndian.AppendUint64(head, uint64(first))        //nolint:gosec // G115: an index is never negative
	head = binary.BigEndian.AppendUint32(head, uint32(count))        //nolint:gosec // G115: MaxBatch bounds it
	head = binary.BigEndian.AppendUint32(head, uint32(len(payload))) //nolint:gosec // G115: MaxBatch bounds it
	sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), head)
	return binary.BigEndian.AppendUint32(append(append(b, head...), payload...), sum)
}

// readFrame reads the frame whose first record has the index first. At the end of r it returns
// io.EOF. A frame that isn't whole gives an error that wraps errTorn, and as many of its records
// as could be told apart.
func readFrame(r io.Reader, first int64) (frame, error) {
	head := make([]byte, frameHead)
	if _, err := io.ReadFull(r, head); err != nil {
		return frame{}, torn(err, "its head is cut short")
	}
	index := binary.BigEndian.Uint64(head[4:])
	count, length := binary.BigEndian.Uint32(head[12:]), binary.BigEndian.Uint32(head[16:])
	switch {
	case string(head[:4]) != frameMagic:
		return frame{}, fmt.Errorf("%w: it doesn't begin as a batch does", errTorn)
	case length > MaxBatch || int64(count)*recordHead > int64(length) || count == 0:
		return frame{}, fmt.Errorf("%w: it can't have %d records in %d bytes", errTorn, count, length)
	}
	body, err := readBody(r, int(length)+frameTail)
	if err != nil {
		records, _ := split(body, int(count))
		return frame{records: records}, err
	}
	sum := binary.BigEndian.Uint32(body[length:])
	body = body[:length:length]
	records, whole := split(body, int(count))
	f := frame{records: records, size: frameHead + int64(length) + frameTail}
	switch {
	case crc32.Update(checksum(body), crc32.MakeTable(crc32.Castagnoli), head) != sum:
		return f, fmt.Errorf("%w: its checksum differs", errTorn)
	case !whole:
		return f, fmt.Errorf("%w: its records don't fill it", errTorn)
	case index != uint64(first): //nolint:gosec // G115: an index is never negative
		return f, fmt.Errorf("%w: it says that it begins with event %d", errTorn, index)
	}
	return f, nil
}

// readBody reads n bytes, without trusting n before so much was there.
func readBody(r io.Reader, n int) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(min(n, 1<<20))
	_, err := io.CopyN(&b, r, int64(n))
	if errors.Is(err, io.EOF) { // there must be more: only before a head may the records end
		err = io.ErrUnexpectedEOF
	}
	return b.Bytes(), torn(err, "it is cut short")
}

// torn tells the end between two frames, io.EOF, and a failing read from a frame cut short.
func torn(err error, what string) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %s", errTorn, what)
	}
	return err
}

// split takes a payload apart, and reports whether it holds exactly count records.
func split(b []byte, count int) ([][]byte, bool) {
	var records [][]byte
	for len(records) < count {
		if len(b) < recordHead {
			return records, false
		}
		n := binary.BigEndian.Uint32(b)
		if b = b[recordHead:]; n > MaxRecord || int64(n) > int64(len(b)) {
			return records, false
		}
		records = append(records, b[:n:n])
		b = b[n:]
	}
	return records, len(b) == 0
}
