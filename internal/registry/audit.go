package registry

import (
	"errors"
	"os"
	"slices"
	"time"

	"imx"
	"imx/internal/disk"
)

// Audit is the trail of who read which images, when and from where, and of who was turned away. It isn't part of the
// log, which is kept for good: whoever may pull could make that grow without end. Those who may do something and those who may
// not have each a trail of their own, so that strangers who knock can't push out the trace of what was given.
type Audit struct {
	given, refused *trail
}

// The trails' names and bounds. Most lines have 200 bytes: of what is given the trail goes back by 80,000 of them at least.
const (
	givenFile, refusedFile   = "audit", "refused"
	givenBytes, refusedBytes = 8 << 20, 2 << 20
	// Of how many differing lines an hour has more than one is written for each; the others are counted together: those of one
	// principal and, of all.
	givenEach, givenAll     = 4_000, 20_000
	refusedEach, refusedAll = 500, 1_000
)

// OpenAudit opens the trails in a folder.
func OpenAudit(dir string, now func() time.Time) (*Audit, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, disk.Error(err, "opening the registry's audit trail")
	}
	a := &Audit{
		given:   &trail{dir: dir, name: givenFile, now: now, most: givenBytes, each: givenEach, all: givenAll},
		refused: &trail{dir: dir, name: refusedFile, now: now, most: refusedBytes, each: refusedEach, all: refusedAll},
	}
	if err := a.given.open(); err != nil {
		return nil, disk.Error(err, "opening the registry's audit trail")
	}
	if err := a.refused.open(); err != nil {
		return nil, disk.Error(errors.Join(err, a.given.file.Close()), "opening the registry's audit trail")
	}
	return a, nil
}

// Note writes down a pull, or a refusal. A trail that can't be written to stops no pull; Read tells of it.
func (a *Audit) Note(p imx.RegistryPull) {
	if p.Refused != "" {
		a.refused.note(p)
		return
	}
	a.given.note(p)
}

// Read returns both trails, the oldest line first, as far as they go back to a time. Numbers of this hour are in it as they are
// now. Errors: those of the disk, also the one that the last line couldn't be written for.
func (a *Audit) Read(since time.Time) ([]imx.RegistryPull, error) {
	given, err := a.given.read(since)
	refused, err2 := a.refused.read(since)
	all := append(given, refused...)
	slices.SortStableFunc(all, func(a, b imx.RegistryPull) int { return a.Time.Compare(b.Time) })
	return all, errors.Join(err, err2)
}

// Close writes down the numbers of the hour.
func (a *Audit) Close() error { return errors.Join(a.given.close(), a.refused.close()) }
