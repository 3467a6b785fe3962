package imx

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Kind says what sort of failure an Error is, so that a caller, an HTTP status and an exit code
// can all be chosen from it. Kinds are few on purpose.
type Kind string

// The kinds of failure.
const (
	Invalid     Kind = "invalid"     // what was asked for makes no sense as written: the person changes it
	NotFound    Kind = "not-found"   // the named thing doesn't exist
	Conflict    Kind = "conflict"    // it can't be done in the present state, or somebody else holds it
	Refused     Kind = "refused"     // a signature, digest, rule or right says no
	Unavailable Kind = "unavailable" // something outside didn't answer: trying again may help
	Exhausted   Kind = "exhausted"   // no space, memory, addresses or time left
	Internal    Kind = "internal"    // a defect in imx, or a machine that fails in an unforeseen way
)

// HTTPStatus is the kind over HTTP (RFC 9110, and RFC 4918 for a full disk).
func (k Kind) HTTPStatus() int {
	switch k {
	case Invalid:
		return http.StatusBadRequest
	case NotFound:
		return http.StatusNotFound
	case Conflict:
		return http.StatusConflict
	case Refused:
		return http.StatusForbidden
	case Unavailable:
		return http.StatusServiceUnavailable
	case Exhausted:
		return http.StatusInsufficientStorage
	case Internal:
	}
	return http.StatusInternalServerError
}

// Error is a failure that a person will read: what failed, with which thing, and what to do next.
type Error struct {
	Kind    Kind   `json:"kind"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do next; "" where the message already says it
	// Diagnostics are the single mistakes, where there are several (a template's, for example).
	Diagnostics Diagnostics `json:"diagnostics,omitempty"`

	cause error
}

// Errorf makes an Error of a kind. %w verbs, also several, keep their operands for errors.Is and
// errors.As.
func Errorf(kind Kind, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: wrapped.Error(), cause: wrapped}
}

// WithHint returns e with a hint of what to do next.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Error returns the message, without the hint: edges print the two apart.
func (e *Error) Error() string { return e.Message }

// Unwrap returns what errors.Is and errors.As look into, or nil.
func (e *Error) Unwrap() error { return e.cause }

// KindOf returns the kind of the first *Error in err's chain, Internal for any other error and ""
// for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// AsError returns err as an *Error to show or to send: the first in its chain with the outer
// text as its message, or an Internal one. It returns nil for nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return &Error{Kind: e.Kind, Message: err.Error(), Hint: e.Hint, Diagnostics: e.Diagnostics, cause: err}
	}
	return &Error{Kind: Internal, Message: err.Error(), cause: err}
}

// Pos is a place in a template file: lines and columns count from 1. Column and End count
// characters (grapheme clusters), End is the column just past the last; both are 0 if only the line is known.
type Pos struct {
	File   string `json:"file"`
	Line   int    `json:"line"` // 0 for all of the file or folder
	Column int    `json:"column,omitempty"`
	End    int    `json:"end,omitempty"`
}

// String returns "file:line", "file" without a line, or "" for the zero Pos.
func (p Pos) String() string {
	if p.File == "" || p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Severity is how much a Diagnostic matters.
type Severity string

// The severities.
const (
	SeverityError  Severity = "error"  // nothing goes on until it is mended
	SeverityNotice Severity = "notice" // imx chose something that the person should know of
)

// Diagnostic is one thing to say about one place of a template.
type Diagnostic struct {
	Severity Severity `json:"severity"`
	Summary  string   `json:"summary"`          // one sentence, no full stop: "there is no image named \"wev\""
	Hint     string   `json:"hint,omitempty"`   // what to write instead: "did you mean image.web?"
	At       Pos      `json:"at,omitzero"`      // where
	Source   string   `json:"source,omitempty"` // the source line that At points into, without its newline
	Rule     string   `json:"rule,omitempty"`   // of a notice: the rule that finds the same
}

// Diagnostics are all that is to be said, in the order of the files and lines.
type Diagnostics []Diagnostic

// MaxDiagnostics bounds what a hostile or hopeless template can make imx say, and MaxSource the length, in
// bytes, of a line that a Diagnostic quotes: nobody reads more.
const (
	MaxDiagnostics = 1000
	MaxSource      = 1000
)

// First returns the first MaxDiagnostics of them, and how many more there are in one more.
func (ds Diagnostics) First() Diagnostics {
	more := len(ds) - MaxDiagnostics
	if more <= 0 {
		return ds
	}
	return append(ds[:MaxDiagnostics:MaxDiagnostics], Diagnostic{
		Severity: SeverityError,
		Summary:  fmt.Sprintf("there are %d more mistakes than the %d shown", more, MaxDiagnostics),
		Hint:     "mend these first",
	})
}

// Err returns an Error of kind Invalid that holds every diagnostic of severity error, or nil if
// there is none.
func (ds Diagnostics) Err() error {
	var bad Diagnostics
	for _, d := range ds {
		if d.Severity == SeverityError {
			bad = append(bad, d)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	lines := make([]string, 0, len(bad))
	for _, d := range bad {
		lines = append(lines, strings.TrimPrefix(d.At.String()+": "+d.Summary, ": "))
	}
	return &Error{Kind: Invalid, Message: strings.Join(lines, "\n"), Diagnostics: bad}
}
