// Package rego compiles what people write in Rego and evaluates it within bounds: nothing of it reaches outside, asks the
// clock, draws lots, or takes more steps or memory than it may. Its callers know what a package of Rego means.
package rego

import "imx"

// Module is one file of Rego.
type Module struct {
	Name string // its path, as a person would open it
	Text string
}

// Bounds are what one query may take for one document. Rego has no endless recursion, but it has loops in loops,
// and text that doubles.
type Bounds struct {
	Steps  int      // expressions that are evaluated: a bound that is the same on each machine
	Memory imx.Size // by which the program may grow
}

// DefaultBounds are some hundred times what shipped rules take for a template of a thousand blocks.
func DefaultBounds() Bounds { return Bounds{Steps: 5_000_000, Memory: 128 << 20} }
