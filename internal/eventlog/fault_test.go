package eventlog_test

// Disks fail at any call, in several ways, once or for good; power goes at any moment and takes
// what wasn't synced. Whatever happens: what was acknowledged is there, what failed isn't readable,
// and no half of a batch is ever seen.

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"imx"
	"imx/internal/eventlog"
	"imx/internal/raced"
)

// batches are what the tests append: across the ends of tiles and of 4 KiB segments.
func batches() [][][]byte {
	var list [][][]byte
	i := 0
	for _, n := range []int{1, 250, 3, 2, 270, 1, 1} {
		var b [][]byte
		for range n {
			b = append(b, record(i))
			i++
		}
		list = append(list, b)
	}
	return list
}

// step is how many calls to go on from one fault to the next. It has no factor in common with
// the calls of a commit, so that thin runs see different calls in each.
func step() int { return raced.Times(1, 7) }

func texts(batches [][][]byte) []string {
	var list []string
	for _, b := range batches {
		for _, r := range b {
			list = append(list, string(r))
		}
	}
	return list
}

// run is what one process saw of its log.
type run struct {
	acknowledged [][][]byte
	refused      [][][]byte // appends that failed
	errs         []error
}

// use appends all batches to a log on a disk, and goes on after errors as a server does.
func use(t *testing.T, dir string, judge func(call, path string) eventlog.Outcome) run {
	t.Helper()
	var r run
	log, _, err := eventlog.OpenOn(eventlog.Config{Dir: dir, Now: clock}, 4<<10, judge)
	if err != nil {
		r.errs = append(r.errs, err)
		return r
	}
	for _, b := range batches() {
		if _, err := log.Append(b...); err != nil {
			r.refused, r.errs = append(r.refused, b), append(r.errs, err)
			continue
		}
		r.acknowledged = append(r.acknowledged, b)
	}
	if got, want := contents(t, log), texts(r.acknowledged); !slices.Equal(got, want) {
		t.Fatalf("readable are %d records, acknowledged %d", len(got), len(want))
	}
	closeLog(t, log)
	return r
}

// afterwards opens the log on a sound disk: there must be what was acknowledged and at most one
// batch more, whole, that was in the making.
func afterwards(t *testing.T, dir string, r run) {
	t.Helper()
	log := openSmall(t, dir)
	got := contents(t, log)
	possible := [][]string{texts(r.acknowledged)}
	for _, b := range r.refused {
		possible = append(possible, texts(append(slices.Clone(r.acknowledged), b)))
	}
	if !slices.ContainsFunc(possible, func(want []string) bool { return slices.Equal(got, want) }) {
		t.Fatalf("after reopening there are %d records; acknowledged were %d, refused %d batches", len(got), len(texts(r.acknowledged)), len(r.refused))
	}
	if _, err := log.Append([]byte("and on")); err != nil {
		t.Fatal(err)
	}
	closeLog(t, log)
	wantGood(t, check(t, dir), int64(len(got)+1))
}

func TestAFaultAtAnyCallLeavesWhatWasAcknowledged(t *testing.T) {
	calls := 0
	use(t, memory(t), func(string, string) eventlog.Outcome {
		calls++
		return eventlog.Outcome{}
	})
	faults := map[string]eventlog.Outcome{
		"no space":             {Err: syscall.ENOSPC},
		"no space in the half": {Err: syscall.ENOSPC, Short: true},
		"short write":          {Short: true},
		"fails after the work": {Err: syscall.EIO, After: true},
	}
	for name, fault := range faults {
		for _, lasting := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, for good %v", name, lasting), func(t *testing.T) {
				for at := 0; at < calls; at += step() {
					n, struck := 0, ""
					dir := memory(t)
					r := use(t, dir, func(call, path string) eventlog.Outcome {
						n++
						if n-1 == at || (lasting && n > at) {
							struck = call + " " + filepath.Base(path)
							if fault.Err == nil && call != "write" {
								return eventlog.Outcome{}
							}
							return fault
						}
						return eventlog.Outcome{}
					})
					if t.Failed() {
						t.Fatalf("call %d, %s", at, struck)
					}
					for _, err := range r.errs {
						wantPlain(t, err, struck)
					}
					afterwards(t, dir, r)
				}
			})
		}
	}
}

// wantPlain checks that an error is one that a person can do something with.
func wantPlain(t *testing.T, err error, struck string) {
	t.Helper()
	var e *imx.Error
	if !errors.As(err, &e) {
		t.Fatalf("%s: %v isn't an imx.Error", struck, err)
	}
	if errors.Is(err, syscall.ENOSPC) && e.Kind != imx.Exhausted && e.Kind != imx.Unavailable {
		t.Fatalf("%s: %s: %v", struck, e.Kind, err)
	}
	if (e.Kind == imx.Exhausted || e.Kind == imx.Unavailable) && e.Hint == "" {
		t.Fatalf("%s: no hint with %v", struck, err)
	}
}

