package trial

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"imx"
	"imx/internal/probe"
)

// That something is refused says something only if there is something to be refused. So whatever a test says can't be
// reached is started, unless it is an address, and reached from the machine itself before and after the probe tries it.

// aimed are the services that a test says can't be reached, in its order.
func (r Run) aimed(test imx.Test) []Subject {
	var list []Subject
	for _, at := range connects(test) {
		host, _, _ := net.SplitHostPort(at)
		if i := slices.IndexFunc(r.Services, func(s Subject) bool { return s.Spec.Name == host }); i >= 0 {
			list = append(list, r.Services[i])
		}
	}
	return list
}

func connects(test imx.Test) []string {
	if test.Cannot == nil {
		return nil
	}
	return test.Cannot.Connect
}

// target is an entry of cannot's connect.
type target struct {
	check imx.TestCheck
	here  string   // where the machine itself reaches it
	tried []string // what the probe tries: the address of the service, and that of its instance
}

// askCannot has a probe beside the instance of own try what a test says fails. The instances of others run.
func (s *session) askCannot(ctx context.Context, c *trialCase, own imx.Release, others []imx.Release) []imx.TestCheck {
	cannot := *c.test.Cannot
	targets := make([]target, len(cannot.Connect))
	task := probe.Task{Cannot: imx.Cannot{Write: cannot.Write, Run: cannot.Run}}
	for i, entry := range cannot.Connect {
		targets[i] = s.target(ctx, entry, others)
		targets[i].check.At = c.entryAt("connect", i)
		task.Cannot.Connect = append(task.Cannot.Connect, targets[i].tried...)
	}
	attempts, err := s.try(ctx, probing(own, 2, task))
	var checks []imx.TestCheck
	for _, way := range []struct {
		name    string
		entries []string
	}{{"write", cannot.Write}, {"run", cannot.Run}} {
		n := min(len(attempts), len(way.entries))
		for i, k := range checksOf(attempts[:n]) {
			k.At = c.entryAt(way.name, i)
			checks = append(checks, k)
		}
		attempts = attempts[n:]
	}
	for _, one := range targets {
		n := min(len(attempts), len(one.tried))
		if n == len(one.tried) {
			checks = append(checks, s.judge(ctx, one, attempts[:n]))
		}
		attempts = attempts[n:]
	}
	if err != nil {
		checks = append(checks, notStarted(c, err))
	}
	return checks
}

// entryAt is where an entry of the test's cannot block stands.
func (c *trialCase) entryAt(setting string, i int) imx.Pos {
	way := []string{"test", c.test.Name, "cannot", setting, strconv.Itoa(i)}
	for n := len(way); n > 2; n-- {
		if at, ok := c.places[imx.Address(way[:n]...)]; ok {
			return at
		}
	}
	return c.test.At
}

// target finds what an entry names, and reaches it. One that isn't reached has a check that failed, and nothing to try.
func (s *session) target(ctx context.Context, entry string, others []imx.Release) target {
	one := target{check: imx.TestCheck{Name: "cannot", Asked: "it can't connect to " + entry}}
	host, port, _ := net.SplitHostPort(entry)
	i := slices.IndexFunc(others, func(r imx.Release) bool { return r.Service == host })
	ip, err := netip.ParseAddr(host)
	switch {
	case i >= 0:
		in, err := s.until(ctx, others[i], func(in imx.Instance) bool { return in.Phase != imx.Starting })
		if err != nil {
			one.check.Got = short(err.Error())
			return one
		}
		one.here = net.JoinHostPort(in.Address.String(), port)
		one.tried = []string{net.JoinHostPort(others[i].Address.String(), port), one.here}
	case err == nil:
		one.here = net.JoinHostPort(ip.String(), port)
		one.tried = []string{one.here}
	default:
		one.check.Got = fmt.Sprintf("there is neither a service nor an address %q that it could be kept from", host)
		return one
	}
	limited, cancel := context.WithTimeout(ctx, settling)
	defer cancel()
	if err := s.answers(limited, one.here); err != nil {
		one.tried = nil
		one.check.Got = "nothing answers there, not even when the machine itself asks: that it can't be reached would say nothing"
	}
	return one
}

// judge says what came of a target that was tried.
func (s *session) judge(ctx context.Context, one target, attempts []probe.Attempt) imx.TestCheck {
	if len(attempts) == 0 {
		return one.check
	}
	var got []string
	for _, a := range attempts {
		if !a.Refused {
			one.check.Got = "it can: " + strings.TrimPrefix(a.Tried, "connect to ") + " answers"
			return one.check
		}
		got = append(got, short(a.Got))
	}
	limited, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := s.answers(limited, one.here); err != nil {
		one.check.Got = "it answered the machine itself before, and doesn't any more: that it can't be reached says nothing"
		return one.check
	}
	one.check.Got, one.check.Passed = strings.Join(slices.Compact(got), "; "), true
	return one.check
}
