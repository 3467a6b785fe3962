package trial

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"imx"
	"imx/internal/admission"
	"imx/internal/engine"
	"imx/internal/probe"
)

// session is a machine that runs.
type session struct {
	Machine

	now      func() time.Time
	wake     chan struct{}
	patience time.Duration // for one probe
}

// on makes a machine, runs it, lets f work with it and takes it away again, whatever came of it.
func (t *Tester) on(ctx context.Context, f func(s *session) error) error {
	m, err := t.cfg.Open(ctx)
	if err != nil {
		return err
	}
	s := &session{Machine: m, now: t.cfg.Now, wake: make(chan struct{}, 1), patience: cmp.Or(t.cfg.Patience, probeTime)}
	running, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = m.Run(running, s.poke) // it ends when it is stopped, and with nothing else
	}()
	err = f(s)
	stop()
	<-ended
	return errors.Join(err, m.Close(context.WithoutCancel(ctx)))
}

func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default: // somebody will look anyway
	}
}

// look is how often an engine is asked that says nothing.
const look = 100 * time.Millisecond

// until waits until ok says so of an instance of a release, and returns it as it is then.
func (s *session) until(ctx context.Context, r imx.Release, ok func(imx.Instance) bool) (imx.Instance, error) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		seen, err := s.Observe(ctx)
		if err != nil {
			return imx.Instance{}, err
		}
		i := slices.IndexFunc(seen.Instances, func(in imx.Instance) bool { return in.Service == r.Service && in.Release == r.Number })
		if i >= 0 && ok(seen.Instances[i]) {
			return seen.Instances[i], nil
		}
		select {
		case <-ctx.Done():
			if i >= 0 {
				return seen.Instances[i], context.Cause(ctx)
			}
			return imx.Instance{}, context.Cause(ctx)
		case <-s.wake:
			s.poke() // for whoever else waits
			<-tick.C
		case <-tick.C:
		}
	}
}

// timed runs a case, and tells of it.
func (s *session) timed(c *trialCase, report imx.Report, f func() error) error {
	began := s.now()
	report(imx.Progress{Step: c.step(), Status: imx.StepRunning})
	err := f()
	c.result.Seconds = s.now().Sub(began).Seconds()
	c.result.Passed = err == nil && len(c.result.Checks) > 0 && !slices.ContainsFunc(c.result.Checks, func(k imx.TestCheck) bool { return !k.Passed })
	p := imx.Progress{Step: c.step(), Status: imx.StepDone, Message: counted(c.result.Checks), Seconds: c.result.Seconds}
	if !c.result.Passed {
		p.Status = imx.StepFailed
	}
	report(p)
	return err
}

func counted(checks []imx.TestCheck) string {
	passed := 0
	for _, c := range checks {
		if c.Passed {
			passed++
		}
	}
	return fmt.Sprintf("%d of %d checks passed", passed, len(checks))
}

// releases makes the subjects' releases on this machine. All know each other's addresses; no port is published, and
// none is given time to end.
func (s *session) releases(subjects []Subject) []imx.Release {
	address := s.Network().Addr()
	addresses := map[string]netip.Addr{}
	for _, one := range subjects {
		address = address.Next()
		addresses[one.Spec.Name] = address
	}
	list := make([]imx.Release, len(subjects))
	for i, one := range subjects {
		spec := settled(one.Spec)
		spec.Drain, spec.Grace = 0, 0
		list[i] = imx.Release{
			Service: spec.Name, Number: 1, Image: one.Image, Config: one.Config, Spec: spec,
			Address: addresses[spec.Name], Hosts: spec.Hosts(addresses), Made: s.now().UTC(),
		}
	}
	return list
}

// bait names the instance that nobody connects to. No service can have the name.
const bait = "imx_bait"

// probing is a release whose instance is a probe, and has a probe's limits.
func probing(r imx.Release, number int, t probe.Task) imx.Release {
	r.Number = number
	r.Spec.Command = append([]string{probePath}, t.Args()...)
	r.Spec.Health, r.Spec.Resources = imx.Health{Every: imx.Duration(time.Second)}, imx.Resources{}
	r.Spec.Ports = nil
	return r
}

