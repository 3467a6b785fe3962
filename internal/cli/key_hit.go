package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"imx"
	"imx/internal/term"
)

// hitOf says what stops counting when all that a key ever signed does: its newest statements, the releases that run their images, and
// its answers to candidates.
func hitOf(s imx.State, key string) string {
	statements, images := 0, map[imx.Digest]bool{}
	for image, all := range s.Evidence {
		for _, e := range all {
			if e.Signer == key {
				statements++
				images[image] = true
			}
		}
	}
	answers := 0
	for _, c := range s.Candidates {
		for _, r := range c.Reviews {
			if r.Key == key {
				answers++
			}
		}
	}
	return fmt.Sprintf("%s of %s (%s), and %s to candidates", term.Count(int64(statements), "newest statement"), term.Count(int64(len(images)), "image"),
		runningOf(s, images), term.Count(int64(answers), "answer"))
}

// runningOf names the releases that run some images.
func runningOf(s imx.State, images map[imx.Digest]bool) string {
	var running []string
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		v := s.Services[name]
		if r, ok := v.Release(v.Current); ok && !v.Destroyed && images[r.Image.Digest] {
			running = append(running, fmt.Sprintf("%s release %d", name, r.Number))
		}
	}
	if len(running) == 0 {
		return "which nothing runs"
	}
	return "run by " + strings.Join(running, ", ")
}
