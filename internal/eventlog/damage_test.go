package eventlog_test

// The promise of the log: whatever is changed in its files is found, and the first event that can
// no longer be trusted is named. Only what a single machine can't know is left to a checkpoint
// that is kept elsewhere.

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imx"
	"imx/internal/eventlog"
	"imx/internal/raced"
)

func flip(t *testing.T, path string, bit int) {
	t.Helper()
	edit(t, path, func(b []byte) []byte {
		b[bit/8] ^= 1 << (bit % 8)
		return b
	})
}

func size(t *testing.T, path string) int {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Size())
}

func TestVerifyFindsEachOfAThousandRandomBitFlips(t *testing.T) {
	dir := memory(t)
	const n = 1500
	fill(t, dir, n)
	wantGood(t, check(t, dir), n)
	var all []string
	kinds := map[string]int{}
	for _, path := range files(t, dir) {
		if size(t, path) > 0 {
			all = append(all, path)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range raced.Times(1000, 200) {
		path := all[i%len(all)] // each file in turn, however few the flips are
		bit := r.IntN(8 * size(t, path))
		flip(t, path, bit)
		c := check(t, dir)
		rel, _ := filepath.Rel(dir, path)
		if c.Bad == nil || *c.Bad < 0 || *c.Bad >= n || c.Error == nil || c.Error.Kind != imx.Refused {
			t.Fatalf("bit %d of %s: bad %v, error %v", bit, rel, deref(c.Bad), c.Error)
		}
		kinds[strings.Split(rel, string(filepath.Separator))[0]]++
		flip(t, path, bit)
	}
	wantGood(t, check(t, dir), n)
	for _, kind := range []string{"records", "tile", "checkpoint", "keys"} {
		if kinds[kind] == 0 {
			t.Errorf("no bit of %s was flipped: %v", kind, kinds)
		}
	}
}

// Text has bits that a lenient reader overlooks: the case of a digit, the unused bits of base64.
func TestVerifyFindsEveryBitOfTheSmallFiles(t *testing.T) {
	dir := memory(t)
	fill(t, dir, 20)
	for _, name := range []string{"checkpoint", "keys/log.pub", "keys/log.key"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		for bit := range 8 * size(t, path) {
			flip(t, path, bit)
			if c := check(t, dir); c.Bad == nil {
				t.Errorf("bit %d of %s can change unseen", bit, name)
			}
			flip(t, path, bit)
		}
	}
}

func TestAFlippedBitOfARecordNamesThatRecord(t *testing.T) {
	dir := t.TempDir()
	log := openSmall(t, dir)
	const n = 600
	texts := make([][]byte, n)
	for i := range texts {
		texts[i] = bytes.Repeat([]byte{byte(i), byte(i >> 8), 0xAA}, 9)
	}
	for batch := range slices.Chunk(texts, 7) {
		if _, err := log.Append(batch...); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, log)
	for i := 0; i < n; i += 13 {
		for _, path := range segmentFiles(t, dir) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			at := bytes.Index(b, texts[i])
			if at < 0 {
				continue
			}
			flip(t, path, 8*at+13)
			wantBad(t, check(t, dir), int64(i))
			wantRefused(t, dir, int64(i))
			flip(t, path, 8*at+13)
		}
	}
	wantGood(t, check(t, dir), n)
}

// wantRefused opens a damaged log, which must be refused with the first bad event.
func wantRefused(t *testing.T, dir string, first int64) {
	t.Helper()
	_, _, err := eventlog.Open(eventlog.Config{Dir: dir})
	var e *imx.Error
	if !errors.As(err, &e) || e.Kind != imx.Refused || !strings.Contains(e.Hint, "imx log verify") {
		t.Fatalf("opening: %v; want it refused with a hint", err)
	}
	if want := damagedFrom(first); !strings.Contains(e.Message, want) {
		t.Fatalf("opening: %v; want %q", e, want)
	}
}

func damagedFrom(first int64) string {
	return imx.Errorf(imx.Refused, "from event %d on", first).Message
}

func TestADamagedTileNamesTheEventsThatItCoversAndIsWrittenAnewByOpening(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 600)
	for name, first := range map[string]int64{
		"tile/0/000":      5, // its sixth hash
		"tile/0/001":      256 + 5,
		"tile/0/002.p/88": 512 + 5,
		"tile/1/000.p/2":  0,
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		bit := 8 * 32 * 5
		if strings.HasPrefix(name, "tile/1") {
			bit = 3
		}
		flip(t, path, bit)
		wantBad(t, check(t, dir), first)
		log, rec, err := eventlog.Open(eventlog.Config{Dir: dir})
		if err != nil || rec.Tiles != 1 {
			t.Fatalf("%s: opening: %+v, %v", name, rec, err)
		}
		closeLog(t, log)
		wantGood(t, check(t, dir), 600)
	}
	if err := os.RemoveAll(filepath.Join(dir, "tile")); err != nil {
		t.Fatal(err)
	}
	wantBad(t, check(t, dir), 0)
	log, _, err := eventlog.Open(eventlog.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	closeLog(t, log)
	wantGood(t, check(t, dir), 600)
}

func TestRecordsThatAreCutOffAreFound(t *testing.T) {
	whole := t.TempDir()
	fill(t, whole, 300)
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		dir := t.TempDir()
		copyLog(t, whole, dir)
		segs := segmentFiles(t, dir)
		last := segs[len(segs)-1]
		if err := os.Truncate(last, int64(r.IntN(size(t, last)))); err != nil {
			t.Fatal(err)
		}
		c := check(t, dir)
		if c.Bad == nil || *c.Bad >= 300 {
			t.Fatalf("verify: bad %v, %v", deref(c.Bad), c.Error)
		}
		wantRefused(t, dir, *c.Bad)
	}
	for i, path := range segmentFiles(t, whole) {
		dir := t.TempDir()
		copyLog(t, whole, dir)
		if err := os.Remove(filepath.Join(dir, "records", filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
		c := check(t, dir)
		if c.Bad == nil {
			t.Fatalf("segment %d can go missing unseen", i)
		}
		wantRefused(t, dir, *c.Bad)
	}
}

func TestSwappedSegmentsAreFound(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 600)
	segs := segmentFiles(t, dir)
	if len(segs) < 3 {
		t.Fatalf("only %d segments", len(segs))
	}
	swap(t, segs[1], segs[2])
	c := check(t, dir)
	if c.Bad == nil || filepath.Base(segs[1]) != segmentName(*c.Bad) {
		t.Fatalf("verify: bad %v, %v; want the first event of %s", deref(c.Bad), c.Error, segs[1])
	}
}

func segmentName(first int64) string { return imx.Errorf("", "%020d.seg", first).Message }

func swap(t *testing.T, a, b string) {
	t.Helper()
	for _, move := range [][2]string{{a, a + ".x"}, {b, a}, {a + ".x", b}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
}

// Somebody who knows the format reorders records and makes all checksums right again.
func TestReorderedRecordsAreFoundAlsoWithRightChecksums(t *testing.T) {
	dir := t.TempDir()
	log := openSmall(t, dir)
	for _, text := range []string{"a", "b", "c", "d"} {
		if _, err := log.Append([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, log)
	edit(t, segmentFiles(t, dir)[0], func(b []byte) []byte {
		b = b[:16]
		for i, text := range []string{"a", "c", "b", "d"} {
			b = append(b, eventlog.Frame(int64(i), []byte(text))...)
		}
		return b
	})
	wantBad(t, check(t, dir), 1)
	wantRefused(t, dir, 1)
}

// A copy of an older checkpoint in place of the newest: the records behind it are whole, so they
// are kept and signed again.
func TestAnOlderCheckpointPutBackLosesNothing(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 50)
	old, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, dir, 90)
	edit(t, filepath.Join(dir, "checkpoint"), func([]byte) []byte { return old })
	wantGood(t, check(t, dir), 50)
	log := openSmall(t, dir)
	if log.Size() != 90 {
		t.Errorf("%d records after opening", log.Size())
	}
	closeLog(t, log)
	wantGood(t, check(t, dir), 90)
}

// A log that was cut back together with its checkpoint and tiles is a whole log of the past: on
// its own it shows nothing. A checkpoint that somebody kept does.
func TestOnlyACheckpointKeptElsewhereTellsOfALogCutBackAltogether(t *testing.T) {
	dir, past := t.TempDir(), t.TempDir()
	fill(t, dir, 50)
	copyLog(t, dir, past)
	kept := fill(t, dir, 90)
	wantGood(t, check(t, dir, kept), 90)
	wantGood(t, check(t, past), 50)
	wantBad(t, check(t, past, kept), 50)

	other := t.TempDir()
	foreign := fill(t, other, 20)
	wantBad(t, check(t, dir, foreign), 0)
}

// The owner of the key rewrites an event and signs anew: a kept checkpoint tells.
func TestOnlyACheckpointKeptElsewhereTellsOfALogRewrittenWithItsKey(t *testing.T) {
	dir := t.TempDir()
	kept := fill(t, dir, 20)
	for _, path := range append(segmentFiles(t, dir), filepath.Join(dir, "checkpoint"), filepath.Join(dir, "tile")) {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	log := openSmall(t, dir)
	for i := range 30 {
		if _, err := log.Append([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, log)
	wantGood(t, check(t, dir), 30)
	wantBad(t, check(t, dir, kept), 0)
}

func TestALogWithoutItsKeyOrCheckpointIsRefused(t *testing.T) {
	whole := t.TempDir()
	fill(t, whole, 20)
	for _, name := range []string{"checkpoint", "keys/log.pub"} {
		dir := t.TempDir()
		copyLog(t, whole, dir)
		if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			t.Fatal(err)
		}
		wantBad(t, check(t, dir), 0)
		wantRefused(t, dir, 0)
	}
	dir := t.TempDir()
	copyLog(t, whole, dir)
	if err := os.Remove(filepath.Join(dir, "keys", "log.key")); err != nil {
		t.Fatal(err)
	}
	wantGood(t, check(t, dir), 20) // it is all there, but can't be signed any more
	if _, _, err := eventlog.Open(eventlog.Config{Dir: dir}); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "can't be signed") {
		t.Errorf("opening without the private key: %v", err)
	}
}

func TestReadRefusesARecordThatChangedUnderAnOpenLog(t *testing.T) {
	dir := t.TempDir()
	log := openSmall(t, dir)
	defer closeLog(t, log)
	grow(t, log, 20)
	path := segmentFiles(t, dir)[0]
	flip(t, path, 8*size(t, path)-50)
	var last error
	n := 0
	for _, err := range log.Read(0, 20) {
		if last = err; err == nil {
			n++
		}
	}
	if imx.KindOf(last) != imx.Refused || n >= 20 {
		t.Errorf("%d records, then %v", n, last)
	}
}
