package cli

import (
	"strings"
	"time"

	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

// moment is a moment as a person wrote it: one that is named, or how far from now it is.
type moment struct {
	at  time.Time    // zero where a length was written
	far imx.Duration // which way it goes, the flag says
}

// readMoment reads what any flag for a moment takes: a day in UTC ("2027-01-31", from when it begins), a date and time in UTC ("2027-01-31
// 09:30"), RFC 3339, or a length of time ("90m", "10d"). The error is of kind Invalid.
func readMoment(s string) (moment, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05Z", time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			return moment{at: at.UTC()}, nil
		}
	}
	far, err := imx.ParseDuration(s)
	if err != nil || far < 0 {
		return moment{}, imx.Errorf(imx.Invalid, "%q is not a time", s).
			WithHint("write a day (2027-01-31), a moment (2027-01-31T09:30:00Z, or \"2027-01-31 09:30\" in UTC), or how long from now (90m, 10d)")
	}
	return moment{far: far}, nil
}

// parseMoment reads a past moment, of which a length says how long ago it was. "" is the zero Time. The error is of kind Invalid.
func parseMoment(s string, now time.Time) (time.Time, error) {
	at, err := parseBack(s, now)
	if err == nil && at.After(now) {
		return time.Time{}, imx.Errorf(imx.Invalid, "%s is yet to come", term.Stamp(at)).WithHint("it is %s now", term.Stamp(now))
	}
	return at, err
}

// parseBack reads a moment, past or to come, of which a length says how long ago it was. "" is the zero Time. The error is of kind Invalid.
func parseBack(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	w, err := readMoment(strings.TrimSuffix(s, " ago"))
	if err != nil || !w.at.IsZero() {
		return w.at, err
	}
	return now.Add(-time.Duration(w.far)).UTC(), nil
}

// parseUntil reads a moment to come, of which a length says how long it is until then. "" is the zero Time. The error is of kind Invalid.
func parseUntil(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	w, err := readMoment(strings.TrimPrefix(s, "in "))
	if err != nil || !w.at.IsZero() {
		return w.at, err
	}
	return now.Add(time.Duration(w.far)).UTC(), nil
}

// lengthVar adds a flag for a length of time.
func lengthVar(f *pflag.FlagSet, into *imx.Duration, name string, usual imx.Duration, usage string) {
	*into = usual
	f.Var((*length)(into), name, usage)
}

// length is a length of time as a flag has it.
type length imx.Duration

// String returns the flag's value.
func (l *length) String() string { return imx.Duration(*l).String() }

// Set reads the flag. The error is of kind Invalid.
func (l *length) Set(s string) error { return (*imx.Duration)(l).UnmarshalText([]byte(s)) }

// Type is what help calls such a value.
func (*length) Type() string { return "duration" }
