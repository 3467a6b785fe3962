package daemon

import (
	"context"
	"log/slog"
	"path/filepath"

	"imx"
	"imx/internal/admission"
	"imx/internal/disk"
	"imx/internal/engine"
	"imx/internal/eventlog"
)

const (
	reserveFile = "reserve"
	// reserveSize is room for the records of dozens of instances and hundreds of events: a rollback's, and what heals.
	reserveSize imx.Size = 2 << 20
)

// room keeps a part of the data folder's disk for what must go on when that is full: the log, and what the loop has the engine do.
type room struct {
	*disk.Reserve

	logger *slog.Logger
}

func newRoom(data string, logger *slog.Logger) *room {
	r := &room{disk.NewReserve(filepath.Join(data, reserveFile), reserveSize), logger}
	r.hold()
	return r
}

// hold keeps the room, if there is any.
func (r *room) hold() {
	if err := r.Hold(); err != nil {
		r.logger.Warn("the disk is full: what is kept for a rollback can't be", slog.Any("error", err))
	}
}

// made gives the room up for what failed because the disk is full, and reports whether to try that again.
func (r *room) made(err error) bool {
	if imx.KindOf(err) != imx.Exhausted || !r.Spend() {
		return false
	}
	r.logger.Warn("the disk is full: what was kept for that is given up", slog.Any("error", err))
	return true
}

// mode says for `imx status` that the room is gone.
func (r *room) mode() []string {
	if r.Held() {
		return nil
	}
	return []string{"the disk is full, and what was kept for a rollback is in use: free some space"}
}

// roomyLog is a log that may use the room.
type roomyLog struct {
	*eventlog.Log

	room *room
}

// Append implements control.Log.
func (l roomyLog) Append(records ...[]byte) (int64, error) {
	at, err := l.Log.Append(records...)
	if l.room.made(err) {
		return l.Log.Append(records...)
	}
	return at, err
}

// roomyEngine is an engine that may use the room.
type roomyEngine struct {
	engine.Engine

	room *room
}

// Scale implements engine.Runner.
func (e roomyEngine) Scale(ctx context.Context, p admission.Pass, r imx.Release, n int) error {
	return e.twice(func() error { return e.Engine.Scale(ctx, p, r, n) })
}

// Route implements engine.Engine.
func (e roomyEngine) Route(ctx context.Context, r engine.Route) error {
	return e.twice(func() error { return e.Engine.Route(ctx, r) })
}

// Keep implements engine.Engine.
func (e roomyEngine) Keep(ctx context.Context, r imx.Release, n int) error {
	return e.twice(func() error { return e.Engine.Keep(ctx, r, n) })
}

func (e roomyEngine) twice(do func() error) error {
	err := do()
	if e.room.made(err) {
		return do()
	}
	return err
}
