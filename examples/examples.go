// Package examples holds the example templates, so that `imx demo` has them wherever it runs.
package examples

import "embed"

// Shop is a three-tier application, in the folder "shop".
//
//go:embed shop
var Shop embed.FS
