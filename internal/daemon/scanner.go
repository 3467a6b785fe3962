package daemon

import (
	"context"
	"path/filepath"
	"time"

	"imx"
	"imx/internal/archive"
	"imx/internal/feed"
	"imx/internal/scan"
)

// openScanner opens the feeds, and joins them with what images have in them and what runs.
func (s *server) openScanner(debs *archive.Archive) error {
	dir := filepath.Join(s.data, feedFolder)
	feeds, err := feed.Open(dir, time.Now)
	if err != nil {
		return err
	}
	known, err := feed.OpenImages(dir)
	if err != nil {
		return err
	}
	s.scanner = scan.New(scan.Config{
		Feeds: feeds, Known: known, Client: feed.NewClient(), Evidence: s.attester, Version: s.version, Now: time.Now, Log: s.logger,
		Server: scan.Server{
			State: func(at time.Time) (*imx.State, error) {
				if at.IsZero() {
					return s.control.State(), nil
				}
				return s.control.At(at)
			},
			Images: func(ctx context.Context, at time.Time) ([]imx.ImageView, error) {
				if at.IsZero() {
					return s.pipeline.Images(ctx)
				}
				return s.pipeline.ImagesAt(at)
			},
			Image: s.pipeline.Image, Pids: s.pids, KeepFeed: s.control.KeepFeed, RemoveFeed: s.control.RemoveFeed,
		},
		Archives: debs.Declared,
		Index: func(ctx context.Context, decl imx.Archive, report imx.Report) (archive.Snapshot, error) {
			return s.pipeline.Index(ctx, imx.Server, decl, report)
		},
		Package: s.pipeline.Package,
	})
	return nil
}

// pids are the first processes of the instances that run, by id.
func (s *server) pids(ctx context.Context) (map[string]int, error) {
	seen, err := s.engine.Observe(ctx)
	pids := map[string]int{}
	for _, in := range seen.Instances {
		if in.Phase != imx.Ended && in.Pid > 0 {
			pids[in.ID] = in.Pid
		}
	}
	return pids, err
}
