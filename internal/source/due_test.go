package source_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"imx"
	"imx/internal/source"
)

func TestASourceIsDueWhenItsIntervalIsOverOrSomebodyRang(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	sources := map[string]imx.GitSource{}
	for _, name := range []string{"new", "fresh", "old", "rung", "future"} {
		sources[name] = imx.GitSource{Name: name, Every: imx.Duration(time.Minute)}
	}
	last := map[string]time.Time{
		"fresh": now.Add(-10 * time.Second), "old": now.Add(-time.Hour), "rung": now.Add(-time.Second), "future": now.Add(time.Hour),
	}
	names, wait := source.Due(sources, last, map[string]bool{"rung": true}, now)
	if want := []string{"new", "old", "rung", "future"}; !slices.Equal(names, want) || wait != 50*time.Second {
		t.Errorf("due are %v, want %v; then nothing for %s", names, want, wait)
	}
}

// Whatever the clock does, nothing is forgotten: what isn't due now is due within its interval, and nothing waits longer.
func TestNothingWaitsLongerThanItsInterval(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_000_000, 0)
		sources, last, woken := map[string]imx.GitSource{}, map[string]time.Time{}, map[string]bool{}
		for _, name := range rapid.SliceOfDistinct(rapid.StringN(1, 3, 3), rapid.ID).Draw(t, "names") {
			sources[name] = imx.GitSource{Name: name, Every: imx.Duration(rapid.Int64Range(1, 100).Draw(t, "every") * int64(time.Second))}
			last[name] = now.Add(time.Duration(rapid.Int64Range(-200, 200).Draw(t, "ago")) * time.Second)
			woken[name] = rapid.Bool().Draw(t, "woken")
		}
		names, wait := source.Due(sources, last, woken, now)
		for name, src := range sources {
			later, _ := source.Due(sources, last, woken, now.Add(wait))
			if woken[name] && !slices.Contains(names, name) {
				t.Fatalf("%q was rung for and isn't due", name)
			}
			if wait > time.Duration(src.Every) {
				t.Fatalf("nothing happens for %s, and %q is to be looked at every %s", wait, name, src.Every)
			}
			if len(names) == 0 && len(later) == 0 {
				t.Fatalf("nothing is due now, and nothing after %s", wait)
			}
		}
	})
}
