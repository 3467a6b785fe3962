package daemon

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sys/unix"

	"imx"
)

const (
	collectEvery = 24 * time.Hour   // what nothing needs is removed this often,
	lookEvery    = time.Minute      // and within this time where the disk is nearly full,
	collectAgain = 10 * time.Minute // but there no more often than this
	// hastyGrace is for how long what was just made stays on a disk that is nearly full.
	hastyGrace = time.Hour
	// scarce is which part of the disk, in hundredths, is free at least where there is no hurry.
	scarce = 10
)

// collect removes what nothing needs any more, until ctx ends. A collection that fails is logged and tried again
// when the next is due.
func (s *server) collect(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if s.short() != diskShort {
			s.room.hold()
		}
		req, due := due(time.Since(last), s.short())
		if !due {
			continue
		}
		if _, err := s.Collect(ctx, imx.Server, req, func(imx.Progress) {}); err != nil && ctx.Err() == nil {
			s.logger.LogAttrs(ctx, slog.LevelWarn, "what nothing needs any more couldn't all be removed", slog.Any("error", err))
		}
		last = time.Now()
	}
}

// Collect implements api.Collector: after the images goes what is remembered of them.
func (s *server) Collect(ctx context.Context, by imx.Principal, req imx.CollectRequest, report imx.Report) (imx.Collection, error) {
	done, err := s.pipeline.Collect(ctx, by, req, report)
	if err == nil && !bool(req.DryRun) {
		err = s.scanner.Forget(ctx)
	}
	return done, err
}

// due says whether it is time for a collection so long after the last one, and which.
func due(since time.Duration, disk diskSpace) (imx.CollectRequest, bool) {
	grace := imx.Duration(hastyGrace)
	switch {
	case disk == diskShort && since >= collectAgain:
		return imx.CollectRequest{Grace: &grace}, true
	case since >= collectEvery:
		return imx.CollectRequest{}, true
	}
	return imx.CollectRequest{}, false
}

// diskSpace says whether the disk is nearly full.
type diskSpace int

const (
	diskAmple diskSpace = iota
	diskShort
)

// short looks at the data folder's disk. One that can't be looked at is no reason to hurry.
func (s *server) short() diskSpace {
	var st unix.Statfs_t
	if unix.Statfs(s.data, &st) == nil && st.Blocks > 0 && st.Bavail*100/st.Blocks < scarce {
		return diskShort
	}
	return diskAmple
}

// pushing keeps what a request adds to the registry, or counts on for that, from being collected meanwhile.
func (s *server) pushing(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			leave, err := s.pipeline.Enter(r.Context())
			if err != nil {
				return // the client has gone
			}
			defer leave()
		}
		h.ServeHTTP(w, r)
	})
}
