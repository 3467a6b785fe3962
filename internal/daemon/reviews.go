package daemon

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"imx"
	"imx/internal/candidate"
	"imx/internal/evidence"
	"imx/internal/source"
)

// openReviews opens what waits to be released, and what follows repositories.
func (s *server) openReviews(statements *evidence.Store) {
	s.desk = candidate.New(candidate.Config{
		Control: s.control, Pipeline: s.pipeline, Scan: s.vulnerabilities, Keep: statements.KeepSigned, Now: time.Now,
	})
	s.follower = source.New(source.Config{
		Dir: filepath.Join(s.data, sourceFolder), Limit: s.sourceSize, Control: s.control, Releaser: s.pipeline, Signed: s.judge.AsksSigned, Frozen: s.judge.Frozen,
		Now: time.Now, Log: s.logger,
	})
}

// vulnerabilities are those of one image, by the feeds of now.
func (s *server) vulnerabilities(ctx context.Context, image string) ([]imx.Vulnerability, error) {
	result, err := s.scanner.Scan(ctx, imx.Server, imx.ScanRequest{Subject: image}, func(imx.Progress) {})
	var all []imx.Vulnerability
	for _, one := range result.Images {
		all = append(all, one.Vulnerabilities...)
	}
	return all, err
}

// public answers on the TCP address: images, and calls of webhooks.
func (s *server) public(images http.Handler) http.Handler {
	hooks := s.follower.Hooks()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, source.HookPath) {
			hooks.ServeHTTP(w, r)
			return
		}
		images.ServeHTTP(w, r)
	})
}
