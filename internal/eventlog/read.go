package eventlog

import (
	"context"
	"errors"
	"iter"
	"path/filepath"
	"sort"

	"golang.org/x/mod/sumdb/tlog"

	"imx"
)

// Read yields the records from index from up to, not including, to, or to the end of the log if
// that comes first. A record belongs to the caller. An error ends it: Refused, with the index,
// where a record isn't whole any more.
func (l *Log) Read(from, to int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if from < 0 {
			yield(nil, imx.Errorf(imx.Invalid, "the log begins with event 0: there is no event %d", from))
			return
		}
		to, at := l.find(from, to)
		if from >= to {
			return
		}
		for f, err := range frames(l.dir, at) {
			if err != nil {
				yield(nil, unreadable(err))
				return
			}
			if !f.visit(from, to, yield) || f.end().index >= to {
				return
			}
		}
		yield(nil, damaged(to, errors.New("its records end too early")))
	}
}

// visit yields those of the frame's records that lie between two indices.
func (f frame) visit(from, to int64, yield func([]byte, error) bool) bool {
	for i, record := range f.records {
		if index := f.at.index + int64(i); index >= from && index < to && !yield(record, nil) {
			return false
		}
	}
	return true
}

func unreadable(err error) error {
	if d, ok := errors.AsType[*damage](err); ok {
		return damaged(d.index, d.cause)
	}
	return trouble("reading the log", err)
}

// find returns the last known place at or before an index, and to limited to the log's size.
func (l *Log) find(from, to int64) (int64, place) {
	l.read.RLock()
	defer l.read.RUnlock()
	i := sort.Search(len(l.read.index), func(i int) bool { return l.read.index[i].index > from })
	if i == 0 {
		return min(to, l.read.checkpoint.Size), place{}
	}
	return min(to, l.read.checkpoint.Size), l.read.index[i-1]
}

// Wait returns nil once the log has more than size records. Otherwise it returns ctx's error when
// that ends, or a Conflict when the log is closed.
func (l *Log) Wait(ctx context.Context, size int64) error {
	for {
		l.read.RLock()
		now, grown, closed := l.read.checkpoint.Size, l.read.grown, l.read.closed
		l.read.RUnlock()
		if now > size {
			return nil
		}
		if closed {
			return errClosed()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-grown:
		}
	}
}

// Proof shows that a record is on the log: with it, whoever has the record and trusts the
// checkpoint needs nothing else.
type Proof struct {
	Index      int64            `json:"index"`
	Checkpoint imx.Checkpoint   `json:"checkpoint"`
	Hashes     tlog.RecordProof `json:"hashes"` // RFC 6962, section 2.1.1
}

// Check returns nil if the proof holds for the record, and an error of kind Refused if not. Whose
// key the checkpoint is signed with is for the caller to judge.
func (p Proof) Check(record []byte) error {
	c, err := parseCheckpoint(p.Checkpoint.Note, p.Checkpoint.Key)
	if err == nil {
		err = tlog.CheckRecord(p.Hashes, c.Size, rootOf(c), p.Index, tlog.RecordHash(record))
	}
	if err != nil {
		return imx.Errorf(imx.Refused, "the proof of event %d doesn't hold: %w", p.Index, err)
	}
	return nil
}

// Prove proves that the record with the index is on the log. Errors: NotFound beyond its end,
// Refused where the tiles don't give the checkpoint's root.
func (l *Log) Prove(index int64) (Proof, error) {
	c := l.Checkpoint()
	if index < 0 || index >= c.Size {
		return Proof{}, imx.Errorf(imx.NotFound, "there is no event %d: the log has %d", index, c.Size)
	}
	hashes, err := tlog.ProveRecord(c.Size, index, l.hashes(c))
	if err != nil {
		return Proof{}, damagedTiles(err)
	}
	return Proof{Index: index, Checkpoint: c, Hashes: hashes}, nil
}

// Growth shows that a log only grew between two checkpoints.
type Growth struct {
	From   imx.Checkpoint `json:"from"`
	To     imx.Checkpoint `json:"to"`
	Hashes tlog.TreeProof `json:"hashes"` // RFC 6962, section 2.1.2
}

// Check returns nil if the proof holds, and an error of kind Refused if not.
func (g Growth) Check() error {
	from, err := parseCheckpoint(g.From.Note, g.To.Key)
	if err == nil {
		var to imx.Checkpoint
		if to, err = parseCheckpoint(g.To.Note, g.To.Key); err == nil && from.Size > 0 {
			err = tlog.CheckTree(g.Hashes, to.Size, rootOf(to), from.Size, rootOf(from))
		}
	}
	if err != nil {
		return imx.Errorf(imx.Refused, "the log didn't just grow: %w", err)
	}
	return nil
}

// ProveGrowth proves that the log holds unchanged all that an earlier checkpoint of it covers.
// Errors: Refused for a checkpoint that isn't this log's past.
func (l *Log) ProveGrowth(from imx.Checkpoint) (Growth, error) {
	to := l.Checkpoint()
	old, err := parseCheckpoint(from.Note, to.Key)
	if err != nil {
		return Growth{}, imx.Errorf(imx.Refused, "the earlier checkpoint isn't this log's: %w", err)
	}
	if old.Size > to.Size {
		return Growth{}, imx.Errorf(imx.Refused, "the earlier checkpoint has %d events, the log only %d: it was cut back", old.Size, to.Size)
	}
	g := Growth{From: old, To: to}
	if old.Size > 0 {
		if g.Hashes, err = tlog.ProveTree(to.Size, old.Size, l.hashes(to)); err != nil {
			return Growth{}, damagedTiles(err)
		}
	}
	return g, g.Check()
}

func (l *Log) hashes(c imx.Checkpoint) tlog.HashReader {
	return tlog.TileHashReader(tlog.Tree{N: c.Size, Hash: rootOf(c)}, tileFiles{dir: l.dir})
}

func damagedTiles(err error) error {
	return imx.Errorf(imx.Refused, "the log's hashes aren't as they were written: %w", err).
		WithHint("imx log verify names the file; a restarted server writes it anew from the records")
}

// relative is a path as a person knows it, below the log's folder.
func relative(dir, path string) string {
	if rel, err := filepath.Rel(dir, path); err == nil {
		return rel
	}
	return path
}
