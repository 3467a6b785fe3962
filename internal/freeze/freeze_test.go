package freeze_test

// In which moments something new may be released is read from clocks on walls, which are put forward and back.

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"

	"imx"
	"imx/internal/freeze"
)

func parse(tb testing.TB, texts ...string) []imx.Freeze {
	tb.Helper()
	var all []imx.Freeze
	for _, text := range texts {
		f, err := imx.ParseFreeze(text)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, f)
	}
	return all
}

func moment(tb testing.TB, text string) time.Time {
	tb.Helper()
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func TestAFreezeIsOnFromItsBeginningUntilItsEnd(t *testing.T) {
	for _, c := range []struct{ freezes, now, window, until string }{
		{"weekend: fri 16:00 - mon 06:00 Europe/Berlin", "2026-11-20T15:59:59+01:00", "", ""},
		{"weekend: fri 16:00 - mon 06:00 Europe/Berlin", "2026-11-20T16:00:00+01:00", "weekend", "2026-11-23T06:00:00+01:00"},
		{"weekend: fri 16:00 - mon 06:00 Europe/Berlin", "2026-11-23T05:59:59+01:00", "weekend", "2026-11-23T06:00:00+01:00"},
		{"weekend: fri 16:00 - mon 06:00 Europe/Berlin", "2026-11-23T06:00:00+01:00", "", ""},
		{"lunch: mon-fri 12:00 - 13:00", "2026-11-20T12:30:00Z", "lunch", "2026-11-20T13:00:00Z"},
		{"lunch: mon-fri 12:00 - 13:00", "2026-11-21T12:30:00Z", "", ""},
		{"night: daily 22:00 - 06:00", "2026-11-21T03:00:00Z", "night", "2026-11-21T06:00:00Z"},
		{"holidays: 2026-12-20 - 2027-01-04 12:00 Europe/Berlin", "2026-12-19T23:00:00Z", "holidays", "2027-01-04T12:00:00+01:00"},
		{"holidays: 2026-12-20 - 2027-01-04 12:00 Europe/Berlin", "2027-01-04T11:00:00Z", "", ""},
		// one follows the other
		{"night: daily 22:00 - 06:00|weekend: sat 00:00 - mon 06:00", "2026-11-20T23:00:00Z", "night", "2026-11-23T06:00:00Z"},
		// the clocks go forward over its beginning: from 02:00 to 03:00
		{"spring: sun 02:30 - 05:00 Europe/Berlin", "2026-03-29T00:59:59Z", "", ""},
		{"spring: sun 02:30 - 05:00 Europe/Berlin", "2026-03-29T01:00:00Z", "spring", "2026-03-29T05:00:00+02:00"},
		// and back: 02:30 is there twice, first in summer time
		{"autumn: sun 02:30 - 05:00 Europe/Berlin", "2026-10-25T00:30:00Z", "autumn", "2026-10-25T05:00:00+01:00"},
		{"autumn: sun 00:00 - 02:30 Europe/Berlin", "2026-10-25T01:29:59Z", "autumn", "2026-10-25T02:30:00+01:00"},
	} {
		s, err := freeze.At(parse(t, strings.Split(c.freezes, "|")...), moment(t, c.now))
		if err != nil {
			t.Fatal(err)
		}
		if s.Window != c.window || c.until != "" && !s.Until.Equal(moment(t, c.until)) {
			t.Errorf("%s at %s: %+v, want %q until %s", c.freezes, c.now, s, c.window, c.until)
		}
	}
}

func zones() []string {
	return []string{"", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago", "Pacific/Apia"}
}

func anyFreeze(t *rapid.T, name string) imx.Freeze {
	f := imx.Freeze{Name: name, Zone: rapid.SampledFrom(zones()).Draw(t, "zone")}
	clock := time.Duration(rapid.IntRange(0, 24*60-1).Draw(t, "clock")) * time.Minute
	if rapid.Bool().Draw(t, "once") {
		f.Begins = time.Date(2026, time.Month(rapid.IntRange(1, 12).Draw(t, "month")), rapid.IntRange(1, 28).Draw(t, "day"), 0, 0, 0, 0, time.UTC).Add(clock)
		f.Lasts = time.Duration(rapid.IntRange(1, 100*24*60).Draw(t, "minutes")) * time.Minute
		return f
	}
	f.Begins = time.Time{}.Add(clock)
	all := []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday, time.Saturday, time.Sunday}
	if rapid.Bool().Draw(t, "long") {
		f.Days = []time.Weekday{rapid.SampledFrom(all).Draw(t, "day")}
		f.Lasts = time.Duration(rapid.IntRange(1, 7*24*60-1).Draw(t, "minutes")) * time.Minute
		return f
	}
	for _, d := range all {
		if rapid.Bool().Draw(t, d.String()) {
			f.Days = append(f.Days, d)
		}
	}
	if len(f.Days) == 0 {
		f.Days = []time.Weekday{time.Friday}
	}
	f.Lasts = time.Duration(rapid.IntRange(1, 24*60).Draw(t, "minutes")) * time.Minute
	return f
}

// Law: what a freeze is written as reads as the same freeze.
func TestAFreezeReadsBackAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFreeze(t, "some")
		back, err := imx.ParseFreeze(f.String())
		if err != nil || back.String() != f.String() || back.Lasts != f.Lasts || len(back.Days) != len(f.Days) {
			t.Fatalf("%v reads as %v: %v", f, back, err)
		}
	})
}

