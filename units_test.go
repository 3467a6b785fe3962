package imx_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"imx"
)

func TestDurationsHaveDaysAndWeeks(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90m": 90 * time.Minute, "10d": 240 * time.Hour, "2w": 14 * 24 * time.Hour, "1d12h": 36 * time.Hour, "1w1d1h1m1s": 193*time.Hour + 61*time.Second,
		"-2d": -48 * time.Hour, "-90m": -90 * time.Minute, "0": 0, "0d": 0, "1.5h": 90 * time.Minute,
	} {
		if got, err := imx.ParseDuration(text); err != nil || time.Duration(got) != want {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "10", "1.5d", "1h2d", "1d2w", "-", "--1d", "1d-1h", "-1d-1h", "10 d", "200000d", "106751d48h", "1month"} {
		if got, err := imx.ParseDuration(text); imx.KindOf(err) != imx.Invalid {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}

func TestADurationIsReadAsItIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := imx.Duration(rapid.Int64Range(-1<<62, 1<<62).Draw(t, "duration"))
		if got, err := imx.ParseDuration(want.String()); err != nil || got != want {
			t.Fatalf("%v is read as %v, %v", want, got, err)
		}
	})
}

func FuzzWhatTheStandardLibraryReadsIsReadTheSame(f *testing.F) {
	for _, text := range []string{"90m", "-1.5h", "1d", "1us", "--1s", "+5s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want, err := time.ParseDuration(text)
		if got, other := imx.ParseDuration(text); err == nil && (other != nil || time.Duration(got) != want) {
			t.Errorf("%q is %v, %v; want %v", text, got, other, want)
		}
	})
}
