package imx

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Freeze is a time in which nothing new is released: each week, or once. It is written, also as JSON, as
// "weekend: fri 16:00 - mon 06:00 Europe/Berlin", "lunch: mon-fri 12:00 - 13:00" or "holidays: 2026-12-20 - 2027-01-04 12:00".
type Freeze struct { //nolint:recvcheck // only reading its text changes it, as time.Time
	Name string
	// Days are those of a week on which it begins, in their order from Monday on; none for one that is once.
	Days []time.Weekday
	// Begins is what the clocks show, as if they stood in UTC. Of one that comes each week only the time of the day counts.
	Begins time.Time
	Lasts  time.Duration // by the clocks, whatever they are put forward or back meanwhile
	Zone   string        // whose clocks: a name of the tz database; "" is UTC
}

const (
	freezeDay  = 24 * time.Hour
	freezeWeek = 7 * freezeDay
	// clockFormat is the time of a day.
	clockFormat = "15:04"
)

// ParseFreeze reads one. Whether its zone is one it doesn't say. Errors: Invalid.
func ParseFreeze(text string) (Freeze, error) {
	wrong := func(why string) (Freeze, error) {
		return Freeze{}, Errorf(Invalid, "%q is no freeze: %s", text, why).
			WithHint(`write it as "weekend: fri 16:00 - mon 06:00 Europe/Berlin", "lunch: mon-fri 12:00 - 13:00" or "holidays: 2026-12-20 - 2027-01-04"`)
	}
	name, rest, named := strings.Cut(text, ":")
	from, to, spans := strings.Cut(rest, " - ")
	f := Freeze{Name: strings.TrimSpace(name)}
	switch {
	case !named || !freezeName(f.Name):
		return wrong("it begins with a name of lower-case letters, digits and hyphens, and a colon")
	case !spans:
		return wrong(`" - " stands between its beginning and its end`)
	}
	begin, ok := readWall(strings.Fields(from))
	end := strings.Fields(to)
	if n := len(end); n > 0 && isZone(end[n-1]) {
		f.Zone, end = end[n-1], end[:n-1]
	}
	finish, fine := readWall(end)
	if !ok || len(begin.days) == 0 && begin.date.IsZero() {
		return wrong(fmt.Sprintf("%q is no day and time on which it begins", strings.TrimSpace(from)))
	}
	if !fine || finish.date.IsZero() != begin.date.IsZero() || len(finish.days) > 1 {
		return wrong(fmt.Sprintf("%q is no day and time on which it ends", strings.TrimSpace(to)))
	}
	if f.Zone == "UTC" {
		f.Zone = ""
	}
	f.Days, f.Begins = begin.days, begin.date.Add(begin.clock)
	if why := f.span(begin, finish); why != "" {
		return wrong(why)
	}
	return f, nil
}

// span sets how long it lasts. It returns what is wrong with that.
func (f *Freeze) span(begin, end wall) string {
	switch {
	case !begin.date.IsZero():
		if f.Lasts = end.date.Add(end.clock).Sub(f.Begins); f.Lasts <= 0 {
			return "it ends before it begins"
		}
	case len(end.days) == 0:
		if f.Lasts = end.clock - begin.clock; f.Lasts <= 0 {
			f.Lasts += freezeDay
		}
	case len(begin.days) > 1:
		return "one that begins on several days ends at a time, without a day"
	default:
		days := (int(end.days[0]) - int(begin.days[0]) + 7) % 7
		if f.Lasts = time.Duration(days)*freezeDay + end.clock - begin.clock; f.Lasts <= 0 {
			f.Lasts += freezeWeek
		}
		if f.Lasts == freezeWeek {
			return "it never ends"
		}
	}
	return ""
}

