package cli_test

import (
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/cli"
)

// named are moments that are the same whichever way a flag counts.
func named() map[string]time.Time {
	return map[string]time.Time{
		"": {}, "2026-05-01T09:30:00Z": at("2026-05-01 09:30:00"), "2026-05-01T11:30:00+02:00": at("2026-05-01 09:30:00"),
		"2026-05-01 09:30": at("2026-05-01 09:30:00"), "2026-05-01 09:30:00Z": at("2026-05-01 09:30:00"), "2026-05-01": at("2026-05-01 00:00:00"),
	}
}

func TestMomentsAreReadAsPeopleWriteThem(t *testing.T) {
	for what, read := range map[string]func(string, time.Time) (time.Time, error){
		"past": cli.ParseMoment, "either": cli.ParseBack, "to come": cli.ParseUntil,
	} {
		t.Run(what, func(t *testing.T) {
			all := named()
			for text, length := range map[string]time.Duration{"90m": 90 * time.Minute, "10d": 240 * time.Hour, "1w2d": 9 * 24 * time.Hour} {
				if what != "to come" {
					length = -length
				}
				all[text] = now().Add(length)
			}
			for text, want := range all {
				got, err := read(text, now())
				if err != nil || !got.Equal(want) {
					t.Errorf("%q is %v, %v; want %v", text, got, err, want)
				}
			}
			for _, text := range []string{"yesterday", "-5m", "09:30", "2026-13-01", "2026-02-30", "10"} {
				if _, err := read(text, now()); imx.KindOf(err) != imx.Invalid || imx.AsError(err).Hint == "" {
					t.Errorf("%q: %v", text, err)
				}
			}
		})
	}
}

func TestOnlyWhatMayBeToComeIs(t *testing.T) {
	const text = "2099-01-02"
	want := at("2099-01-02 00:00:00")
	if _, err := cli.ParseMoment(text, now()); imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), "yet to come") {
		t.Errorf("err = %v", err)
	}
	for _, read := range []func(string, time.Time) (time.Time, error){cli.ParseBack, cli.ParseUntil} {
		if got, err := read(text, now()); err != nil || !got.Equal(want) {
			t.Errorf("%v, %v", got, err)
		}
	}
}

func FuzzNoTextForAMomentIsReadTwoWays(f *testing.F) {
	for text := range named() {
		f.Add(text)
	}
	f.Add("90m")
	f.Add("106751d24h")
	f.Fuzz(func(t *testing.T, text string) {
		back, err := cli.ParseBack(text, now())
		until, other := cli.ParseUntil(text, now())
		if err != nil || other != nil {
			return // " ago" and "in " go one way
		}
		if !back.Equal(until) && (!back.Before(now()) || !until.After(now())) {
			t.Errorf("%q is %v ago and %v to come", text, back, until)
		}
	})
}
