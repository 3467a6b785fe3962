package imx

import (
	"cmp"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that reads and writes as text: "1m30s".
type Duration time.Duration

// String returns the duration as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; the error is of kind Invalid.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = v
	return nil
}

// ParseDuration reads what time.ParseDuration does, with whole weeks and days before it: "90m", "10d", "2w", "1d12h". A day has 24 hours.
// The error is of kind Invalid.
func ParseDuration(s string) (Duration, error) {
	rest, negative := strings.CutPrefix(s, "-")
	whole, days := time.Duration(0), false
	for _, u := range []struct {
		letter string
		length time.Duration
	}{{"w", 7 * day}, {"d", day}} {
		number, after, _ := strings.Cut(rest, u.letter)
		n, err := strconv.ParseInt(number, 10, 33)
		if err != nil || n < 0 || after == rest || number == rest {
			continue
		}
		if n > int64((math.MaxInt64-whole)/u.length) {
			return 0, notDuration(s)
		}
		whole, rest, days = whole+time.Duration(n)*u.length, after, true
	}
	if !days {
		small, err := time.ParseDuration(s)
		if err != nil {
			return 0, notDuration(s)
		}
		return Duration(small), nil
	}
	small, err := time.ParseDuration(cmp.Or(rest, "0s"))
	if err != nil || strings.ContainsAny(rest, "+-") || small > math.MaxInt64-whole {
		return 0, notDuration(s)
	}
	if whole += small; negative {
		whole = -whole
	}
	return Duration(whole), nil
}

const day = 24 * time.Hour

func notDuration(s string) error {
	return Errorf(Invalid, "%q is not a duration such as \"1s\", \"1m30s\" or \"10d\"", s)
}

// Size is a number of bytes; templates write it "64MiB", JSON writes the number.
type Size int64

// ParseSize reads "64MiB", "1GiB", "512KiB", "10MB" or a plain number of bytes.
// The error is of kind Invalid.
func ParseSize(s string) (Size, error) {
	units := []struct {
		suffix string
		bytes  int64
	}{
		{"KiB", 1 << 10},
		{"MiB", 1 << 20},
		{"GiB", 1 << 30},
		{"TiB", 1 << 40},
		{"kB", 1e3},
		{"MB", 1e6},
		{"GB", 1e9},
		{"TB", 1e12},
		{"B", 1},
	}
	number, scale := s, int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			number, scale = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n*float64(scale) >= 1<<62 {
		return 0, Errorf(Invalid, "%q is not a size such as \"64MiB\" or \"1GiB\"", s)
	}
	return Size(n * float64(scale)), nil
}

// String returns the size in the largest binary unit that leaves at least one, "29.4 MiB".
func (s Size) String() string {
	value, unit := float64(s), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, next
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", int64(s))
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}

// Mode is a file's permission bits, written in octal as people do: "0644".
type Mode fs.FileMode

// String returns four octal digits.
func (m Mode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// MarshalText implements encoding.TextMarshaler.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; the error is of kind Invalid.
func (m *Mode) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || v > 0o7777 {
		return Errorf(Invalid, "%q is not a file mode such as \"0644\"", text)
	}
	*m = Mode(v)
	return nil
}