// probePath is where a Machine's instances have the probe: engine/local's ProbePath.
const probePath = "/dev/imx"

// lure starts the baits, an instance and the machine itself, and returns their addresses, when they answer there: what
// can't reach them is kept from it.
func (s *session) lure(ctx context.Context, from imx.Release) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	from.Service, from.Spec.Name, from.Spec.Connect, from.Spec.Volumes, from.Hosts = bait, bait, nil, nil, nil
	from.Address = netip.Addr{}
	r := probing(from, 1, probe.Task{Serve: true})
	if err := s.start(ctx, r); err != nil {
		return nil, err
	}
	in, err := s.until(ctx, r, func(in imx.Instance) bool { return in.Phase != imx.Starting })
	if err != nil {
		return nil, err
	}
	own, err := probe.Answer(ctx, net.JoinHostPort(s.Gateway().String(), "0"))
	if err != nil {
		return nil, fmt.Errorf("the machine's own bait of the test: %w", err)
	}
	addresses := []string{net.JoinHostPort(in.Address.String(), strconv.Itoa(probe.BaitPort)), own}
	for _, address := range addresses {
		if err := s.answers(ctx, address); err != nil {
			return nil, fmt.Errorf("the bait of the test: %w", err)
		}
	}
	return addresses, nil
}

// answers waits until an address takes a connection.
func (*session) answers(ctx context.Context, address string) error {
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp4", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s doesn't answer: %w", address, err)
		case <-time.After(look / 5):
		}
	}
}

// start starts an instance that nothing but the test can reach.
func (s *session) start(ctx context.Context, r imx.Release) error {
	return s.Scale(ctx, admission.ForTrial(r), r, 1)
}

// try runs a probe to its end and returns what it tried.
func (s *session) try(ctx context.Context, r imx.Release) ([]probe.Attempt, error) {
	if err := s.start(ctx, r); err != nil {
		return nil, err
	}
	in, err := s.until(ctx, r, func(in imx.Instance) bool { return in.Phase == imx.Ended })
	if err != nil {
		return nil, fmt.Errorf("the probe didn't come to an end: %w", err)
	}
	lines, err := s.Logs(ctx, in.ID, imx.LogOptions{})
	if err != nil {
		return nil, err
	}
	defer lines.Close() // read-only
	attempts, whole := probe.Read(io.LimitReader(lines, 1<<20))
	if !whole {
		return nil, imx.Errorf(imx.Internal, "the probe in %s ended before it had tried everything: %s: %s", r.Service, in.Reason, joined(s.tail(ctx, in.ID)))
	}
	return attempts, nil
}

// tail returns the last lines of an instance.
func (s *session) tail(ctx context.Context, id string) []string {
	if id == "" {
		return nil
	}
	reader, err := s.Logs(ctx, id, imx.LogOptions{Tail: shownLines})
	if err != nil {
		return nil
	}
	defer reader.Close() // read-only
	var lines []string
	for scanner := bufio.NewScanner(io.LimitReader(reader, 1<<20)); scanner.Scan(); {
		lines = append(lines, short(scanner.Text()))
	}
	return lines[max(0, len(lines)-shownLines):]
}

// What is told of an instance's output is bounded, whatever it writes.
const (
	shownLines  = 10
	shortLength = 300
	keptOutput  = 4 << 10
)

func short(text string) string {
	text = strings.ToValidUTF8(strings.TrimSpace(text), "\uFFFD")
	if len(text) <= shortLength {
		return text
	}
	return strings.ToValidUTF8(text[:shortLength], "") + "..."
}

// spoken is what a network error says to a person: neither the layers that passed it on, nor the address, which is told
// beside it.
func spoken(err error) string {
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number.Error()
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed within the answer"
	case errors.Is(err, io.EOF):
		return "the connection was closed without an answer"
	case errors.Is(err, context.DeadlineExceeded):
		return "there was no answer in time"
	}
	return err.Error()
}

func joined(lines []string) string { return strings.Join(lines, "\n") }

// route lets a service's connections through.
func (s *session) route(ctx context.Context, r imx.Release) error {
	return s.Route(ctx, engine.Route{Service: r.Service, Releases: []imx.Release{r}, Weights: imx.Weights{r.Number: 1}})
}
