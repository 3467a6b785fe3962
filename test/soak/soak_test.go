// Package soak_test runs a real server under load while what it is made of is killed at random moments: the server, its
// instances, their monitors. Nothing but the requests that a killed instance had may be lost, and in the end all is whole.
//
//	make soak                                           ten minutes
//	go test ./test/soak -v -run Soak -for 1m -seed 7    another time, in another order
package soak_test

import (
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

var (
	duration = flag.Duration("for", 15*time.Second, "how long harm is done")
	seed     = flag.Uint64("seed", 1, "of the random order in which things are killed")
)

func TestSoakLosesNothingButWhatTheKilledHad(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("instances need root")
	}
	s := newServer(t)
	s.apply(t, 0)
	l := newLoad(s.port)
	c := newChaos(s, rand.New(rand.NewPCG(*seed, 0)))
	halt := l.begin(t.Context())
	c.run(t, time.Now().Add(*duration))
	s.awaitWhole(t)
	halt()
	c.report(t, l)
	s.leavesNothing(t)
}

func keys(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }
