package eventlog

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"imx"
)

// batch is what one Append puts on the log: all of it or nothing.
type batch struct {
	count   int
	payload []byte
	sum     uint32
	hashes  []tlog.Hash

	done  bool // set, like first and err, by whoever commits it, with Log.write held
	first int64
	err   error
}

// queue holds the batches that wait for whoever commits next.
type queue struct {
	sync.Mutex
	waiting []*batch
}

func (q *queue) put(b *batch) {
	q.Lock()
	defer q.Unlock()
	q.waiting = append(q.waiting, b)
}

// take removes batches from the front of the queue, at least one, up to MaxBatch bytes together.
func (q *queue) take() []*batch {
	q.Lock()
	defer q.Unlock()
	n, size := 0, 0
	for n < len(q.waiting) && (n == 0 || size+len(q.waiting[n].payload) <= MaxBatch) {
		size += len(q.waiting[n].payload)
		n++
	}
	taken := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	return taken
}

// Append puts records on the log, all or none, and returns the index of the first. When it
// returns without an error they are on the disk, under a signed checkpoint. It copies them.
// Callers at the same time share one write.
//
// Errors: Invalid for a record longer than MaxRecord or more than MaxBatch together; Exhausted
// where the disk is full; Conflict after Close. After an error none of the records is readable;
// where the disk failed in a way that leaves it open whether they are on it, the log takes no
// more until it is opened again, and says so (Unavailable).
func (l *Log) Append(records ...[]byte) (int64, error) {
	b, err := newBatch(records)
	if err != nil {
		return 0, err
	}
	if b.count == 0 {
		return l.Size(), nil
	}
	l.queue.put(b)
	l.write.Lock()
	defer l.write.Unlock()
	for !b.done { // somebody who came before may have committed it meanwhile
		l.commit(l.queue.take())
	}
	return b.first, b.err
}

func newBatch(records [][]byte) (*batch, error) {
	b := &batch{count: len(records), hashes: make([]tlog.Hash, 0, len(records))}
	size := frameHead + frameTail
	for i, r := range records {
		if len(r) > MaxRecord {
			return nil, imx.Errorf(imx.Invalid, "record %d has %s: a record of the log has at most %s", i, imx.Size(len(r)), imx.Size(MaxRecord))
		}
		if size += recordHead + len(r); size > MaxBatch {
			return nil, imx.Errorf(imx.Invalid, "%d records are more than the %s that can be put on the log at once", len(records), imx.Size(MaxBatch))
		}
		b.hashes = append(b.hashes, tlog.RecordHash(r))
	}
	b.payload = payload(records)
	b.sum = checksum(b.payload)
	return b, nil
}

// commit puts batches on the log with one write, and tells each what became of it.
func (l *Log) commit(batches []*batch) {
	at := l.tail.next(l.tree.size)
	next := l.tree.clone()
	var full []tile
	var places []place
	var data []byte
	if at.offset == 0 {
		data = segmentHeader(at.segment)
	}
	for _, b := range batches {
		b.first = next.size
		places = append(places, place{index: next.size, segment: at.segment, offset: at.offset + int64(len(data))})
		data = appendFrame(data, next.size, b.count, b.payload, b.sum)
		for _, h := range b.hashes {
			full = append(full, next.add(h)...)
		}
	}
	err := l.broken
	if err == nil {
		err = l.store(at, data, next, full)
	}
	if err == nil {
		l.tail.offset = at.offset + int64(len(data))
		l.show(places)
	}
	for _, b := range batches {
		b.done, b.err = true, err
	}
}

// store writes the records, then the tiles, then the checkpoint, and makes next the log's tree.
// Where it fails it takes back what it wrote, or else marks the log as broken.
func (l *Log) store(at place, data []byte, next tree, full []tile) error {
	if err := l.storeRecords(at, data); err != nil {
		return l.undo(at, nil, trouble("appending to the log", err))
	}
	tiles := append(slices.Clone(full), changed(&l.tree, &next)...)
	if err := l.storeTiles(tiles); err != nil {
		return l.undo(at, tiles, trouble("writing the log's hashes", err))
	}
	c, err := sign(l.sign, l.signed.Key, &next, l.now())
	if err != nil {
		return l.undo(at, tiles, err)
	}
	path := checkpointPath(l.dir)
	if err := l.disk.prepare(path, []byte(c.Note), 0o644); err != nil {
		return l.undo(at, tiles, trouble("writing the checkpoint", err))
	}
	if err := l.disk.rename(path+".tmp", path); err != nil {
		err = trouble("writing the checkpoint", err)
		if old, unread := os.ReadFile(checkpointPath(l.dir)); unread != nil || string(old) != l.signed.Note {
			return l.fail(err) // it may be in place: its records must stay
		}
		return l.undo(at, tiles, err)
	}
	if err := l.disk.syncDir(l.dir); err != nil {
		return l.fail(trouble("writing the checkpoint", err)) // which of the two is there is open now
	}
	l.tree, l.signed = next, c
	for _, t := range full {
		_ = l.disk.remove(partials(l.dir, t.level, t.number)) // left behind, they only take space
	}
	return nil
}

// storeRecords writes and syncs the batches, at the start of a new segment if at says so.
func (l *Log) storeRecords(at place, data []byte) error {
	if at.offset > 0 {
		if err := l.disk.writeAll(l.tail.file, data); err != nil {
			return err
		}
		return l.disk.sync(l.tail.file)
	}
	if err := l.tail.begin(l.disk, l.dir, at.segment); err != nil {
		return err
	}
	if err := l.disk.writeAll(l.tail.file, data); err != nil {
		return err
	}
	if err := l.disk.sync(l.tail.file); err != nil {
		return err
	}
	return l.disk.syncDir(filepath.Join(l.dir, "records"))
}

// changed returns the partial tiles of next that aren't those of old.
func changed(old, next *tree) []tile {
	var list []tile
	for _, t := range next.partial() {
		shift := tileHeight * t.level
		if old.size>>shift != next.size>>shift {
			list = append(list, t)
		}
	}
	return list
}

// storeTiles doesn't sync: what a power cut takes is written anew from the records.
func (l *Log) storeTiles(tiles []tile) error {
	for _, t := range tiles {
		if err := l.putTile(t.path(l.dir), t.data()); err != nil {
			return err
		}
	}
	return nil
}

// undo takes back the records and tiles of a commit that failed, and returns why it failed.
func (l *Log) undo(at place, tiles []tile, cause error) error {
	for _, t := range tiles {
		for _, path := range []string{t.path(l.dir), t.path(l.dir) + ".tmp"} {
			if err := l.disk.remove(path); err != nil {
				return l.fail(errors.Join(cause, err))
			}
		}
	}
	if err := l.tail.cut(l.disk, l.dir, at); err != nil {
		return l.fail(errors.Join(cause, err))
	}
	return cause
}

// fail makes the log refuse all that comes: what is on the disk has to be looked at first.
func (l *Log) fail(cause error) error {
	l.broken = imx.Errorf(imx.Unavailable, "the log takes no events any more, because what a failed write left couldn't be taken back: %w", cause).
		WithHint("see to the disk, then start the server again: it looks at what is there")
	return l.broken
}

// show lets readers see what was committed.
func (l *Log) show(places []place) {
	l.read.Lock()
	defer l.read.Unlock()
	l.read.checkpoint = l.signed
	for _, p := range places {
		l.read.index = appendIndex(l.read.index, p)
	}
	close(l.read.grown)
	l.read.grown = make(chan struct{})
}

// tail is the segment that is appended to. Its file is nil while there is none.
type tail struct {
	file    *os.File
	segment int64
	offset  int64 // where the next batch goes
	limit   int64 // a segment this long is followed by another
}

// open opens the segment at the end of the log.
func (t *tail) open(dir string, end place) error {
	if end.offset == 0 {
		return nil
	}
	f, err := os.OpenFile(segmentPath(dir, end.segment), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	t.file, t.segment, t.offset = f, end.segment, end.offset
	_, err = f.Seek(end.offset, io.SeekStart)
	return err
}

// next is where the next batch goes: behind the last one, or at the start of a new segment.
func (t *tail) next(index int64) place {
	if t.file == nil || t.offset >= t.limit {
		return place{index: index, segment: index}
	}
	return place{index: index, segment: t.segment, offset: t.offset}
}

// begin makes the next segment's file the one to write to. The full one's is closed.
func (t *tail) begin(d disk, dir string, first int64) error {
	f, err := d.create(segmentPath(dir, first), 0o640)
	if err != nil {
		return err
	}
	err = t.close()
	t.file, t.segment, t.offset = f, first, 0
	return err
}

// cut takes away what was written from a place on.
func (t *tail) cut(d disk, dir string, at place) error {
	if at.offset > 0 {
		if err := errors.Join(d.truncate(t.file, at.offset), d.sync(t.file)); err != nil {
			return err
		}
		_, err := t.file.Seek(at.offset, io.SeekStart)
		return err
	}
	return errors.Join(t.close(), d.remove(segmentPath(dir, at.segment)), d.syncDir(filepath.Join(dir, "records")))
}

func (t *tail) close() error {
	if t.file == nil {
		return nil
	}
	err := t.file.Close()
	t.file = nil
	return err
}