// String writes it as ParseFreeze reads it.
func (f Freeze) String() string {
	end := f.Begins.Add(f.Lasts)
	text := f.Name + ": "
	switch {
	case len(f.Days) == 0:
		text += f.Begins.Format(time.DateOnly+" "+clockFormat) + " - " + end.Format(time.DateOnly+" "+clockFormat)
	case f.Lasts <= freezeDay:
		text += dayList(f.Days) + " " + f.Begins.Format(clockFormat) + " - " + end.Format(clockFormat)
	default:
		// the days between are those between the beginnings of the two days
		days := int((f.Lasts + f.Begins.Sub(f.Begins.Truncate(freezeDay))) / freezeDay)
		text += dayName(f.Days[0]) + " " + f.Begins.Format(clockFormat) + " - " + dayName((f.Days[0]+time.Weekday(days))%7) + " " + end.Format(clockFormat)
	}
	if f.Zone != "" {
		text += " " + f.Zone
	}
	return text
}

// MarshalText and UnmarshalText write and read it as String and ParseFreeze do.
func (f Freeze) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is the opposite of MarshalText. Errors: as ParseFreeze.
func (f *Freeze) UnmarshalText(text []byte) error {
	read, err := ParseFreeze(string(text))
	if err == nil {
		*f = read
	}
	return err
}

// wall is a moment as people write it: days of a week or a date, and what the clock shows.
type wall struct {
	days  []time.Weekday
	date  time.Time
	clock time.Duration
}

// readWall reads "fri 16:00", "mon-fri 12:00", "daily 22:00", "16:00", "2026-12-20" or "2026-12-20 12:00".
func readWall(words []string) (wall, bool) {
	var w wall
	if len(words) == 0 || len(words) > 2 {
		return w, false
	}
	last := words[len(words)-1]
	if at, err := time.Parse(clockFormat, last); err == nil && len(last) == len(clockFormat) {
		w.clock = time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
		words = words[:len(words)-1]
	} else if _, err := time.Parse(time.DateOnly, last); err != nil || len(words) > 1 {
		return w, false // only a date has a beginning of its own
	}
	if len(words) == 0 {
		return w, true
	}
	if date, err := time.Parse(time.DateOnly, words[0]); err == nil {
		w.date = date
		return w, true
	}
	w.days = readDays(words[0])
	return w, len(w.days) > 0
}

func dayName(d time.Weekday) string { return strings.ToLower(d.String()[:3]) }

func weekdays() []time.Weekday {
	return []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday, time.Saturday, time.Sunday}
}

// readDays reads "fri", "mon,wed", "mon-fri" and "daily"; none for anything else.
func readDays(text string) []time.Weekday {
	all := weekdays()
	if text == "daily" {
		return all
	}
	names := make([]string, len(all))
	for i, d := range all {
		names[i] = dayName(d)
	}
	has := map[int]bool{}
	for part := range strings.SplitSeq(text, ",") {
		first, last, spans := strings.Cut(part, "-")
		a, b := slices.Index(names, first), slices.Index(names, last)
		if !spans {
			b = a
		}
		if a < 0 || b < 0 {
			return nil
		}
		for i := a; ; i = (i + 1) % len(all) {
			has[i] = true
			if i == b {
				break
			}
		}
	}
	var days []time.Weekday
	for i, d := range all {
		if has[i] {
			days = append(days, d)
		}
	}
	return days
}

func dayList(days []time.Weekday) string {
	if len(days) == len(weekdays()) {
		return "daily"
	}
	names := make([]string, len(days))
	for i, d := range days {
		names[i] = dayName(d)
	}
	return strings.Join(names, ",")
}

func freezeName(s string) bool {
	const most = 40
	for i, r := range s {
		if (r < 'a' || r > 'z') && (i == 0 || r != '-' && (r < '0' || r > '9')) {
			return false
		}
	}
	return s != "" && len(s) <= most
}

// isZone reports whether a word can be the name of a time zone, and is nothing else that ends a freeze.
func isZone(s string) bool {
	const most = 64
	return len(s) <= most && s[0] >= 'A' && s[0] <= 'Z' &&
		!strings.ContainsFunc(s, func(r rune) bool {
			return !strings.ContainsRune("_+-/", r) && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
		})
}
