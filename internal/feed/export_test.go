package feed

import (
	"context"
	"io"
	"io/fs"
)

// Stall is how long a transfer may bring nothing.
const Stall = stall

// Stalling is what a transfer is read through.
func Stalling(r io.Reader, end context.CancelCauseFunc) io.Reader { return newStalling(r, end) }

// Disturb puts other steps in place of those that a disk can fail.
func (s *Store) Disturb(write func(path string, b []byte, perm fs.FileMode) error, sync func(dir string) error) {
	s.disk = steps{write, sync}
}
