package measure

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"imx"
)

// Requests reads how many requests each of a release's instances has answered, by the counter that the release's judge names.
// What can't be read isn't in it.
func Requests(ctx context.Context, r imx.Release, instances []imx.Instance) map[string]float64 {
	judge := r.Spec.How().Judge
	if judge == nil {
		return nil
	}
	selectors, err := parseRule(*judge)
	if err != nil {
		return nil
	}
	var mu sync.Mutex
	totals := map[string]float64{}
	var group errgroup.Group
	group.SetLimit(AtOnce)
	for _, in := range instances {
		group.Go(func() error {
			s, err := scrape(ctx, page{*judge, selectors}, r, in)
			if err != nil {
				return nil // it isn't known, and that is what the caller is told
			}
			total := 0.0
			for _, v := range s[requests] {
				total += v
			}
			mu.Lock()
			defer mu.Unlock()
			totals[in.ID] = total
			return nil
		})
	}
	_ = group.Wait() // none of them fails
	return totals
}
