//go:build client

package apart

import (
	"context"
	"io"

	"imx/internal/check"
)

// Main answers nothing: this build has no rules.
func Main(context.Context, io.Reader, io.Writer) int { return 2 }

// Set is check's, which is empty in this build.
type Set struct{ *check.Set }

// Load fails as check.Load does in this build.
func Load(from string, modules []check.Module, limits Limits) (*Set, error) {
	set, err := check.Load(from, modules, limits.Bounds)
	return &Set{set}, err
}

// Close has nothing to end.
func (*Set) Close() {}
