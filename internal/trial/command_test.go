package trial_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/engine/fake"
)

// With its first process a kernel kills all of an instance, so that the end of a command may be told of before the instance's.
func TestAnInstanceThatDiesUnderACommandIsTold(t *testing.T) {
	w := newWorld()
	w.fates["web"] = fake.Behaviour{CrashAfter: 300, Exit: 7}
	w.command = func(context.Context, io.Writer) (int, error) { return 137, nil }
	run := pings()
	run.Services[2].Spec.Health.TCP = &imx.TCPCheck{Port: "main"}
	r := w.one(t, run)
	if r.Passed || !slices.ContainsFunc(r.Checks, func(k imx.TestCheck) bool { return k.Name == "end" && strings.Contains(k.Got, "7") }) {
		t.Errorf("%+v", r.Checks)
	}
}

func TestWhatACommandWritesBeyondWhatIsJudgedIsSaid(t *testing.T) {
	w := newWorld()
	w.command = func(_ context.Context, out io.Writer) (int, error) {
		_, _ = io.WriteString(out, strings.Repeat("x", 3<<20))
		_, err := io.WriteString(out, "PONG, says the end")
		return 0, err
	}
	k := w.one(t, pings()).Checks[0]
	if k.Passed || !strings.Contains(k.Got, "the first 1.0 MiB of the 3.0 MiB") || !strings.HasPrefix(k.Output, "...") || !strings.HasSuffix(k.Output, "PONG, says the end") || len(k.Output) > 5<<10 {
		t.Errorf("%q, %d bytes that end with %q", k.Got, len(k.Output), k.Output[max(0, len(k.Output)-30):])
	}
}

func TestWhatEndedACommandIsSaid(t *testing.T) {
	for want, end := range map[string]func(ctx context.Context) (int, error){
		"it ended with 137: it needed more memory than 64MiB": func(context.Context) (int, error) {
			return 137, imx.Errorf(imx.Exhausted, "it needed more memory than 64MiB")
		},
		"it ended with 0, but what it started holds its output open: the test's time of 500ms is over": func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		},
		"it didn't end: the test's time of 500ms is over": func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return -1, context.Cause(ctx)
		},
	} {
		t.Run(fmt.Sprintf("%.20s", want), func(t *testing.T) {
			w := newWorld()
			w.command = func(ctx context.Context, _ io.Writer) (int, error) { return end(ctx) }
			run := pings()
			run.Tests[0].Timeout = imx.Duration(500 * time.Millisecond)
			if r := w.one(t, run); r.Passed || r.Checks[0].Got != want {
				t.Errorf("%+v", r.Checks)
			}
		})
	}
}
