package term

import (
	"fmt"
	"strings"
	"time"

	"imx"
)

// total sums up a task's ended steps.
type total struct {
	fetched       int64 // bytes
	built, cached int64 // images
}

func (t *total) add(p imx.Progress) {
	switch verb, what, _ := strings.Cut(p.Step, " "); {
	case verb == "fetch" && p.Unit == unitBytes && p.Status == imx.StepDone:
		t.fetched += p.Done
	case verb == "build" && strings.HasPrefix(what, "image.") && p.Status == imx.StepDone:
		t.built++
	case verb == "build" && strings.HasPrefix(what, "image.") && p.Status == imx.StepCached:
		t.cached++
	}
}

// text says what a task came to, "" where a line of it alone says as much.
func (t *total) text(took time.Duration) string {
	if t.fetched == 0 && t.built == 0 {
		return ""
	}
	parts := []string{Took(took)}
	if t.built > 0 {
		parts = append(parts, Count(t.built, "image")+" built")
	}
	if t.cached > 0 {
		parts = append(parts, fmt.Sprintf("%d cached", t.cached))
	}
	if t.fetched > 0 {
		parts = append(parts, imx.Size(t.fetched).String()+" fetched")
	}
	return strings.Join(parts, ", ")
}
