package term_test

// Units are read hundreds of times a day: these tables are how they look.

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"imx"
	"imx/internal/term"
)

func TestTookIsAsPreciseAsAPersonCares(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 0: "0.00 s", 24 * time.Millisecond: "0.02 s", 4130 * time.Millisecond: "4.1 s",
		59960 * time.Millisecond: "1 min 00 s", 125 * time.Second: "2 min 05 s", 190 * time.Minute: "3 h 10 min",
	} {
		if got := term.Took(d); got != want {
			t.Errorf("Took(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestAgeHasOneUnit(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for ago, want := range map[time.Duration]string{
		-time.Minute: "0 s", 12 * time.Second: "12 s", 3 * time.Minute: "3 min", 47 * time.Hour: "47 h", 9 * 24 * time.Hour: "9 d",
	} {
		if got := term.Age(now.Add(-ago), now); got != want {
			t.Errorf("Age(%v ago) = %q, want %q", ago, got, want)
		}
	}
	if got := term.Age(time.Time{}, now); got != "" {
		t.Errorf("Age(no time) = %q", got)
	}
}

func TestCountInflectsItsNoun(t *testing.T) {
	for want, got := range map[string]string{
		"0 images": term.Count(0, "image"), "1 image": term.Count(1, "image"), "12,345 events": term.Count(12345, "event"),
		"2 entries": term.Count(2, "entry"), "-1,000": term.Number(-1000), "999": term.Number(999),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestAmountSaysHowMuchOfWhat(t *testing.T) {
	for want, p := range map[string]imx.Progress{
		"":                     {},
		"12.0 MiB of 29.0 MiB": {Done: 12 << 20, Total: 29 << 20, Unit: "bytes"},
		"29.0 MiB":             {Done: 29 << 20, Total: 29 << 20, Unit: "bytes"},
		"512 B":                {Done: 512, Unit: "bytes"},
		"3 of 57 packages":     {Done: 3, Total: 57, Unit: "packages"},
		"57 packages":          {Done: 57, Total: 57, Unit: "packages"},
		"0 of 2 instances":     {Total: 2, Unit: "instances"},
		"1,000 of 2,000":       {Done: 1000, Total: 2000},
	} {
		if got := term.Amount(p); got != want {
			t.Errorf("Amount(%+v) = %q, want %q", p, got, want)
		}
	}
}

func TestCleanLinesKeepTheirBreaksAndIndentsAndNoOtherControlCharacter(t *testing.T) {
	const said = "the last it wrote:\n  one\x1b[2J\r\n\n   two\x1b]0;title\a\tthree"
	const want = "the last it wrote:\n  one[2J\n\n   two]0;title three"
	if got := term.CleanLines(said); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCleanTextCanNeitherMoveTheCursorNorBreakALine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, r := range term.Clean(rapid.String().Draw(t, "text")) {
			if r < ' ' || r >= 0x7f && r < 0xa0 {
				t.Fatalf("control character %q got through", r)
			}
		}
	})
}
