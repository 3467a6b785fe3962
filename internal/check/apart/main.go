//go:build !client

package apart

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/check"
)

// Main answers questions from in until it ends, and returns the exit status.
func Main(ctx context.Context, in io.Reader, out io.Writer) int {
	from, to := json.NewDecoder(in), json.NewEncoder(out)
	var o opening
	if from.Decode(&o) != nil || confine(o.Limits.Memory) != nil {
		return 1
	}
	set, err := check.Load(o.From, o.Modules, o.Limits.Bounds)
	if err != nil {
		return 1 // who asks has loaded the same
	}
	go overtime()
	for {
		var q question
		switch err := from.Decode(&q); {
		case errors.Is(err, io.EOF):
			return 0
		case err != nil || wind(o.Limits.Time) != nil:
			return 1
		}
		a := reply(ctx, set, q, func(a asked) error { return to.Encode(answer{Asked: &a}) })
		if to.Encode(a) != nil {
			return 1
		}
	}
}

func reply(ctx context.Context, set *check.Set, q question, tell func(asked) error) answer {
	var lost error
	found, err := set.Run(ctx, check.Document{
		Input: q.Input, Now: q.Now, Locate: sealed,
		Asked: func(r imx.Rule, at imx.Pos) { lost = errors.Join(lost, tell(asked{r.ID, at})) },
	})
	a := answer{Findings: found}
	if err = errors.Join(lost, err); err != nil {
		a = answer{Error: imx.AsError(err)}
	}
	if b, err := json.Marshal(a); err != nil || len(b) > maxAnswer {
		a = answer{Error: imx.Errorf(imx.Exhausted, "the rules find more than anybody reads: over %s of text", imx.Size(maxAnswer)).
			WithHint("shorten the messages, or find less")}
	}
	return a
}

// confine bounds what memory this process may take beside what it has.
func confine(memory imx.Size) error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(status), "\nVmData:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return errors.New("the memory of this process isn't known")
	}
	kib, err := strconv.ParseUint(fields[0], 10, 64)
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(int64(memory) / 4 * 3) // so that it is collected before the system says no
	most := kib<<10 + uint64(memory)            //nolint:gosec // a constant, or a test's
	return unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: most, Max: most})
}

// overtime ends the process when its time is over. Nothing else in it can: what takes the time is a function of Rego's.
func overtime() {
	over := make(chan os.Signal, 1)
	signal.Notify(over, unix.SIGXCPU)
	panic((<-over).String())
}

// wind gives the process time for one more document.
func wind(most time.Duration) error {
	var used unix.Rusage
	var limit unix.Rlimit
	if err := errors.Join(unix.Getrusage(unix.RUSAGE_SELF, &used), unix.Getrlimit(unix.RLIMIT_CPU, &limit)); err != nil {
		return err
	}
	limit.Cur = min(limit.Max, uint64(used.Utime.Sec+used.Stime.Sec)+uint64(most.Seconds())) //nolint:gosec // times are positive
	return unix.Setrlimit(unix.RLIMIT_CPU, &limit)
}
