//go:build !linux

package client_test

import "testing"

// asNobody isn't needed where the test is skipped.
func asNobody(*testing.T, func()) {}
