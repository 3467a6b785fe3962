package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/template"
	"imx/internal/term"
)

// The exit statuses that no imx.Kind stands for.
const (
	exitRollout     = 8   // an apply did its work, but a release of it failed
	exitRepro       = 9   // build --check-repro: an image came out otherwise the second time
	exitChanges     = 10  // plan --detailed-exitcode, image diff --exit-code: there is a difference
	exitFound       = 11  // scan --fail-on: there is such a vulnerability
	exitGaps        = 13  // scan --fail-on: there is none among what could be looked at, which isn't all
	exitDenied      = 12  // verify: it may not run; policy test: a verdict isn't the one that was expected
	exitWaits       = 14  // apply: nothing is missing but approvals
	exitInterrupted = 130 // as a shell shows a process that SIGINT ended
)

// exitOf returns the exit status of a kind of failure.
func exitOf(kind imx.Kind) int {
	switch kind {
	case imx.Invalid:
		return 2
	case imx.NotFound:
		return 3
	case imx.Conflict:
		return 4
	case imx.Refused:
		return 5
	case imx.Unavailable:
		return 6
	case imx.Exhausted:
		return 7
	case imx.Internal:
		return 1
	}
	return 1
}

// exit is an error with an exit status of its own. Without err there is nothing to print.
type exit struct {
	code int
	err  error
}

// Error returns the error's text, or the bare status.
func (e exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

// Unwrap returns what there is to print, or nil.
func (e exit) Unwrap() error { return e.err }

// finish shows err on Err and returns the exit status.
func finish(ctx context.Context, err error, g *Global, t *term.Terminal) int {
	if err == nil {
		return 0
	}
	code := exitOf(imx.KindOf(err))
	if own, ok := errors.AsType[exit](err); ok {
		if own.err == nil {
			return own.code
		}
		code = own.code
	}
	if ctx.Err() != nil {
		code = exitInterrupted
		if !isError(err) || errors.Is(err, context.Canceled) {
			err = errInterrupted("")
		}
	}
	showError(err, g, t)
	return code
}

func isError(err error) bool {
	var e *imx.Error
	return errors.As(err, &e)
}

// errInterrupted is what a person reads after Ctrl-C; hint says how things stand now.
func errInterrupted(hint string) error {
	return &imx.Error{Kind: imx.Unavailable, Message: "interrupted", Hint: hint}
}

// showError prints an error: as JSON the imx.Error in an update line, as text its diagnostics
// with their places first, then one line that says what failed and one what to do next.
func showError(err error, g *Global, t *term.Terminal) {
	e := imx.AsError(err)
	if g.JSON {
		_ = printLine(t.Err, imx.Update[struct{}]{Error: e})
		return
	}
	ink := t.Err.Ink
	message := e.Message
	if isTheirs(e) {
		message = mistakes(e.Diagnostics)
	}
	text := ink.Bad("error:") + " " + strings.TrimSpace(term.CleanLines(message)) + "\n"
	if e.Hint != "" {
		text += ink.Warn("hint:") + " " + term.CleanLines(e.Hint) + "\n"
	}
	_, _ = io.WriteString(t.Err, diagnosticsText(ink, e.Diagnostics)+term.Wrap(text, t.Err.Columns())) // where errors can't be shown, the exit status is left
}

// mistakes counts them: "3 mistakes in 2 files".
func mistakes(ds imx.Diagnostics) string {
	files := map[string]bool{}
	for _, d := range ds {
		if d.At.Line > 0 {
			files[d.At.File] = true
		}
	}
	text := term.Count(int64(len(ds)), "mistake")
	if len(files) > 0 {
		text += " in " + term.Count(int64(len(files)), "file")
	}
	return text
}

// diagnosticsText shows each diagnostic with its place, its source line and what to write instead.
func diagnosticsText(ink term.Ink, ds imx.Diagnostics) string {
	var b strings.Builder
	for _, d := range ds {
		severity := ink.Bad("error:")
		if d.Severity == imx.SeverityNotice {
			severity = ink.Warn("notice:")
		}
		if at := d.At.String(); at != "" {
			b.WriteString(ink.Bold(term.Clean(at)) + ": ")
		}
		b.WriteString(severity + " " + term.Clean(d.Summary) + "\n")
		if line, carets, ok := strings.Cut(template.Underline(d), "\n"); ok {
			bar := "  " + ink.Dim("│") + " "
			b.WriteString(bar + line + "\n" + bar + ink.Bad(carets) + "\n")
		}
		if d.Hint != "" {
			b.WriteString("  " + ink.Warn("hint:") + " " + term.CleanLines(d.Hint) + "\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// printJSON prints a command's result.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printLine prints one value of a stream: one JSON object a line.
func printLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func flagError(cmd *cobra.Command, err error) error {
	return imx.Errorf(imx.Invalid, "%w", err).WithHint("%s --help lists the flags", cmd.CommandPath())
}

// helpOfNone is an error where help is asked for of a command that there isn't: cobra would show that of the one above.
func helpOfNone(root *cobra.Command, args []string) error {
	cmd, rest, err := root.Find(args)
	if err != nil || !cmd.HasSubCommands() {
		return nil //nolint:nilerr // running it says what is wrong
	}
	if errors.Is(cmd.ParseFlags(rest), pflag.ErrHelp) && cmd.Flags().NArg() > 0 {
		return unknownCommand(cmd, cmd.Flags().Arg(0))
	}
	return nil
}

func unknownCommand(cmd *cobra.Command, name string) error {
	e := imx.Errorf(imx.Invalid, "there is no command %q", name)
	cmd.SuggestionsMinimumDistance = 2 // as far as two letters that changed places
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return e.WithHint("did you mean %s %s?", cmd.CommandPath(), strings.Join(near, " or "))
	}
	return e.WithHint("%s --help lists the commands", cmd.CommandPath())
}
