package eventlog_test

// What callers of a log count on: records come back as they went in, in order and for good; one
// process holds the log; limits are said plainly; anybody can check proofs and tiles without imx.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"imx"
	"imx/internal/eventlog"
)

func TestRecordsComeBackAfterReopening(t *testing.T) {
	dir := t.TempDir()
	const n = 700
	fill(t, dir, n)
	log, rec, err := eventlog.Open(eventlog.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer closeLog(t, log)
	if rec != (eventlog.Recovery{Records: n}) {
		t.Errorf("recovery of a log that was closed in order: %+v", rec)
	}
	for _, span := range [][2]int64{{0, n}, {0, 0}, {3, 4}, {255, 257}, {699, 700}, {650, 9999}, {9999, 10000}} {
		var got []string
		for r, err := range log.Read(span[0], span[1]) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(r))
		}
		var want []string
		for i := span[0]; i < min(span[1], n); i++ {
			want = append(want, string(record(int(i))))
		}
		if !slices.Equal(got, want) {
			t.Errorf("records %d to %d: got %d, want %d, or they differ", span[0], span[1], len(got), len(want))
		}
	}
	wantGood(t, check(t, dir), n)
}

func TestAppendReturnsTheFirstIndexAlsoForManyCallersAtOnce(t *testing.T) {
	log := openSmall(t, t.TempDir())
	defer closeLog(t, log)
	const callers, each = 16, 20
	first := make([][]int64, callers)
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				at, err := log.Append(fmt.Appendf(nil, "%d/%d/a", c, i), fmt.Appendf(nil, "%d/%d/b", c, i))
				if err != nil {
					t.Error(err)
				}
				first[c] = append(first[c], at)
			}
		})
	}
	wg.Wait()
	got := contents(t, log)
	if len(got) != 2*callers*each {
		t.Fatalf("%d records on the log", len(got))
	}
	for c := range callers {
		for i, at := range first[c] {
			if got[at] != fmt.Sprintf("%d/%d/a", c, i) || got[at+1] != fmt.Sprintf("%d/%d/b", c, i) {
				t.Errorf("append %d of caller %d isn't where it was said to be", i, c)
			}
		}
	}
}

func TestNothingAppendedIsNothingDone(t *testing.T) {
	log := openSmall(t, t.TempDir())
	defer closeLog(t, log)
	if at, err := log.Append(); at != 0 || err != nil || log.Size() != 0 {
		t.Errorf("append of nothing: %d, %v", at, err)
	}
}

func TestASecondProcessIsToldWhoHoldsTheLog(t *testing.T) {
	dir := t.TempDir()
	log := openSmall(t, dir)
	_, _, err := eventlog.Open(eventlog.Config{Dir: dir})
	if imx.KindOf(err) != imx.Conflict || !strings.Contains(err.Error(), fmt.Sprintf("in use by process %d", os.Getpid())) {
		t.Errorf("opening it twice: %v", err)
	}
	closeLog(t, log)
	log = openSmall(t, dir)
	closeLog(t, log)
}

func TestTooMuchAtOnceIsRefusedAndNothingOfItIsThere(t *testing.T) {
	log := openSmall(t, t.TempDir())
	defer closeLog(t, log)
	big := make([]byte, eventlog.MaxRecord+1)
	if _, err := log.Append([]byte("small"), big); imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), "at most 16.0 MiB") {
		t.Errorf("a record too long: %v", err)
	}
	longest := big[:eventlog.MaxRecord]
	if _, err := log.Append(longest, longest, longest, longest); imx.KindOf(err) != imx.Invalid {
		t.Errorf("a batch too long: %v", err)
	}
	if _, err := log.Append(longest, longest, longest); err != nil {
		t.Error(err)
	}
	for r, err := range log.Read(2, 3) {
		if err != nil || !bytes.Equal(r, longest) {
			t.Errorf("the longest record: %d bytes, %v", len(r), err)
		}
	}
}

