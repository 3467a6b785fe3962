package term_test

// Progress is the face of a long task. On a terminal the screen, replayed here from what was
// written, must hold each ended step once and each running step once; a pipe must get plain lines.

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/term"
)

// screen replays the control sequences that progress uses: CPL, EL and ED. It may be looked at while
// it is written to.
type screen struct {
	mu      sync.Mutex
	lines   []string
	columns int // lines wider than that take several rows, as a terminal breaks them; 0 for any width
	row     int // the cursor's, always at a line's start
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for text := string(p); text != ""; {
		if rest, ok := strings.CutPrefix(text, "\x1b["); ok {
			end := strings.IndexAny(rest, "FKJ")
			if err := s.control(rest[:end], rest[end]); err != nil {
				return 0, err
			}
			text = rest[end+1:]
			continue
		}
		line, rest, ended := strings.Cut(text, "\n")
		if !ended {
			return 0, fmt.Errorf("a line without an end: %q", line)
		}
		s.put(line)
		text = rest
	}
	return len(p), nil
}

// control performs one control sequence.
func (s *screen) control(number string, final byte) error {
	switch final {
	case 'F':
		up, err := strconv.Atoi(number)
		if err != nil || up > s.row {
			return fmt.Errorf("%q rows up from row %d", number, s.row)
		}
		s.row -= up
	case 'K':
		if s.row < len(s.lines) {
			s.lines[s.row] = ""
		}
	case 'J':
		s.lines = s.lines[:min(s.row, len(s.lines))]
	}
	return nil
}

// put writes a line at the cursor.
func (s *screen) put(line string) {
	for {
		part := line
		if s.columns > 0 && len([]rune(line)) > s.columns {
			part = string([]rune(line)[:s.columns])
		}
		for len(s.lines) <= s.row {
			s.lines = append(s.lines, "")
		}
		s.lines[s.row] = part
		s.row++
		if line = strings.TrimPrefix(line, part); line == "" {
			return
		}
	}
}

// narrow makes the screen narrower, breaking the lines that it shows.
func (s *screen) narrow(columns int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := s.lines
	s.lines, s.row, s.columns = nil, 0, columns
	for _, l := range lines {
		s.put(l)
	}
}

// whole returns the screen's lines as they are.
func (s *screen) whole() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

// seen returns the screen's lines with single spaces, however columns are aligned.
func (s *screen) seen() []string {
	var lines []string
	for _, l := range s.whole() {
		lines = append(lines, strings.Join(strings.Fields(l), " "))
	}
	return lines
}

func terminal(w io.Writer, columns, rows int) *term.Terminal {
	t := term.Plain(strings.NewReader(""), io.Discard, w)
	t.Err.Size = func() (int, int) { return columns, rows }
	return t
}

func TestTerminalSeesRunningStepsInPlaceAndKeepsEndedOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s screen
		err := terminal(&s, 80, 24).Track(func(report imx.Report) error {
			report(imx.Progress{Step: "fetch", Status: imx.StepRunning, Done: 5 << 20, Total: 10 << 20, Unit: "bytes"})
			report(imx.Progress{Step: "build image.web", Status: imx.StepRunning, Message: "unpacking libc6"})
			time.Sleep(1050 * time.Millisecond)
			want := []string{
				"⠋ fetch ━━━━━───── 50% 5.0/10.0 MiB 1.0 s",
				"⠋ build image.web 1.0 s unpacking libc6",
			}
			if diff := cmp.Diff(want, s.seen()); diff != "" {
				t.Errorf("after a second (-want +got):\n%s", diff)
			}
			report(imx.Progress{Step: "build image.db", Status: imx.StepCached})
			report(imx.Progress{Step: "fetch", Status: imx.StepDone, Done: 10 << 20, Total: 10 << 20, Unit: "bytes", Seconds: 1.1})
			time.Sleep(time.Second)
			report(imx.Progress{Step: "build image.web", Status: imx.StepFailed, Message: "no space is left"})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"✓ build image.db cached", "✓ fetch 10.0 MiB 1.1 s 9.1 MiB/s", "✗ build image.web failed 2.0 s no space is left",
			"total 2.0 s, 1 cached, 10.0 MiB fetched", "",
		}
		if diff := cmp.Diff(want, s.seen()); diff != "" {
			t.Errorf("at the end (-want +got):\n%s", diff)
		}
	})
}

