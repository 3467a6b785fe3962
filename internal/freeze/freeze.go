// Package freeze says whether a moment is in a time in which nothing new is released, and until when. It asks no clock, and
// doesn't decide what may be done in such a time.
package freeze

import (
	"time"

	"imx"
)

// State is how it stands at a moment.
type State struct {
	// Window is the name of the freeze that it is in, the one that ends last of those that it is in; "" is none.
	Window string `json:"window,omitempty"`
	// Until is when no freeze is on any more, those that begin before it ends counted in; zero if there is none.
	Until time.Time `json:"until,omitzero"`
	// Next is when the next one begins; zero while one is on, and if there is none for a long time.
	Next time.Time `json:"next,omitzero"`
}

const (
	day  = 24 * time.Hour
	week = 7 * day
	// most bounds how many freezes there may be, and longest how long one may last.
	most    = 50
	longest = 366 * day
	// links bounds how many that follow each other without a gap count as one.
	links = 200
)

// At says how it stands at a moment. What the clocks show decides: a freeze begins when they first show its beginning, or
// would have if they weren't put forward over it, and ends when they last show its end. Errors: as Check, of a zone.
func At(all []imx.Freeze, now time.Time) (State, error) {
	var s State
	spans, err := around(all, now)
	if err != nil {
		return s, err
	}
	if now := in(spans, now); now.name != "" {
		s.Window, s.Until = now.name, now.end
		for range links {
			if spans, err = around(all, s.Until); err != nil {
				return s, err
			}
			next := in(spans, s.Until)
			if next.name == "" {
				return s, nil
			}
			s.Until = next.end
		}
		return s, nil
	}
	for _, span := range spans {
		if span.begin.After(now) && (s.Next.IsZero() || span.begin.Before(s.Next)) {
			s.Next = span.begin
		}
	}
	return s, nil
}

// Check says what is wrong with freezes. Errors: Invalid.
func Check(all []imx.Freeze) error {
	if len(all) > most {
		return imx.Errorf(imx.Invalid, "there are %d freezes, and may be %d", len(all), most)
	}
	named := map[string]bool{}
	for _, f := range all {
		if named[f.Name] {
			return imx.Errorf(imx.Invalid, "there are two freezes named %q", f.Name).WithHint("give one of them another name")
		}
		named[f.Name] = true
		if f.Lasts > longest {
			return imx.Errorf(imx.Invalid, "the freeze %q lasts %d days, and may last %d", f.Name, f.Lasts/day, longest/day)
		}
	}
	var weekly []imx.Freeze
	for _, f := range all {
		if _, err := zone(f); err != nil {
			return err
		}
		if len(f.Days) > 0 {
			weekly = append(weekly, f)
		}
	}
	monday := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	if s, err := At(weekly, monday); err != nil || s.Until.Sub(monday) > links*day/2 {
		return imx.Errorf(imx.Invalid, "the freezes of each week leave no moment in which something could be released").WithHint("let one of them end earlier")
	}
	return nil
}

func zone(f imx.Freeze) (*time.Location, error) {
	if f.Zone == "Local" {
		return nil, imx.Errorf(imx.Invalid, "the freeze %q needs a time zone that is the same everywhere", f.Name).WithHint("write one as Europe/Berlin")
	}
	z, err := time.LoadLocation(f.Zone)
	if err != nil {
		return nil, imx.Errorf(imx.Invalid, "the freeze %q has a time zone that there isn't: %q", f.Name, f.Zone).
			WithHint("write it as the tz database does: Europe/Berlin, America/New_York; none is UTC")
	}
	return z, nil
}

// span is one time of a freeze.
type span struct {
	name       string
	begin, end time.Time // end isn't in it
}

// in is the one that a moment is in, the one that ends last of several; without a name if there is none.
func in(spans []span, now time.Time) span {
	var last span
	for _, s := range spans {
		if !s.begin.After(now) && s.end.After(now) && (last.name == "" || s.end.After(last.end)) {
			last = s
		}
	}
	return last
}

// around are the times of freezes that a moment may be in, and those after it.
func around(all []imx.Freeze, now time.Time) ([]span, error) {
	var spans []span
	for _, f := range all {
		z, err := zone(f)
		if err != nil {
			return nil, err
		}
		if len(f.Days) == 0 {
			spans = append(spans, spanOf(f, f.Begins, z))
			continue
		}
		shown := wall(now.In(z))
		midnight := shown.Truncate(day)
		clock := f.Begins.Sub(f.Begins.Truncate(day))
		for i := -8; i <= 8; i++ {
			at := midnight.Add(time.Duration(i) * day)
			for _, d := range f.Days {
				if at.Weekday() == d {
					spans = append(spans, spanOf(f, at.Add(clock), z))
				}
			}
		}
	}
	return spans, nil
}

func spanOf(f imx.Freeze, begins time.Time, z *time.Location) span {
	first, _ := shows(begins, z)
	_, last := shows(begins.Add(f.Lasts), z)
	return span{f.Name, first, last}
}

// wall is what the clocks show at a moment, as if they stood in UTC.
func wall(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// shows are the first and the last moment at which the clocks of a zone show something. Where they are put forward over it, both
// are the moment at which they are.
func shows(clocks time.Time, z *time.Location) (first, last time.Time) {
	for _, near := range []time.Duration{-day, 0, day} {
		_, offset := clocks.Add(near).In(z).Zone()
		at := clocks.Add(-time.Duration(offset) * time.Second)
		if !wall(at.In(z)).Equal(clocks) {
			continue
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
		if last.IsZero() || at.After(last) {
			last = at
		}
	}
	if !first.IsZero() {
		return first.In(z), last.In(z)
	}
	_, offset := clocks.Add(-day).In(z).Zone()
	begin, _ := clocks.Add(-time.Duration(offset) * time.Second).In(z).ZoneBounds()
	return begin, begin
}
