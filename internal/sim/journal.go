package sim

import (
	"context"
	"iter"

	"imx"
)

// journal is a log in memory: it outlives servers, as a log on a disk does.
type journal struct {
	records [][]byte
	told    func(records [][]byte) // is called with what was appended
}

func newJournal() *journal { return &journal{told: func([][]byte) {}} }

// Append implements control.Log.
func (j *journal) Append(records ...[]byte) (int64, error) {
	first := j.Size()
	j.records = append(j.records, records...)
	j.told(records)
	return first, nil
}

// Read implements control.Log.
func (j *journal) Read(from, to int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, record := range j.records[min(from, j.Size()):min(to, j.Size())] {
			if !yield(record, nil) {
				return
			}
		}
	}
}

// Size implements control.Log.
func (j *journal) Size() int64 { return int64(len(j.records)) }

// Wait implements control.Log. In a world nothing happens while somebody waits.
func (j *journal) Wait(_ context.Context, size int64) error {
	if j.Size() > size {
		return nil
	}
	return imx.Errorf(imx.Conflict, "nothing follows on a simulated log by waiting")
}
