//go:build !client

package apart

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/check"
)

// Set are rules that are asked in a process of their own. It isn't safe for concurrent use.
type Set struct {
	opening opening
	set     *check.Set // as it is here, where nothing evaluates it
	process *process   // nil until it is needed
}

// Load compiles modules as check.Load does, with the same errors. Close ends what the Set starts.
func Load(from string, modules []check.Module, limits Limits) (*Set, error) {
	set, err := check.Load(from, modules, limits.Bounds)
	if err != nil {
		return nil, err
	}
	return &Set{opening: opening{from, modules, limits}, set: set}, nil
}

// Rules returns the rules in the order of their IDs.
func (s *Set) Rules() []imx.Rule { return s.set.Rules() }

// Clash is check.Set.Clash.
func (s *Set) Clash(others []imx.Rule) error { return s.set.Clash(others) }

// Run is check.Set.Run, with one more reason for Exhausted: that the system stopped a rule.
func (s *Set) Run(ctx context.Context, d check.Document) ([]imx.Finding, error) {
	if s.process == nil {
		p, err := start(s.opening)
		if err != nil {
			return nil, imx.Errorf(imx.Exhausted, "no process can be started for the rules of %s: %w", s.opening.From, err)
		}
		s.process = p
	}
	defer context.AfterFunc(ctx, s.process.kill)()
	a, last := s.process.ask(question{d.Input, d.Now})
	if a == nil {
		why := s.process.end()
		s.process = nil
		return nil, stopped(ctx, last, why, s.opening.Limits)
	}
	if a.Error != nil {
		s.Close() // what it took isn't given back
		return nil, a.Error
	}
	for i, f := range a.Findings {
		way, err := opened(f.Subject)
		if err != nil {
			return nil, imx.Errorf(imx.Internal, "the rule %s: %w", f.Rule, err)
		}
		a.Findings[i].Subject, a.Findings[i].At = d.Locate(way)
	}
	check.Sort(a.Findings)
	return a.Findings, nil
}

// Close ends the process. The Set may be used again.
func (s *Set) Close() {
	if s.process != nil {
		s.process.kill()
		s.process.end()
		s.process = nil
	}
}

// stopped explains, by what the process said at its end, why it gave no answer.
func stopped(ctx context.Context, last asked, why ending, limits Limits) error {
	switch {
	case ctx.Err() != nil:
		return imx.Errorf(imx.Unavailable, "the rule %s was interrupted: %w", last.ID, context.Cause(ctx))
	// Not every part of a program says so when it gets no memory.
	case strings.Contains(why.said, "out of memory") || strings.Contains(why.said, "cannot allocate memory") || why.peak > limits.Memory/2:
		return imx.Errorf(imx.Exhausted, "%s: the rule %s was stopped: it took more memory than rules may, within one call of a function", last.At, last.ID).
			WithHint("look for text or lists that one call makes many times as long: sprintf, split, replace, json.marshal")
	case strings.Contains(why.said, unix.SIGXCPU.String()):
		return imx.Errorf(imx.Exhausted, "%s: the rule %s was stopped: it took more time than rules may, within one call of a function", last.At, last.ID).
			WithHint("look for a call with very long text or very large numbers")
	}
	first, _, _ := strings.Cut(why.said, "\n")
	return imx.Errorf(imx.Internal, "%s: the rule %s ended the process that asked it: %s", last.At, last.ID, first)
}

// process is a running Main.
type process struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	to   *json.Encoder
	from *json.Decoder
	last *head
}

func start(o opening) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self), last: &head{}} //nolint:noctx // Run kills it when its caller ends
	p.cmd.Args = []string{"imx", Word}
	p.cmd.Env = append(os.Environ(), "GOTRACEBACK=none")
	p.cmd.Stderr = p.last
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // ctrl-c is for who asks, whose end is its own
	in, failedIn := p.cmd.StdinPipe()
	out, failedOut := p.cmd.StdoutPipe()
	if err := errors.Join(failedIn, failedOut); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.in, p.to, p.from = in, json.NewEncoder(in), json.NewDecoder(out)
	_ = p.to.Encode(o) // a process that has ended gives no answer
	return p, nil
}

// ask returns the answer to a question, nil if the process ended before, and which rule it asked last.
func (p *process) ask(q question) (*answer, asked) {
	var last asked
	_ = p.to.Encode(q) // a process that has ended gives no answer
	for {
		var a answer
		if p.from.Decode(&a) != nil {
			return nil, last
		}
		if a.Asked == nil {
			return &a, last
		}
		last = *a.Asked
	}
}

func (p *process) kill() { _ = p.cmd.Process.Kill() } // one that has ended is what is wanted

// ending is how a process ended: what it said, and what memory it had at most.
type ending struct {
	said string
	peak imx.Size
}

// end waits for the process.
func (p *process) end() ending {
	_ = p.in.Close()
	_ = p.cmd.Wait() // how it ended is in what it said
	e := ending{said: p.last.String()}
	if used, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		e.peak = imx.Size(used.Maxrss) << 10
	}
	return e
}

// head keeps the beginning of what is written to it.
type head struct{ strings.Builder }

const maxHead = 4 << 10

// Write implements io.Writer.
func (h *head) Write(b []byte) (int, error) {
	_, _ = h.WriteString(string(b[:min(len(b), maxHead-min(h.Len(), maxHead))]))
	return len(b), nil
}
