package term

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"imx"
)

// Took returns how long something took, as precisely as a person cares: "0.02 s", "4.1 s",
// "2 min 05 s", "3 h 10 min".
func Took(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < 59950*time.Millisecond:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

// Age returns how long ago something was, in one unit: "12 s", "3 min", "5 h", "9 d"; "" for no
// time at all.
func Age(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return ""
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(max(d, 0).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours())/24)
}

// Stamp returns a moment in UTC, to the second: "2026-05-01 09:30:00Z".
func Stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// Count returns a number and its noun: "1 image", "2 images", "12,345 events".
func Count(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return Number(n) + " " + plural(one)
}

func plural(one string) string {
	if stem, ok := strings.CutSuffix(one, "y"); ok {
		return stem + "ies"
	}
	if strings.HasSuffix(one, "s") {
		return one + "es"
	}
	return one + "s"
}

// Number returns n with commas between thousands.
func Number(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Amount returns what a step has done of its total: "12.3 of 29.4 MiB", "3 of 57 packages",
// "57 packages"; "" where the step counts nothing.
func Amount(p imx.Progress) string {
	if p.Unit == "bytes" {
		return bytesAmount(p)
	}
	unit := ""
	if p.Unit != "" {
		unit = " " + p.Unit
	}
	switch {
	case p.Total > 0 && p.Done < p.Total:
		return Number(p.Done) + " of " + Number(p.Total) + unit
	case max(p.Done, p.Total) == 1:
		return "1" + strings.TrimSuffix(unit, "s")
	case max(p.Done, p.Total) > 0:
		return Number(max(p.Done, p.Total)) + unit
	}
	return ""
}

func bytesAmount(p imx.Progress) string {
	switch {
	case p.Total > 0 && p.Done < p.Total:
		return imx.Size(p.Done).String() + " of " + imx.Size(p.Total).String()
	case max(p.Done, p.Total) > 0:
		return imx.Size(max(p.Done, p.Total)).String()
	}
	return ""
}
