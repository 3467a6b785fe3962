package build

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"imx"
)

// steps reports the progress of one build.
type steps struct {
	name   string
	begun  time.Time
	fetch  Fetch
	report imx.Report
}

// Step is what the progress of an image's build is reported under.
func Step(p imx.ImagePlan) string { return "build image." + p.Spec.Name }

func (s steps) say(format string, args ...any) {
	s.report(imx.Progress{Step: s.name, Status: imx.StepRunning, Message: fmt.Sprintf(format, args...)})
}

// count is say with so many packages done.
func (s steps) count(done, total int, format string, args ...any) {
	s.report(imx.Progress{
		Step: s.name, Status: imx.StepRunning, Message: fmt.Sprintf(format, args...),
		Done: int64(done), Total: int64(total), Unit: "packages",
	})
}

// done ends a step that took so many packages, reuse one that found its result here.
func (s steps) done(packages int) { s.endOf(imx.StepDone, packages) }

func (s steps) reuse(packages int) { s.endOf(imx.StepCached, packages) }

func (s steps) endOf(status string, packages int) {
	s.report(imx.Progress{
		Step: s.name, Status: status, Done: int64(packages), Total: int64(packages), Unit: "packages",
		Seconds: time.Since(s.begun).Seconds(),
	})
}

func (s steps) end(status, message string) {
	s.report(imx.Progress{Step: s.name, Status: status, Message: message, Seconds: time.Since(s.begun).Seconds()})
}

const hintFull = "free some space in the data folder's file system, then do the same again: what was built is kept"

// trouble says what was being done when err happened, and knows a full disk when it sees one. Errors
// that already are for people keep their kind, text and hint.
func trouble(err error, doing string) error {
	var known *imx.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return &imx.Error{Kind: known.Kind, Message: doing + ": " + err.Error(), Hint: known.Hint}
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return imx.Errorf(imx.Exhausted, "%s: no space left on the disk: %w", doing, err).
			WithHint(hintFull)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
