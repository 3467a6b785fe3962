package term_test

// Progress is the face of a long task. On a terminal the screen, replayed here from what was
// written, must hold each ended step once and each running step once; a pipe must get plain lines.

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/term"
)

// screen replays the two control sequences that progress uses: CPL and ED. It may be looked at
// while it is written to.
type screen struct {
	mu    sync.Mutex
	lines []string
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for text := string(p); text != ""; {
		if rest, ok := strings.CutPrefix(text, "\x1b["); ok {
			number, after, _ := strings.Cut(rest, "F\x1b[J")
			up, err := strconv.Atoi(number)
			if err != nil {
				return 0, err
			}
			s.lines, text = s.lines[:len(s.lines)-up], after
			continue
		}
		line, rest, _ := strings.Cut(text, "\n")
		s.lines, text = append(s.lines, line), rest
	}
	return len(p), nil
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
				"⠋ fetch ━━━━━━━━──────── 5.0 MiB of 10.0 MiB 1.0 s",
				"⠋ build image.web unpacking libc6 1.0 s",
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
			"✓ build image.db cached", "✓ fetch 10.0 MiB 1.1 s", "✗ build image.web failed no space is left 2.0 s", "",
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

func TestPipeGetsPlainLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		plain := term.Plain(strings.NewReader(""), io.Discard, &b)
		err := plain.Track(func(report imx.Report) error {
			for i := range 25 { // a report a second, of which one every ten seconds is worth a line
				report(imx.Progress{Step: "fetch", Status: imx.StepRunning, Done: int64(i), Total: 25, Unit: "packages"})
				time.Sleep(time.Second)
			}
			report(imx.Progress{Step: "fetch", Status: imx.StepDone, Done: 25, Total: 25, Unit: "packages"})
			report(imx.Progress{Step: "build image.web", Status: imx.StepCached})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := `fetch: running, 0 of 25 packages
fetch: running, 10 of 25 packages, 10.0 s
fetch: running, 20 of 25 packages, 20.0 s
fetch: done, 25 packages, 25.0 s
build image.web: cached
`
		if diff := cmp.Diff(want, b.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
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
