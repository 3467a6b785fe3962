//go:build client

package check

import (
	"context"

	"imx"
)

// Complete says whether this build has rules. The client-only build has none: what evaluates them would make it three
// times as large, and the server holds each template against them before anything is made of it.
const Complete = false

// Set is empty.
type Set struct{}

// Load returns an error of kind Invalid: there is nothing here that could compile the modules.
func Load(string, []Module, Bounds) (*Set, error) {
	return nil, imx.Errorf(imx.Invalid, "this imx is the client-only build and has no rules").
		WithHint("check with the full imx, or leave the rules to the server")
}

// Shipped returns an empty Set.
func Shipped() (*Set, error) { return &Set{}, nil }

// Rules returns none.
func (*Set) Rules() []imx.Rule { return nil }

// Clash returns nil.
func (*Set) Clash([]imx.Rule) error { return nil }

// Run finds nothing.
func (*Set) Run(context.Context, Document) ([]imx.Finding, error) { return nil, nil }
