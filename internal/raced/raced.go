// Package raced is for tests: it says whether the race detector watches them. Under it a program takes several times as long, and what
// one goroutine does again and again shows it nothing new. Such a test asks here how often it does it: some times under the race
// detector, and all times without, which `make test` does as well: it runs each package whose tests import this one a second time.
package raced

import "testing"

// Times is how often a test does the same: whole times, or only some where the race detector watches or `go test -short` asks for it.
func Times(whole, some int) int {
	if Enabled || testing.Short() {
		return some
	}
	return whole
}
