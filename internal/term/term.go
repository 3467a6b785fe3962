// Package term is what imx says to a person: streams that know whether a terminal reads them,
// colour, tables, human units, questions and live progress. It knows no command and no server.
package term

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"charm.land/lipgloss/v2"
	xterm "golang.org/x/term"

	"imx"
)

// Terminal is the three standard streams of a command, with what may be done to each.
type Terminal struct {
	In   io.Reader
	Asks bool // somebody sits at In who can answer a question on Err
	Out  Stream
	Err  Stream
}

// Stream is a writer and what its reader understands.
type Stream struct {
	io.Writer
	Ink Ink
	// Size returns the columns and rows of the terminal that reads the stream; it is nil where
	// none does, and then nothing is cut to fit and nothing is drawn twice.
	Size func() (columns, rows int)
	// Terminal says that a terminal reads the stream, even one that can't be drawn on.
	Terminal bool
}

// Columns returns the terminal's width, 0 for a stream that isn't read by a terminal.
func (s Stream) Columns() int {
	if s.Size == nil {
		return 0
	}
	columns, _ := s.Size()
	return columns
}

// Open looks at three files of a process. env answers for environment variables: NO_COLOR, set
// to anything, and TERM=dumb turn colour off; TERM=dumb redrawing too.
func Open(in, out, errs *os.File, env func(string) string) *Terminal {
	lipgloss.EnableLegacyWindowsANSI(out)
	lipgloss.EnableLegacyWindowsANSI(errs)
	t := &Terminal{In: in, Out: open(out, env), Err: open(errs, env)}
	t.Asks = xterm.IsTerminal(fd(in)) && xterm.IsTerminal(fd(errs))
	return t
}

func open(f *os.File, env func(string) string) Stream {
	s := Stream{Writer: f, Terminal: xterm.IsTerminal(fd(f))}
	if !s.Terminal || env("TERM") == "dumb" {
		return s
	}
	s.Ink = Ink{on: env("NO_COLOR") == ""}
	s.Size = func() (int, int) {
		columns, rows, err := xterm.GetSize(fd(f))
		if err != nil || columns <= 0 || rows <= 0 {
			return 80, 24
		}
		return columns, rows
	}
	return s
}

func fd(f *os.File) int { return int(f.Fd()) }

// Plain returns a Terminal as a pipe gives it: no colour, no redrawing, nobody to ask.
func Plain(in io.Reader, out, errs io.Writer) *Terminal {
	return &Terminal{In: in, Out: Stream{Writer: out}, Err: Stream{Writer: errs}}
}

// NoColor turns colour off on both streams.
func (t *Terminal) NoColor() {
	t.Out.Ink, t.Err.Ink = Ink{}, Ink{}
}

// Confirm asks a question on Err and returns whether the answer was "y" or "yes". Without
// somebody to ask, or when ctx ends first, it is an error.
func (t *Terminal) Confirm(ctx context.Context, question string) (bool, error) {
	if !t.Asks {
		return false, imx.Errorf(imx.Invalid, "nobody is there to ask: %s", question).WithHint("say --yes")
	}
	if _, err := fmt.Fprintf(t.Err, "%s %s ", t.Err.Ink.Bold(question), t.Err.Ink.Dim("[y/N]")); err != nil {
		return false, err
	}
	line, err := answered(ctx, t, func() ([]byte, error) {
		line, err := bufio.NewReader(t.In).ReadString('\n')
		return []byte(line), err
	})
	if ctx.Err() != nil {
		return false, err
	}
	if err != nil {
		line = nil
	}
	word := strings.ToLower(strings.TrimSpace(string(line)))
	return word == "y" || word == "yes", nil
}

// Secret asks for something on Err that isn't shown as it is typed, and returns it without its line's end. Without
// somebody to ask, or when ctx ends first, it is an error; the terminal is as before in any case.
func (t *Terminal) Secret(ctx context.Context, question string) ([]byte, error) {
	in, ok := t.In.(*os.File)
	if !t.Asks || !ok {
		return nil, imx.Errorf(imx.Invalid, "nobody is there to ask: %s", question)
	}
	number := fd(in)
	before, err := xterm.GetState(number)
	if err != nil {
		return nil, fmt.Errorf("asking on the terminal: %w", err)
	}
	if _, err := fmt.Fprintf(t.Err, "%s ", t.Err.Ink.Bold(question)); err != nil {
		return nil, err
	}
	secret, err := answered(ctx, t, func() ([]byte, error) { return xterm.ReadPassword(number) })
	if ctx.Err() != nil { // the read goes on, with what is typed hidden
		return nil, errors.Join(err, xterm.Restore(number, before))
	}
	_, newline := fmt.Fprintln(t.Err)
	return secret, errors.Join(err, newline)
}

// answered returns what read gives, or ctx's cause when that ends first: a read from a terminal can't be called off. The
// goroutine then stays in it until the process ends, which is what an interrupted question leads to.
func answered(ctx context.Context, t *Terminal, read func() ([]byte, error)) ([]byte, error) {
	type answer struct {
		text []byte
		err  error
	}
	given := make(chan answer, 1)
	go func() {
		text, err := read()
		given <- answer{text, err}
	}()
	select {
	case <-ctx.Done():
		_, err := fmt.Fprintln(t.Err)
		return nil, cmp.Or(context.Cause(ctx), err)
	case a := <-given:
		return a.text, a.err
	}
}
