package client_test

import (
	"syscall"
	"testing"
)

// asNobody runs f with file access as an ordinary user's. The process changes as a whole, because the
// client connects from goroutines of its own.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	const nobody = 65534
	if err := syscall.Setresuid(0, nobody, 0); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setresuid(0, 0, 0); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}
