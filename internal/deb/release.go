package deb

import (
	"errors"
	"io"
	"strings"
	"time"

	"imx"
)

// Release is what a suite says of itself: the payload of its InRelease file.
type Release struct {
	Origin        string
	Suite         string
	Codename      string
	Date          time.Time // when it was made; UTC
	ValidUntil    time.Time // zero where the suite sets no end, as Debian's stable suites do
	Components    []string
	Architectures []string
	AcquireByHash bool
	Priority      int                    // of its packages among those of other suites, as apt has it; see PriorityNormal
	SHA256        map[string]ReleaseFile // by path below the suite's folder: "main/binary-amd64/Packages.xz"
}

// The priorities that apt gives to a suite by its Release (apt_preferences(5)). Of a name's
// packages those of the highest priority are candidates.
const (
	PriorityLast   = 1   // NotAutomatic: experimental
	PriorityLow    = 100 // NotAutomatic and ButAutomaticUpgrades: backports
	PriorityNormal = 500
)

// priority reads apt's two flags.
func priority(s *Stanza) int {
	switch {
	case s.Field("notautomatic") != "yes":
		return PriorityNormal
	case s.Field("butautomaticupgrades") == "yes":
		return PriorityLow
	}
	return PriorityLast
}

// ReleaseFile is what a Release says of one file.
type ReleaseFile struct {
	Size   int64
	Digest imx.Digest
}

// ParseRelease reads a Release file: the text that InRelease signs, without its armour. Checking
// the signature and the dates is the caller's business. It refuses a file without a Date
// or without SHA256 sums, a sum or size that is none, and paths that lead out of the suite's folder.
func ParseRelease(r io.Reader) (Release, error) {
	stanzas := ReadStanzas(r, "Release")
	s, err := stanzas.Next()
	if errors.Is(err, io.EOF) {
		return Release{}, refused("Release is empty")
	}
	if err != nil {
		return Release{}, err
	}
	rel := Release{
		Origin:        s.Field("origin"),
		Suite:         s.Field("suite"),
		Codename:      s.Field("codename"),
		Components:    strings.Fields(s.Field("components")),
		Architectures: strings.Fields(s.Field("architectures")),
		AcquireByHash: s.Field("acquire-by-hash") == "yes",
		Priority:      priority(s),
	}
	if rel.Date, err = parseDate("Date", s.Field("date")); err != nil {
		return Release{}, err
	}
	if until := s.Field("valid-until"); until != "" {
		if rel.ValidUntil, err = parseDate("Valid-Until", until); err != nil {
			return Release{}, err
		}
	}
	if rel.SHA256, err = parseSums(s.Field("sha256")); err != nil {
		return Release{}, err
	}
	if _, err := stanzas.Next(); !errors.Is(err, io.EOF) {
		return Release{}, refused("Release has more than one stanza")
	}
	return rel, nil
}

// parseDate reads the form that Debian policy 4.4 gives. Only UTC is taken: Go can't tell what
// other names of zones mean, and archives write no other.
func parseDate(field, text string) (time.Time, error) {
	rest, ok := strings.CutSuffix(text, " UTC")
	if !ok {
		if rest, ok = strings.CutSuffix(text, " GMT"); !ok {
			rest, ok = strings.CutSuffix(text, " +0000")
		}
	}
	t, err := time.Parse("Mon, 2 Jan 2006 15:04:05", rest)
	if err != nil || !ok {
		return time.Time{}, refused("Release has the %s %q, which isn't a date such as \"Sat, 11 Nov 2023 08:54:24 UTC\"", field, text)
	}
	return t, nil
}

// parseSums reads lines of digest, size and path.
func parseSums(text string) (map[string]ReleaseFile, error) {
	sums := make(map[string]ReleaseFile, strings.Count(text, "\n")+1)
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 3 {
			return nil, refused("Release has the SHA256 line %.120q", line)
		}
		d, err := imx.ParseDigest("sha256:" + words[0])
		if err != nil {
			return nil, refused("Release gives %.60q the SHA256 %.80q", words[2], words[0])
		}
		size, err := parseReleaseSize(words[1])
		if err != nil {
			return nil, imx.Errorf(imx.Refused, "Release gives %.60q no usable size: %w", words[2], err)
		}
		if err := CheckPath(words[2]); err != nil {
			return nil, imx.Errorf(imx.Refused, "Release: %w", err)
		}
		f := ReleaseFile{Size: size, Digest: d}
		if old, twice := sums[words[2]]; twice && old != f {
			return nil, refused("Release lists %q twice, with different sums", words[2])
		}
		sums[words[2]] = f
	}
	if len(sums) == 0 {
		return nil, refused("Release has no SHA256 sums")
	}
	return sums, nil
}

// parseReleaseSize reads a size that may be 0: suites list empty indices too.
func parseReleaseSize(s string) (int64, error) {
	if strings.Trim(s, "0") == "" && s != "" {
		return 0, nil
	}
	return parseSize(s)
}
