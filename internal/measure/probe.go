package measure

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"imx"
	"imx/internal/healthcheck"
)

// probe opens connections through the addresses of services whose traffic is shared, from time to time: one at a time through each, and
// AtOnce at most in all.
func (c *Counter) probe(ctx context.Context) error {
	tick := time.NewTicker(ProbeEvery)
	defer tick.Stop()
	var asking sync.WaitGroup
	defer asking.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, j := range c.toProbe() {
			asking.Go(func() { c.ask(ctx, j) })
		}
	}
}

// toProbe takes the services that are to be probed now.
func (c *Counter) toProbe() []job {
	c.mu.Lock()
	defer c.mu.Unlock()
	var jobs []job
	for name, b := range c.books {
		if len(c.asking) >= AtOnce {
			break
		}
		if b.job.probe.IsValid() && !c.asking[name] {
			c.asking[name] = true
			jobs = append(jobs, b.job)
		}
	}
	return jobs
}

// ask probes one service, and counts what came of it.
func (c *Counter) ask(ctx context.Context, j job) {
	asked, err := probe(ctx, j.releases[j.fresh].Spec, j.probe)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.asking, j.service)
	b := c.books[j.service]
	if !asked || ctx.Err() != nil || b == nil || !b.job.is(j) || !b.job.probe.IsValid() {
		return
	}
	b.probes.Probed++
	if err != nil {
		b.probes.Missed++
		b.probes.Miss = err.Error()
	}
}

// probe asks a service through its own address as its instances are asked. A command can't be run there: its first port has to accept a
// connection. It reports whether there was anything to ask.
func probe(ctx context.Context, s imx.Spec, address netip.Addr) (asked bool, err error) {
	h := s.Health
	if len(s.Ports) == 0 {
		return false, nil
	}
	if h.HTTP == nil && h.TCP == nil && h.GRPC == nil {
		h.TCP = &imx.TCPCheck{Port: s.Ports[0].Name}
	}
	limit := time.Duration(h.Timeout)
	if limit <= 0 {
		limit = time.Second
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit)) //nolint:err113 // its words are its meaning
	defer cancel()
	return true, healthcheck.Ask(ctx, h, s.Ports, address)
}
