package eventlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"imx"
)

// Verify checks a log by its files alone, also while a server appends to it: it recomputes every
// hash from the records and compares it with the tiles and with the signed checkpoint. each, if
// not nil, gets the records in order; they are proved only once Verify has returned without a bad
// event. An error of each ends it and is returned.
//
// Records and tiles that were rewritten together with the key's own checkpoint, or cut back to an
// older one, agree with each other: only a checkpoint that was kept elsewhere tells. Those given
// as earlier must be the log's own, and it must have grown from each.
//
// What is bad about the log stands in the LogCheck, with the first bad event. The error is of kind
// NotFound where there is no log, and for a log that can't be read.
func Verify(ctx context.Context, dir string, each func(index int64, record []byte) error, earlier ...imx.Checkpoint) (imx.LogCheck, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return imx.LogCheck{}, imx.Errorf(imx.NotFound, "there is no log in %s", dir)
	}
	key, public, err := publicKey(dir)
	if err != nil {
		return bad(imx.LogCheck{}, 0, err), nil
	}
	if _, err := signer(dir, public); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
		return bad(imx.LogCheck{}, 0, err), nil
	}
	now, err := readCheckpoint(dir, key)
	if err != nil {
		return bad(imx.LogCheck{}, 0, fmt.Errorf("its checkpoint: %w", err)), nil
	}
	visit := func(index int64, record []byte) error {
		if each == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		return each(index, record)
	}
	a := &audit{dir: dir, limit: now.Size, each: visit, proven: []imx.Checkpoint{now}}
	check := imx.LogCheck{Checkpoint: now}
	for _, c := range earlier {
		c, err := parseCheckpoint(c.Note, key)
		if err != nil {
			return bad(check, 0, fmt.Errorf("the earlier checkpoint isn't this log's: %w", err)), nil
		}
		a.proven = append(a.proven, c)
	}
	return conclude(check, a, a.run())
}

// conclude turns what an audit found into a LogCheck.
func conclude(check imx.LogCheck, a *audit, err error) (imx.LogCheck, error) {
	if f, ok := errors.AsType[*finding](err); ok {
		return bad(check, f.first, f.cause), nil
	}
	if err != nil {
		return check, err
	}
	if len(a.flaws) > 0 {
		worst := a.flaws[0]
		for _, f := range a.flaws {
			if f.first < worst.first {
				worst = f
			}
		}
		name := relative(a.dir, worst.path)
		return bad(check, worst.first, fmt.Errorf("the hashes in %s: %s", name, worst.why)), nil
	}
	check.Events = a.tree.size
	return check, nil
}

// bad is the check of a log whose events before first are good.
func bad(check imx.LogCheck, first int64, cause error) imx.LogCheck {
	check.Events, check.Bad, check.Error = first, &first, damaged(first, cause)
	return check
}
