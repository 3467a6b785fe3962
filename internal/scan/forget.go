package scan

import (
	"context"
	"time"

	"imx"
)

// Forget drops what is remembered of images that the server doesn't have any more, and of packages that only those had.
func (s *Scanner) Forget(ctx context.Context) error {
	views, err := s.cfg.Server.Images(ctx, time.Time{})
	if err != nil {
		return err
	}
	there := map[imx.Digest]bool{}
	for _, v := range views {
		there[v.Digest] = true
	}
	return s.cfg.Known.Keep(func(image imx.Digest) bool { return there[image] })
}