// shown reports whether the clocks show a time within a freeze: what a person would say who looks at them.
func shown(tb *rapid.T, f imx.Freeze, now time.Time) bool {
	z, err := time.LoadLocation(f.Zone)
	if err != nil {
		tb.Fatal(err)
	}
	n := now.In(z)
	clocks := time.Date(n.Year(), n.Month(), n.Day(), n.Hour(), n.Minute(), n.Second(), n.Nanosecond(), time.UTC)
	if len(f.Days) == 0 {
		return !clocks.Before(f.Begins) && clocks.Before(f.Begins.Add(f.Lasts))
	}
	for back := range 9 {
		midnight := time.Date(n.Year(), n.Month(), n.Day()-back, 0, 0, 0, 0, time.UTC)
		begins := midnight.Add(time.Duration(f.Begins.Hour())*time.Hour + time.Duration(f.Begins.Minute())*time.Minute)
		for _, d := range f.Days {
			if midnight.Weekday() == d && !clocks.Before(begins) && clocks.Before(begins.Add(f.Lasts)) {
				return true
			}
		}
	}
	return false
}

// Law: whenever the clocks show a time within a freeze it is on; otherwise it is on in nothing but what the clocks show twice.
func TestWhatTheClocksShowDecides(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFreeze(t, "some")
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 366*24*60).Draw(t, "minute")) * time.Minute)
		s, err := freeze.At([]imx.Freeze{f}, now)
		if err != nil {
			t.Fatal(err)
		}
		is, want := s.Window != "", shown(t, f, now)
		twice := false
		for _, by := range []time.Duration{-time.Hour, -30 * time.Minute, 30 * time.Minute, time.Hour} { // by so much clocks are put back
			z, _ := time.LoadLocation(f.Zone)
			near, here := now.Add(by).In(z), now.In(z)
			twice = twice || near.Format(time.DateTime) == here.Format(time.DateTime) || shown(t, f, now.Add(by)) && !sameOffset(near, here)
		}
		if want && !is || is && !want && !twice {
			t.Fatalf("%v at %s: %+v, and the clocks say %v", f, now.Format(time.RFC3339), s, want)
		}
	})
}

func sameOffset(a, b time.Time) bool {
	_, one := a.Zone()
	_, other := b.Zone()
	return one == other
}

