package control_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/control"
	"imx/internal/eventlog"
)

// BenchmarkEvent is what one event costs a server with 1,000 services and 10,000 instances: to be decided on, folded, signed and synced.
// Then somebody reads the state, as the loops of a server do after each.
func BenchmarkEvent(b *testing.B) {
	c := large(b, 1000, 10)
	state := c.State()
	in := state.Instances["service0007-1-3"]
	in.Flows = 0
	for name, body := range map[string]func(n int) imx.Body{
		"of an instance": func(n int) imx.Body {
			in.Phase = []imx.Phase{imx.Healthy, imx.Unhealthy}[n%2]
			return imx.InstanceChanged{Instance: in}
		},
		"of a service": func(n int) imx.Body {
			return imx.TrafficMoved{Service: in.Service, Weights: imx.Weights{1: 1 + n%2}}
		},
		"of neither": func(int) imx.Body { return imx.ServicesReturned{} },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			before := spent(b)
			for n := 0; b.Loop(); n++ {
				if err := c.Record(imx.Server, body(n)); err != nil {
					b.Fatal(err)
				}
				for range 4 {
					if c.State().Next == 0 {
						b.Fatal("it knows of no event")
					}
				}
			}
			b.ReportMetric(float64((spent(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/event")
		})
	}
}

// large is a control of that many services, with as many healthy instances each.
func large(b *testing.B, services, instances int) *control.Control {
	b.Helper()
	log, _, err := eventlog.Open(eventlog.Config{Dir: b.TempDir(), Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = log.Close() })
	ids := 0
	c, err := control.Open(control.Config{
		Log: log, Now: time.Now, Network: netip.MustParsePrefix("10.0.0.0/16"), Version: "test",
		NewID: func() string { ids++; return fmt.Sprint("apply", ids) },
	})
	if err != nil {
		b.Fatal(err)
	}
	id, err := c.Begin("root", "", imx.Source{})
	if err != nil {
		b.Fatal(err)
	}
	p := control.Promotion{Apply: id, Judged: func(*imx.State, []imx.Release) ([]imx.Body, error) { return nil, nil }}
	for i := range services {
		p.Candidates = append(p.Candidates, candidate(fmt.Sprintf("service%04d", i), "1", publish(1+i)))
	}
	releases, err := c.Promote("root", p)
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range releases {
		bodies := []imx.Body{}
		for i := range instances {
			bodies = append(bodies, imx.InstanceStarted{Instance: imx.Instance{
				ID: fmt.Sprintf("%s-1-%d", r.Service, i), Service: r.Service, Release: 1, Phase: imx.Starting, Image: r.Image.Digest, Started: time.Now(),
			}})
		}
		if err := c.Record(imx.Server, append(bodies, imx.RolloutFinished{Service: r.Service, Release: 1})...); err != nil {
			b.Fatal(err)
		}
	}
	return c
}

// spent is the time of the processor that this process has used.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
