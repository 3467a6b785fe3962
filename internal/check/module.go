package check

import (
	"cmp"
	"slices"
	"time"

	"imx"
	"imx/internal/rego"
)

// Own is the From of the rules that come with imx.
const Own = "imx"

// Module is one file of rules.
type Module = rego.Module

// Bounds are what one rule may take for one document.
type Bounds = rego.Bounds

// DefaultBounds are rego's.
func DefaultBounds() Bounds { return rego.DefaultBounds() }

// Document is something that rules look at.
type Document struct {
	// Input is what rules see as `input`: what encoding/json makes of it.
	Input any
	// Now is the time of the check, for the functions that would ask a clock.
	Now time.Time
	// Locate returns what a finding's "at" names, as Finding.Subject, and where it stands.
	Locate func(way []string) (subject string, at imx.Pos)
	// Asked is told of each rule before it is asked, with where it stands; nil for nobody.
	Asked func(r imx.Rule, at imx.Pos)
}

// Sort brings findings in the order of files, lines and rules.
func Sort(all []imx.Finding) {
	slices.SortStableFunc(all, func(a, b imx.Finding) int {
		return cmp.Or(cmp.Compare(a.At.File, b.At.File), cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.At.Column, b.At.Column),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
}
