package pipeline

import (
	"context"
	"sync"

	"imx"
	"imx/internal/build"
)

// stock tells which packages several builds found here, and which they had to fetch.
type stock struct {
	mu      sync.Mutex
	needed  map[imx.Digest]bool
	fetched map[imx.Digest]bool
}

func newStock() *stock {
	return &stock{needed: map[imx.Digest]bool{}, fetched: map[imx.Digest]bool{}}
}

// fetching returns a Fetch for the build of one image, whose steps have the image's name: two builds
// fetch at the same time.
func (s *stock) fetching(image string, fetch build.Fetch) build.Fetch {
	return func(ctx context.Context, packages []imx.Package, report imx.Report) error {
		err := fetch(ctx, packages, func(p imx.Progress) {
			p.Step += " " + image
			report(p)
		})
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range packages {
			s.fetched[p.Digest] = true
		}
		return nil
	}
}

// built notes what a build that was no mere finding needed.
func (s *stock) built(p imx.ImagePlan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range [][]imx.Package{p.Base, p.Tools, p.Ship} {
		for _, pkg := range list {
			s.needed[pkg.Digest] = true
		}
	}
}

// report says how many packages were found here, where some were.
func (s *stock) report(report imx.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := 0
	for d := range s.needed {
		if !s.fetched[d] {
			found++
		}
	}
	if found == 0 {
		return
	}
	status := imx.StepDone
	if found == len(s.needed) {
		status = imx.StepCached
	}
	report(imx.Progress{Step: "reuse packages", Status: status, Done: int64(found), Total: int64(len(s.needed)), Unit: "packages"})
}