// Law: until its end a freeze is on, and then it isn't; before the next begins none is, and then one is.
func TestAFreezeEndsAndBeginsWhenItSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := []imx.Freeze{anyFreeze(t, "one"), anyFreeze(t, "other")}
		if freeze.Check(all) != nil {
			t.Skip("nothing could ever be released")
		}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 366*24*60).Draw(t, "minute")) * time.Minute)
		at := func(m time.Time) freeze.State {
			s, err := freeze.At(all, m)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		s := at(now)
		switch {
		case s.Window != "":
			if !s.Until.After(now) || at(s.Until).Window != "" || at(s.Until.Add(-1)).Window == "" {
				t.Fatalf("%v at %s: %+v, then %+v", all, now, s, at(s.Until))
			}
		case !s.Next.IsZero():
			if !s.Next.After(now) || at(s.Next).Window == "" || at(s.Next.Add(-1)).Window != "" {
				t.Fatalf("%v at %s: %+v, then %+v", all, now, s, at(s.Next))
			}
		}
	})
}

func TestWhatIsNoFreezeIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "begins with a name",
		"fri 16:00 - mon 06:00":                  "begins with a name",
		"Weekend: fri 16:00 - mon 06:00":         "begins with a name",
		"w: fri 16:00":                           `" - " stands between`,
		"w: fri - mon 06:00":                     "no day and time on which it begins",
		"w: 16:00 - 17:00":                       "no day and time on which it begins",
		"w: fry 16:00 - mon 06:00":               "no day and time on which it begins",
		"w: fri 25:00 - mon 06:00":               "no day and time on which it begins",
		"w: fri 6:00 - mon 06:00":                "no day and time on which it begins",
		"w: fri 16:00 - mon":                     "no day and time on which it ends",
		"w: fri 16:00 - 2026-01-01":              "no day and time on which it ends",
		"w: fri 16:00 - fri 16:00":               "it never ends",
		"w: mon-fri 16:00 - sat 06:00":           "several days",
		"w: 2026-12-24 - 2026-12-24":             "it ends before it begins",
		"w: 2026-12-24 12:00 - 13:00":            "no day and time on which it ends",
		"w: fri 16:00 - mon 06:00 Europe Berlin": "no day and time on which it ends",
	} {
		_, err := imx.ParseFreeze(text)
		if e := imx.AsError(err); e == nil || e.Kind != imx.Invalid || !strings.Contains(e.Message, want) || e.Hint == "" {
			t.Errorf("%q: %v, want %q and a hint", text, err, want)
		}
	}
	for _, c := range []struct{ texts, want string }{
		{"w: fri 16:00 - mon 06:00 Europe/Berlyn", "a time zone that there isn't"},
		{"w: fri 16:00 - mon 06:00 Local", "the same everywhere"},
		{"w: fri 16:00 - mon 06:00|w: mon 12:00 - 13:00", `two freezes named "w"`},
		{"w: 2026-01-01 - 2028-01-01", "may last 366"},
		{"a: daily 00:00 - 12:00|b: daily 12:00 - 00:00", "leave no moment"},
	} {
		err := freeze.Check(parse(t, strings.Split(c.texts, "|")...))
		if e := imx.AsError(err); e == nil || e.Kind != imx.Invalid || !strings.Contains(e.Message, c.want) {
			t.Errorf("%s: %v, want %q", c.texts, err, c.want)
		}
	}
}

func FuzzParseFreeze(f *testing.F) {
	for _, text := range []string{
		"weekend: fri 16:00 - mon 06:00 Europe/Berlin", "lunch: mon-fri,sun 12:00 - 13:00", "night: daily 22:00 - 06:00",
		"holidays: 2026-12-20 - 2027-01-04 12:00", "x: fri 16:00 - fri 15:00", "x:", "x: - ", "x: 0000-01-01 - 9999-12-31",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		one, err := imx.ParseFreeze(text)
		if err != nil {
			return
		}
		back, err := imx.ParseFreeze(one.String())
		if err != nil || back.String() != one.String() {
			t.Fatalf("%q is %q, which is %q: %v", text, one, back, err)
		}
		if freeze.Check([]imx.Freeze{one}) == nil {
			if s, err := freeze.At([]imx.Freeze{one}, one.Begins); err != nil {
				t.Fatalf("%q: %+v, %v", text, s, err)
			}
		}
	})
}