func TestAFullDiskIsSaidPlainlyAndAppendsWorkAgainWhenThereIsSpace(t *testing.T) {
	full := false
	log, _, err := eventlog.OpenOn(eventlog.Config{Dir: t.TempDir()}, 4<<10, func(call, _ string) eventlog.Outcome {
		if full && call == "write" {
			return eventlog.Outcome{Err: syscall.ENOSPC, Short: true}
		}
		return eventlog.Outcome{}
	})
	if err != nil {
		t.Fatal(err)
	}
	grow(t, log, 300)
	full = true
	if _, err := log.Append([]byte("too much")); imx.KindOf(err) != imx.Exhausted || !strings.Contains(err.Error(), "no space is left") {
		t.Errorf("on a full disk: %v", err)
	}
	full = false
	grow(t, log, 400)
	for i, text := range contents(t, log) {
		if text != string(record(i)) {
			t.Fatalf("record %d is %q", i, text)
		}
	}
	closeLog(t, log)
}

// power is a disk that loses power: what wasn't synced by then may be there, in part, or not.
type power struct {
	rand    *rand.Rand
	left    int // calls until the power goes
	synced  map[string]int64
	names   map[string]bool // new names whose folder wasn't synced
	tiles   map[string]bool
	replace []byte // the checkpoint whose replacement wasn't synced; nil if there is none
}

var errPower = errors.New("the power is off")

func (p *power) judge(call, path string) eventlog.Outcome {
	if p.left--; p.left < 0 {
		return eventlog.Outcome{Err: errPower}
	}
	switch {
	case call == "create" && strings.HasSuffix(path, ".seg"):
		p.names[path], p.synced[path] = true, 0
	case call == "write" && strings.HasSuffix(path, ".seg"):
		if _, known := p.synced[path]; !known {
			p.synced[path] = fileSize(path)
		}
	case call == "sync" && strings.HasSuffix(path, ".seg"):
		p.synced[path] = fileSize(path)
	case call == "sync" && filepath.Base(path) == "records":
		clear(p.names)
	case call == "rename" && filepath.Base(path) == "checkpoint":
		p.replace, _ = os.ReadFile(path) // nothing if it is the first
	case call == "rename" && strings.Contains(path, "tile"):
		p.tiles[path] = true
	case call == "sync" && fileSize(filepath.Join(path, "checkpoint")) > 0:
		p.replace = nil
	}
	return eventlog.Outcome{}
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// strike makes of the files what the power cut left.
func (p *power) strike(t *testing.T, dir string) {
	t.Helper()
	for path, kept := range p.synced {
		now := fileSize(path)
		switch {
		case p.names[path] && p.rand.IntN(2) == 0:
			_ = os.Remove(path) // its name was never written
		case now > kept:
			cut := kept + p.rand.Int64N(now-kept+1)
			edit(t, path, func(b []byte) []byte { return b[:cut] })
			if p.rand.IntN(3) == 0 { // the length was written, the content wasn't
				edit(t, path, func(b []byte) []byte { return append(b, make([]byte, now-cut)...) })
			}
		}
	}
	for path := range p.tiles {
		switch p.rand.IntN(4) {
		case 0:
			_ = os.Remove(path)
		case 1:
			_ = os.Truncate(path, 0)
		}
	}
	if p.replace != nil && p.rand.IntN(2) == 0 {
		edit(t, filepath.Join(dir, "checkpoint"), func([]byte) []byte { return p.replace })
	}
}

func TestAPowerCutAtAnyCallLeavesWhatWasAcknowledged(t *testing.T) {
	calls := 0
	use(t, memory(t), func(string, string) eventlog.Outcome {
		calls++
		return eventlog.Outcome{}
	})
	cut := 0
	for at := 0; at < calls; at += step() {
		for seed := range uint64(4) {
			dir := memory(t)
			p := &power{
				rand: rand.New(rand.NewPCG(uint64(at), seed)), left: at,
				synced: map[string]int64{}, names: map[string]bool{}, tiles: map[string]bool{},
			}
			r := use(t, dir, p.judge)
			if len(r.refused) > 1 {
				r.refused = r.refused[:1] // the others never reached the disk
			}
			p.strike(t, dir)
			log, rec, err := eventlog.OpenOn(eventlog.Config{Dir: dir, Now: clock}, 4<<10, eventlog.Sound)
			if err != nil {
				t.Fatalf("power cut at call %d: %v", at, err)
			}
			if rec.Cut > 0 {
				cut++
			}
			closeLog(t, log)
			afterwards(t, dir, r)
		}
	}
	if cut == 0 {
		t.Error("no power cut left half a batch: the test shows nothing")
	}
}

// A batch of which a crash left a part is cut off as a whole, and the recovery says how much.
func TestAHalfWrittenBatchIsCutOffWholeAndSaidSo(t *testing.T) {
	whole := memory(t)
	fill(t, whole, 10)
	half := eventlog.Frame(10, []byte("first"), []byte("second"))
	for kept := 1; kept <= len(half); kept++ {
		dir := memory(t)
		copyLog(t, whole, dir)
		segs := segmentFiles(t, dir)
		edit(t, segs[len(segs)-1], func(b []byte) []byte { return append(b, half[:kept]...) })
		wantGood(t, check(t, dir), 10)
		log, rec, err := eventlog.Open(eventlog.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		want := eventlog.Recovery{Records: 10, Cut: int64(kept)}
		if kept == len(half) {
			want = eventlog.Recovery{Records: 12, Tiles: 1} // it is complete: kept, and signed
		}
		if rec != want {
			t.Errorf("%d of %d bytes of a batch: recovery %+v, want %+v", kept, len(half), rec, want)
		}
		closeLog(t, log)
		wantGood(t, check(t, dir), want.Records)
	}
}