func TestStepsThatNeverEndedStayAsUnfinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s screen
		failure := errors.New("the server went away")
		err := terminal(&s, 80, 24).Track(func(report imx.Report) error {
			report(imx.Progress{Step: "fetch", Status: imx.StepRunning})
			time.Sleep(time.Second)
			return failure
		})
		if !errors.Is(err, failure) {
			t.Errorf("the work's error became %v", err)
		}
		if diff := cmp.Diff([]string{"- fetch not finished 1.0 s", ""}, s.seen()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestLiveLinesFitAnyTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s screen
		_ = terminal(&s, 30, 8).Track(func(report imx.Report) error {
			for i := range 20 {
				report(imx.Progress{Step: "step " + strconv.Itoa(i), Status: imx.StepRunning, Message: strings.Repeat("long ", 20)})
			}
			time.Sleep(time.Second)
			lines := s.seen()
			if len(lines) > 6 || lines[len(lines)-1] != "and 15 more steps" {
				t.Errorf("%d lines on a terminal of 8: %q", len(lines), lines)
			}
			for _, l := range s.whole() {
				if n := len([]rune(l)); n > 30 {
					t.Errorf("%d columns: %q", n, l)
				}
			}
			return nil
		})
	})
}

func TestPipeGetsALineForEachStepAndOneEverySoOftenWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		plain := term.Plain(strings.NewReader(""), io.Discard, &b)
		err := plain.Track(func(report imx.Report) error {
			report(imx.Progress{Step: "build image.db", Status: imx.StepRunning, Message: "waiting"})
			time.Sleep(50 * time.Millisecond)
			for i := range 250 { // ten reports a second
				report(imx.Progress{Step: "fetch", Status: imx.StepRunning, Done: int64(i), Total: 250, Unit: "packages"})
				time.Sleep(100 * time.Millisecond)
			}
			report(imx.Progress{Step: "fetch", Status: imx.StepDone, Done: 250, Total: 250, Unit: "packages"})
			report(imx.Progress{Step: "build image.web", Status: imx.StepCached})
			time.Sleep(50 * time.Second) // in which nothing is reported
			report(imx.Progress{Step: "build image.db", Status: imx.StepDone, Message: "0123456789ab", Seconds: 75})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := `build image.db: running, waiting, 3.0 s
fetch: running, 30 of 250 packages, 3.0 s
fetch: running, 130 of 250 packages, 13.0 s
fetch: running, 230 of 250 packages, 23.0 s
fetch: done, 250 packages, 25.0 s
build image.web: cached
build image.db: running, waiting, 1 min 03 s
build image.db: done, 0123456789ab, 1 min 15 s
total: 1 min 15 s, 1 image built, 1 cached
`
		if diff := cmp.Diff(want, b.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

var update = flag.Bool("update", false, "rewrite the golden files; read the diff before you keep it")

// play is a build of three images as a server reports it, with a shutter for pictures of the screen.
func play(report imx.Report, picture func(string)) {
	running := func(step, message string, done, total int64, unit string) {
		report(imx.Progress{Step: step, Status: imx.StepRunning, Message: message, Done: done, Total: total, Unit: unit})
	}
	ended := func(step, status, message string, n int64, unit string, took float64) {
		report(imx.Progress{Step: step, Status: status, Message: message, Done: n, Total: n, Unit: unit, Seconds: took})
	}
	time.Sleep(50 * time.Millisecond) // from here on everything happens between two redraws, never with one
	for _, suite := range []string{"bookworm", "bookworm-security", "bookworm-updates"} {
		running("fetch suite "+suite, "", 0, 0, "")
		ended("fetch suite "+suite, imx.StepCached, "signed 2026-05-01 09:30:00", 0, "", 0.02)
		running("fetch list "+suite, "main/binary-amd64/Packages.xz", 0, 8<<20, "bytes")
	}
	time.Sleep(1500 * time.Millisecond)
	for _, suite := range []string{"bookworm", "bookworm-security", "bookworm-updates"} {
		ended("fetch list "+suite, imx.StepDone, "main/binary-amd64/Packages.xz", 4<<20, "bytes", 1.5)
	}
	for _, image := range []string{"app", "db", "web"} {
		running("build image."+image, "waiting", 0, 0, "")
	}
	for i := range int64(50) {
		running("fetch packages db", "perl-modules-5.36", i<<20, 57<<20, "bytes")
		time.Sleep(100 * time.Millisecond)
	}
	picture("fetching")
	ended("fetch packages db", imx.StepDone, "", 57<<20, "bytes", 5.7)
	ended("build image.web", imx.StepCached, "202a2f05942f", 0, "", 0)
	running("build image.db", "unpacking libc6:amd64", 7, 69, "packages")
	running("build image.app", "configuring a-package-with-a-very-long-name-indeed", 1068, 1200, "packages")
	time.Sleep(80 * time.Second)
	picture("building")
	ended("build image.db", imx.StepDone, "984f33b88ef2", 0, "", 85)
	report(imx.Progress{Step: "build image.app", Status: imx.StepFailed, Message: "configuring the package a-package-with-a-very-long-name-indeed: its script failed"})
	report(imx.Progress{Step: "reuse packages", Status: imx.StepDone, Done: 57, Total: 80, Unit: "packages"})
}

func TestABuildIsAPleasureToWatchAtAnyWidth(t *testing.T) {
	for _, columns := range []int{120, 80, 40} {
		t.Run(fmt.Sprint(columns), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := screen{columns: columns}
				var pictures strings.Builder
				picture := func(when string) {
					time.Sleep(200 * time.Millisecond) // a redraw
					pictures.WriteString("== " + when + "\n" + strings.Join(s.whole(), "\n") + "\n")
				}
				_ = terminal(&s, columns, 24).Track(func(report imx.Report) error { play(report, picture); return nil })
				picture("at the end")
				for _, l := range s.whole() {
					if n := len([]rune(l)); n > columns {
						t.Errorf("%d columns: %q", n, l)
					}
				}
				golden(t, fmt.Sprintf("testdata/build-%d.txt", columns), pictures.String())
			})
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-file +now):\n%s", file, diff)
	}
}

func TestColumnsStayWhereTheyAreWhateverTheMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := screen{columns: 80}
		_ = terminal(&s, 80, 24).Track(func(report imx.Report) error {
			places := map[int]bool{}
			for i, message := range []string{"", "short", strings.Repeat("long ", 30), "unpacking x"} {
				report(imx.Progress{Step: "build image.web", Status: imx.StepRunning, Message: message, Done: int64(i) * 30, Total: 99, Unit: "packages"})
				time.Sleep(200 * time.Millisecond)
				places[strings.Index(s.whole()[0], "/99")] = true
			}
			if len(places) != 1 {
				t.Errorf("the amount stands at %v", places)
			}
			return nil
		})
	})
}

