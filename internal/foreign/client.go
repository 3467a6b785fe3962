//go:build client

// Package foreign holds files of other tools against rules. The client-only build has no rules: see check.Complete.
package foreign

import (
	"context"
	"time"

	"imx"
)

// Checker checks nothing.
type Checker struct{}

// New returns a Checker.
func New() *Checker { return &Checker{} }

// Rules returns none.
func (*Checker) Rules() ([]imx.Rule, error) { return nil, nil }

// IsRule knows none.
func IsRule(string) bool { return false }

// Check finds nothing.
func (*Checker) Check(context.Context, string, []byte, time.Time) ([]imx.Finding, imx.Diagnostics, error) {
	return nil, nil, nil
}
