package blob

import (
	"errors"
	"io/fs"
	"iter"
	"os"

	"imx"
	"imx/internal/disk"
	"imx/internal/gc"
)

// Things shows the store to a collection of what nothing needs. It keeps nothing of its own accord, and no
// blob says what it needs: that is known to who stored it.
func (s *Store) Things() gc.Store { return things{s} }

type things struct{ s *Store }

// Roots implements gc.Store.
func (things) Roots() ([]gc.Thing, error) { return nil, nil }

// Needs implements gc.Store.
func (things) Needs(gc.Thing) ([]gc.Thing, error) { return nil, nil }

// Items implements gc.Store.
func (t things) Items() iter.Seq2[gc.Item, error] {
	return func(yield func(gc.Item, error) bool) {
		for b, err := range t.s.All() {
			if !yield(gc.Item{Thing: gc.Of(gc.Blob, b.Digest), Made: b.Made}, err) {
				return
			}
		}
	}
}

// Size implements gc.Store.
func (t things) Size(thing gc.Thing) (imx.Size, error) {
	n, err := t.s.Size(thing.Digest())
	if imx.KindOf(err) == imx.NotFound {
		err = nil
	}
	return imx.Size(n), err
}

// Remove implements gc.Store. The removal isn't synced: where a power cut takes it back, the blob is found and
// removed again.
func (t things) Remove(thing gc.Thing) error {
	if err := os.Remove(t.s.Path(thing.Digest())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return disk.Error(err, "removing "+thing.String())
	}
	return nil
}
