package fake

import (
	"context"
	"slices"

	"imx"
)

// loads are what Use and Arrive said.
type loads struct {
	usage    map[string]imx.Usage // by instance
	arrivals map[string]int64     // by service
}

// Use sets what an instance is seen to use.
func (e *Engine) Use(id string, u imx.Usage) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.loads.usage[id] = u
}

// Arrive makes so many new connections come for a service.
func (e *Engine) Arrive(service string, n int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.loads.arrivals[service] += n
}

// Load implements engine.Engine. Nothing is used of what Use didn't say.
func (e *Engine) Load(_ context.Context, services ...string) (imx.Load, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.fault("load"); err != nil {
		return imx.Load{}, err
	}
	load := imx.Load{Time: e.clock(), Usage: map[string]imx.Usage{}, Arrivals: map[string]int64{}}
	wanted := func(service string) bool { return len(services) == 0 || slices.Contains(services, service) }
	for id, in := range e.instances {
		if wanted(in.Service) && in.Phase != imx.Ended {
			load.Usage[id] = e.loads.usage[id]
		}
	}
	for service := range e.routes {
		if wanted(service) {
			load.Arrivals[service] = e.loads.arrivals[service]
		}
	}
	return load, nil
}
