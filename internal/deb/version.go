package deb

import (
	"strings"
)

const maxVersion = 256 // bytes; the longest in Debian 12 has 60

// Compare orders two versions as dpkg does (Debian policy 5.6.12): negative if a is older than b,
// zero if they are the same to dpkg ("1.0" and "1.0-0" are), positive if a is newer. It is a total
// preorder over all strings, so that a malformed version sorts somewhere instead of failing;
// CheckVersion finds those.
func Compare(a, b string) int {
	ea, ua, ra := splitVersion(a)
	eb, ub, rb := splitVersion(b)
	if c := compareNumbers(ea, eb); c != 0 {
		return c
	}
	if c := compareParts(ua, ub); c != 0 {
		return c
	}
	return compareParts(ra, rb)
}

// splitVersion cuts [epoch:]upstream[-revision].
func splitVersion(v string) (epoch, upstream, revision string) {
	if i := strings.IndexByte(v, ':'); i >= 0 && strings.Trim(v[:i], digits) == "" {
		epoch, v = v[:i], v[i+1:]
	}
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		return epoch, v[:i], v[i+1:]
	}
	return epoch, v, ""
}

const digits = "0123456789"

// compareParts compares two upstream versions or revisions: by turns a stretch of non-digits, in
// which letters sort before all else and "~" even before the end, and a number.
func compareParts(a, b string) int {
	for a != "" || b != "" {
		for (a != "" && !isDigit(a[0])) || (b != "" && !isDigit(b[0])) {
			if c := weight(a) - weight(b); c != 0 {
				return c
			}
			a, b = a[1:], b[1:] // equal weights that aren't 0: both have a non-digit here
		}
		na, nb := leadingDigits(a), leadingDigits(b)
		if c := compareNumbers(a[:na], b[:nb]); c != 0 {
			return c
		}
		a, b = a[na:], b[nb:]
	}
	return 0
}

// weight is where the first byte of s sorts among non-digits; a digit and the end weigh 0.
func weight(s string) int {
	switch {
	case s == "" || isDigit(s[0]):
		return 0
	case s[0] == '~':
		return -1
	case isLetter(s[0]):
		return int(s[0])
	}
	return int(s[0]) + 256
}

func leadingDigits(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

// compareNumbers compares two strings of digits of any length as numbers; "" is 0.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// CheckVersion refuses what isn't a version by policy 5.6.12: a number as epoch, an upstream
// version that begins with a digit or letter (dpkg lets a letter pass), the bytes that policy
// allows, at most 256 of them.
func CheckVersion(v string) error {
	epoch, upstream, revision := splitVersion(v)
	hasEpoch, hasRevision := epoch != "", strings.Contains(v, "-")
	switch {
	case len(v) > maxVersion:
		return refused("a version of %d bytes: %.40q", len(v), v)
	case strings.HasPrefix(v, ":") || len(epoch) > 9:
		return refused("version %q has no usable epoch before the colon", v)
	case upstream == "" || !isDigit(upstream[0]) && !isLetter(upstream[0]):
		return refused("version %q has no upstream part that begins with a digit", v)
	case hasRevision && (revision == "" || !allBytes(revision, isRevisionByte)):
		return refused("version %q has the revision %q", v, revision)
	case !allBytes(upstream, func(c byte) bool { return isRevisionByte(c) || c == '-' || c == ':' && hasEpoch }):
		return refused("version %q has a byte that no version may have", v)
	}
	return nil
}

func isRevisionByte(c byte) bool {
	return isDigit(c) || isLetter(c) || c == '.' || c == '+' || c == '~'
}

func allBytes(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}