func TestWaitReturnsWhenTheLogGrewOrClosedOrTheCallerLeft(t *testing.T) {
	log := openSmall(t, t.TempDir())
	ctx, leave := context.WithCancel(t.Context())
	results := make(chan error)
	go func() { results <- log.Wait(t.Context(), 0) }()
	if _, err := log.Append([]byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := <-results; err != nil {
		t.Errorf("after an append: %v", err)
	}
	go func() { results <- log.Wait(ctx, 1) }()
	leave()
	if err := <-results; !errors.Is(err, context.Canceled) {
		t.Errorf("after the caller left: %v", err)
	}
	go func() { results <- log.Wait(t.Context(), 1) }()
	closeLog(t, log)
	if err := <-results; imx.KindOf(err) != imx.Conflict {
		t.Errorf("after closing: %v", err)
	}
	if _, err := log.Append([]byte("two")); imx.KindOf(err) != imx.Conflict {
		t.Errorf("appending after closing: %v", err)
	}
}

func TestEveryRecordCanBeProvedAndNoOther(t *testing.T) {
	log := openSmall(t, t.TempDir())
	defer closeLog(t, log)
	for _, n := range []int{1, 2, 255, 256, 257, 600} {
		grow(t, log, n)
		for i := range n {
			p, err := log.Prove(int64(i))
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Check(record(i)); err != nil {
				t.Fatalf("record %d of %d: %v", i, n, err)
			}
			if err := p.Check([]byte("another")); imx.KindOf(err) != imx.Refused {
				t.Fatalf("another record in place of %d: %v", i, err)
			}
		}
	}
	if _, err := log.Prove(600); imx.KindOf(err) != imx.NotFound {
		t.Errorf("beyond the end: %v", err)
	}
}

func TestALogProvesThatItOnlyGrew(t *testing.T) {
	log := openSmall(t, t.TempDir())
	defer closeLog(t, log)
	var past []imx.Checkpoint
	for _, n := range []int{0, 1, 100, 256, 400, 512} {
		grow(t, log, n)
		past = append(past, log.Checkpoint())
		for _, c := range past {
			g, err := log.ProveGrowth(c)
			if err != nil {
				t.Fatalf("from %d to %d: %v", c.Size, n, err)
			}
			if g.To, g.From = g.From, g.To; c.Size != int64(n) && c.Size > 0 && g.Check() == nil {
				t.Errorf("the log is said to have shrunk from %d to %d", n, c.Size)
			}
		}
	}
	other := openSmall(t, t.TempDir())
	defer closeLog(t, other)
	grow(t, other, 10)
	if _, err := log.ProveGrowth(other.Checkpoint()); imx.KindOf(err) != imx.Refused {
		t.Errorf("from another log's checkpoint: %v", err)
	}
}

// A reader that knows nothing but C2SP tlog-tiles and tlog-checkpoint finds every hash.
func TestTilesAndCheckpointAreWhereC2SPHasThem(t *testing.T) {
	dir := t.TempDir()
	const n = 70_000 // three levels of tiles
	log, _, err := eventlog.OpenOn(eventlog.Config{Dir: dir, Now: clock}, 1<<30, eventlog.Sound)
	if err != nil {
		t.Fatal(err)
	}
	leaves := make([]tlog.Hash, 0, n)
	for len(leaves) < n {
		var batch [][]byte
		for range min(999, n-len(leaves)) {
			batch = append(batch, record(len(leaves)))
			leaves = append(leaves, tlog.RecordHash(record(len(leaves))))
		}
		if _, err := log.Append(batch...); err != nil {
			t.Fatal(err)
		}
	}
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(log.Checkpoint().Key)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(opened.Text, "\n")
	if lines[0] != v.Name() || lines[1] != "70000" || lines[2] != log.Checkpoint().Root || lines[3] != "time 2026-08-01T12:00:00Z" {
		t.Errorf("checkpoint:\n%s", opened.Text)
	}
	for path, first := range map[string]int{"tile/0/000": 0, "tile/0/272": 272 * 256, "tile/0/273.p/112": 273 * 256} {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(b) / tlog.HashSize {
			if !bytes.Equal(b[i*tlog.HashSize:(i+1)*tlog.HashSize], leaves[first+i][:]) {
				t.Fatalf("%s: hash %d isn't that of record %d", path, i, first+i)
			}
		}
	}
	for path, size := range map[string]int64{"tile/0/273.p/112": 112, "tile/1/000": 256, "tile/1/001.p/17": 17, "tile/2/000.p/1": 1} {
		if info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(path))); err != nil || info.Size() != size*tlog.HashSize {
			t.Errorf("%s: %v", path, err)
		}
	}
	closeLog(t, log)
	wantGood(t, check(t, dir), n)
}

func TestVerifyAgreesWhileTheLogGrows(t *testing.T) {
	dir := t.TempDir()
	log := openSmall(t, dir)
	grown := make(chan struct{})
	go func() {
		defer close(grown)
		if err := extend(log, 3000); err != nil {
			t.Error(err)
		}
	}()
	for busy := true; busy; {
		select {
		case <-grown:
			busy = false
		default:
		}
		seen := int64(0)
		c, err := eventlog.Verify(t.Context(), dir, func(index int64, r []byte) error {
			if index != seen || !bytes.Equal(r, record(int(index))) {
				t.Errorf("record %d isn't what was appended", index)
			}
			seen++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		wantGood(t, c, seen)
	}
	closeLog(t, log)
	wantGood(t, check(t, dir), 3000)
}

func TestVerifyHandsOnErrorsOfItsCaller(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 10)
	stop := errors.New("enough")
	if _, err := eventlog.Verify(t.Context(), dir, func(int64, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("each's error: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := eventlog.Verify(ctx, dir, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
	if _, err := eventlog.Verify(t.Context(), filepath.Join(dir, "none"), nil); imx.KindOf(err) != imx.NotFound {
		t.Errorf("no log: %v", err)
	}
}
