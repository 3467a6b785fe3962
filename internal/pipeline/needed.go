package pipeline

import (
	"fmt"
	"maps"
	"slices"

	"imx"
	"imx/internal/gc"
)

// Need is a digest and the release that can't do without it.
type Need struct {
	Digest imx.Digest
	By     string // "release shop/3"
}

// Needed returns what the releases need that a collection keeps: those that are current or next, run, or may be gone back to.
func Needed(s imx.State) []Need {
	kept := map[gc.Thing]bool{}
	for _, t := range gc.Roots(s, nil, keptReleases) {
		kept[t] = true
	}
	var all []Need
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		for _, r := range s.Services[name].Releases {
			if !kept[gc.Of(gc.Image, r.Image.Digest)] {
				continue
			}
			by := fmt.Sprintf("release %s/%d", name, r.Number)
			for _, d := range []imx.Digest{r.Image.Digest, r.Image.Inventory, r.Image.Plan} {
				if d != "" {
					all = append(all, Need{d, by})
				}
			}
			if r.Request != "" {
				all = append(all, Need{r.Request, by}, Need{r.Plan, by})
			}
			for _, f := range slices.Concat(r.Spec.Files, r.Config.Files) {
				all = append(all, Need{f.Digest, by})
			}
		}
	}
	return all
}
