package measure

import (
	"context"

	"imx"
)

// Round is one round of reading.
func (c *Counter) Round(ctx context.Context) {
	jobs := due(c.cfg.State(), c.cfg.Now())
	c.turn(jobs)
	c.round(ctx, jobs)
}

// Probe is one round of probes.
func (c *Counter) Probe(ctx context.Context) {
	for _, j := range c.toProbe() {
		c.ask(ctx, j)
	}
}

// Read returns the sums of what a measure takes from metrics: requests, errors, seconds and how many they are of.
func Read(m imx.Measure, text []byte) ([4]float64, error) {
	r, err := parseRule(m)
	if err != nil {
		return [4]float64{}, err
	}
	s, err := r.read(text)
	var all [4]float64
	for k := range s {
		for _, v := range s[k] {
			all[k] += v
		}
	}
	return all, err
}
