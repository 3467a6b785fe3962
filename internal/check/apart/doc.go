// Package apart asks rules that nobody vouches for in a process of their own. Rego's functions can take any memory and any
// time within one call, in which nothing of check's bounds is looked at: there the system's limits end the process, and
// the caller is told which rule it was.
//
// A Set has the methods of check's, and the process starts with its first Run. The process is this program once more,
// told by Word to be nothing but that: Main.
package apart

import (
	"time"

	"imx"
	"imx/internal/check"
)

// Word is the program's first argument where it is to be Main.
const Word = "__rules"

// Limits are what rules may take: check's bounds, and what the system lets their process have.
type Limits struct {
	Bounds check.Bounds  `json:"bounds"`
	Memory imx.Size      `json:"memory"` // beside what the process has when it begins
	Time   time.Duration `json:"time"`   // of the processor, in whole seconds, for each document
}

// DefaultLimits leave twice the memory of check's own bound, and some ten times the time that its steps come to.
func DefaultLimits() Limits {
	return Limits{Bounds: check.DefaultBounds(), Memory: 256 << 20, Time: 30 * time.Second}
}