func TestATerminalThatBecomesNarrowerLosesAndDoublesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := screen{columns: 80}
		var columns atomic.Int64
		columns.Store(80)
		narrowing := term.Plain(strings.NewReader(""), io.Discard, &s)
		narrowing.Err.Size = func() (int, int) { return int(columns.Load()), 24 }
		_ = narrowing.Track(func(report imx.Report) error {
			report(imx.Progress{Step: "one", Status: imx.StepDone})
			report(imx.Progress{Step: "two", Status: imx.StepRunning, Message: strings.Repeat("long ", 30)})
			time.Sleep(200 * time.Millisecond)
			columns.Store(30)
			s.narrow(30)
			time.Sleep(200 * time.Millisecond)
			if lines := s.seen(); len(lines) != 2 || lines[0] != "✓ one" || !strings.Contains(lines[1], " two ") {
				t.Errorf("%q", lines)
			}
			return nil
		})
	})
}

// shownRate reads the rate, in MiB a second, that a line shows.
func shownRate(t *testing.T, line string) float64 {
	t.Helper()
	words := strings.Fields(line)
	for i, w := range words {
		if w == "MiB/s" {
			rate, err := strconv.ParseFloat(words[i-1], 64)
			if err != nil {
				t.Fatal(err)
			}
			return rate
		}
	}
	t.Fatalf("%q shows no rate", line)
	return 0
}

func TestARateIsThatOfTheLastSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s screen
		var done int64
		_ = terminal(&s, 100, 24).Track(func(report imx.Report) error {
			send := func(mib, seconds int64) {
				for range 10 * seconds {
					time.Sleep(100 * time.Millisecond)
					done += mib << 20 / 10
					report(imx.Progress{Step: "fetch", Status: imx.StepRunning, Done: done, Total: 1000 << 20, Unit: "bytes"})
				}
			}
			report(imx.Progress{Step: "fetch", Status: imx.StepRunning, Total: 1000 << 20, Unit: "bytes"})
			for _, c := range []struct{ mib, seconds int64 }{{10, 10}, {50, 6}, {2, 6}} {
				send(c.mib, c.seconds)
				time.Sleep(20 * time.Millisecond) // so that the drawing of this moment is over
				if got := shownRate(t, s.seen()[0]); got < float64(c.mib)*0.9 || got > float64(c.mib)*1.1 {
					t.Errorf("%d MiB a second are shown as %.1f", c.mib, got)
				}
			}
			time.Sleep(30 * time.Second)
			if line := s.seen()[0]; strings.Contains(line, "MiB/s") {
				t.Errorf("a stalled transfer is shown as %q", line)
			}
			return nil
		})
	})
}

func TestReportsMayComeFromManyGoroutines(t *testing.T) {
	var s screen
	_ = terminal(&s, 80, 24).Track(func(report imx.Report) error {
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				for done := range int64(50) {
					report(imx.Progress{Step: strconv.Itoa(i), Status: imx.StepRunning, Done: done, Total: 50})
				}
				report(imx.Progress{Step: strconv.Itoa(i), Status: imx.StepDone})
			})
		}
		all.Wait()
		return nil
	})
	if n := len(s.seen()); n != 16+1 {
		t.Errorf("%d lines stay of 16 steps and an empty line: %q", n, s.seen())
	}
}

// broken fails every write, as a terminal does that was closed.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestProgressThatCannotBeShownDoesNotFailTheWork(t *testing.T) {
	for _, screen := range []*term.Terminal{terminal(broken{}, 80, 24), term.Plain(strings.NewReader(""), broken{}, broken{})} {
		done := false
		err := screen.Track(func(report imx.Report) error {
			report(imx.Progress{Step: "fetch", Status: imx.StepDone})
			done = true
			return nil
		})
		if err != nil || !done {
			t.Errorf("the work ended with %v, done: %v", err, done)
		}
	}
}

func TestConfirmTakesOnlyYes(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "YES\n": true, "\n": false, "n\n": false, "yesterday\n": false, "y": false} {
		var b strings.Builder
		asked := term.Plain(strings.NewReader(answer), io.Discard, &b)
		asked.Asks = true
		got, err := asked.Confirm(t.Context(), "Apply this?")
		if err != nil || got != want {
			t.Errorf("Confirm of %q = %v, %v", answer, got, err)
		}
		if b.String() != "Apply this? [y/N] " {
			t.Errorf("asked %q", b.String())
		}
	}
}

func TestConfirmNeedsSomebodyToAsk(t *testing.T) {
	_, err := term.Plain(strings.NewReader("y\n"), io.Discard, io.Discard).Confirm(t.Context(), "Apply this?")
	if imx.KindOf(err) != imx.Invalid {
		t.Errorf("%v", err)
	}
}

func TestConfirmEndsWithItsContext(t *testing.T) {
	in, _ := io.Pipe() // nobody ever answers
	asked := term.Plain(in, io.Discard, io.Discard)
	asked.Asks = true
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := asked.Confirm(ctx, "Apply this?"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
