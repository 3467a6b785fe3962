package eventlog_test

import (
	"bytes"
	"fmt"
	"testing"

	"imx/internal/eventlog"
)

// What an append costs decides how finely events can be written down. Every figure includes the
// fsync of the records and of the signed checkpoint.

// One caller that waits for each append: the time is the disk's.
func BenchmarkAppendAlone(b *testing.B) { benchmarkAppend(b, 1, 1) }

// Many callers at once share writes.
func BenchmarkAppendShared(b *testing.B) { benchmarkAppend(b, 256, 1) }

// One caller with many records at once, as an apply has.
func BenchmarkAppendBatch(b *testing.B) { benchmarkAppend(b, 1, 500) }

func benchmarkAppend(b *testing.B, callers, records int) {
	b.Helper()
	log, _, err := eventlog.Open(eventlog.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	batch := make([][]byte, records)
	for i := range batch {
		batch[i] = bytes.Repeat([]byte{'x'}, 400)
	}
	b.SetParallelism(callers)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := log.Append(batch...); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N*records)/b.Elapsed().Seconds(), "records/s")
	if err := log.Close(); err != nil {
		b.Fatal(err)
	}
}

// Opening recomputes every hash from the records.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	log, _, err := eventlog.Open(eventlog.Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	const records = 100_000
	for i := range records / 1000 {
		batch := make([][]byte, 1000)
		for j := range batch {
			batch[j] = fmt.Appendf(nil, `{"index":%d,"body":"%0400d"}`, i*1000+j, j)
		}
		if _, err := log.Append(batch...); err != nil {
			b.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for b.Loop() {
		log, rec, err := eventlog.Open(eventlog.Config{Dir: dir})
		if err != nil || rec.Records != records || rec.Tiles != 0 {
			b.Fatal(rec, err)
		}
		if err := log.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
