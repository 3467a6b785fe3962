// Package examples holds the example templates, so that `imx demo` has them wherever it runs.
package examples

import "embed"

// Shop is a three-tier application, in the folder "shop".
//
//go:embed shop
var Shop embed.FS

// Leaky is a template with a secret in it, in the folder "leaky".
//
//go:embed leaky
var Leaky embed.FS

// Proxy is an image of packages that have been mended since, in the folder "proxy".
//
//go:embed proxy
var Proxy embed.FS
