package eventlog

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"imx"
)

// audit recomputes a log from its records and compares what it finds with the checkpoint and the
// tiles. Opening and verifying a log are both an audit.
type audit struct {
	dir     string
	proven  []imx.Checkpoint // roots that the records must give, at their sizes
	limit   int64            // stop after so many records; -1 means at the end of the last whole batch
	each    func(index int64, record []byte) error
	tree    tree
	end     place   // behind the last whole batch
	index   []place // where batches begin, sparse
	flaws   []flaw
	stopped *damage // where the records stopped being whole
}

// indexStep is how many bytes of a segment there are at least between two places in the index.
const indexStep = 64 << 10

// run reads all the records. It returns a *finding for the first event that is provably not what
// it was, and any other error where the log couldn't be read.
func (a *audit) run() error {
	for f, err := range frames(a.dir, place{}) {
		if errors.As(err, &a.stopped) {
			break
		}
		if err != nil {
			return err
		}
		a.index = appendIndex(a.index, f.at)
		done, err := a.batch(f)
		if err != nil {
			return err
		}
		if done {
			break
		}
		a.end = f.end()
	}
	for _, t := range a.tree.partial() {
		if err := a.inspect(t); err != nil {
			return err
		}
	}
	return a.verdict()
}

func appendIndex(index []place, p place) []place {
	if n := len(index); n > 0 && index[n-1].segment == p.segment && p.offset-index[n-1].offset < indexStep {
		return index
	}
	return append(index, p)
}

// batch takes in the records of a frame, and reports whether the limit was reached.
func (a *audit) batch(f frame) (bool, error) {
	for i, record := range f.records {
		if a.limit >= 0 && a.tree.size >= a.limit {
			return true, nil
		}
		if err := a.each(f.at.index+int64(i), record); err != nil {
			return false, err
		}
		for _, t := range a.tree.add(tlog.RecordHash(record)) {
			if err := a.inspect(t); err != nil {
				return false, err
			}
		}
		if err := a.compare(); err != nil {
			return false, err
		}
	}
	return a.limit >= 0 && a.tree.size >= a.limit, nil
}

// compare looks at the checkpoints of just this size.
func (a *audit) compare() error {
	for _, c := range a.proven {
		if c.Size != a.tree.size || a.tree.root() == rootOf(c) {
			continue
		}
		for _, t := range a.tree.partial() {
			if err := a.inspect(t); err != nil {
				return err
			}
		}
		return &finding{first: a.suspect(0), cause: fmt.Errorf("the first %d records don't give the root of the checkpoint", c.Size)}
	}
	return nil
}

func (a *audit) inspect(t tile) error {
	flaws, err := t.inspect(a.dir)
	a.flaws = append(a.flaws, flaws...)
	return err
}

// finding is a first bad event and what is bad about it.
type finding struct {
	first int64
	cause error
}

func (f *finding) Error() string { return f.cause.Error() }

// suspect is the first event whose hash isn't the one in the tiles, by the lowest tiles that
// differ at all, because those tell exactly; otherwise if none does.
func (a *audit) suspect(otherwise int64) int64 {
	level, first := -1, otherwise
	for _, f := range a.flaws {
		if level < 0 || f.level < level || (f.level == level && f.first < first) {
			level, first = f.level, f.first
		}
	}
	return first
}

// verdict looks at where the records ended.
func (a *audit) verdict() error {
	for _, c := range a.proven {
		if a.tree.size >= c.Size {
			continue
		}
		if a.stopped == nil {
			return &finding{first: a.tree.size, cause: fmt.Errorf("the checkpoint has %d events, there are records of %d", c.Size, a.tree.size)}
		}
		return &finding{first: a.salvage(), cause: a.stopped.cause}
	}
	return nil
}

// salvage is the first record of a damaged batch that isn't the one whose hash is in the tiles.
func (a *audit) salvage() int64 {
	rest := a.tree.clone()
	var tiles []tile
	for _, record := range a.stopped.found {
		tiles = append(tiles, rest.add(tlog.RecordHash(record))...)
	}
	for _, t := range append(tiles, rest.partial()...) {
		if t.level == 0 && a.inspect(t) != nil {
			return a.stopped.index
		}
	}
	return a.suspect(a.stopped.index)
}
