package template

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"imx"
)

func healthBlock() *block {
	type H = imx.Health
	return one(
		func(s *imx.Spec) *H { return &s.Health },
		block{
			name: "health",
			doc: "How an instance is asked whether it can take traffic: by `http`, `tcp`, `grpc` or `command`. " +
				"Without any, imx opens a TCP connection to the first port, and says so; a service without ports is healthy while it runs.",
			settings: []setting{
				field(duration(100*time.Millisecond, time.Hour), func(h *H) *imx.Duration { return &h.Every }, setting{
					name: "every", need: filled, def: `"10s"`, example: `"2s"`,
					doc: "The time between two checks of an instance that is well. It is asked each second, if that is more often, from its first failed check " +
						"until one passes, for two minutes after it became healthy, and while its service's traffic moves from one release to another.",
				}),
				field(duration(10*time.Millisecond, time.Minute), func(h *H) *imx.Duration { return &h.Timeout }, setting{
					name: "timeout", need: filled, def: `"1s"`, example: `"500ms"`, doc: "How long one check may take.",
				}),
				field(whole(1, 1000), func(h *H) *int { return &h.Failures }, setting{
					name: "failures", need: filled, def: `3`, example: `5`, doc: "So many failed checks in a row make an instance unhealthy.",
				}),
			},
			blocks: []*block{httpBlock(), tcpBlock(), grpcBlock(), commandBlock(), startBlock()},
		})
}

func tcpBlock() *block {
	return perhaps(
		func(h *imx.Health) **imx.TCPCheck { return &h.TCP },
		block{
			name: "tcp", doc: "Passes when the port accepts a connection.",
			settings: []setting{checkPort(func(c *imx.TCPCheck) *string { return &c.Port })},
		})
}

func grpcBlock() *block {
	type C = imx.GRPCCheck
	return perhaps(
		func(h *imx.Health) **C { return &h.GRPC },
		block{
			name: "grpc", doc: "Passes when the health service on the port (`grpc.health.v1.Health`, without TLS) answers `SERVING`.",
			settings: []setting{
				checkPort(func(c *C) *string { return &c.Port }),
				field(oneString("string", isServiceName), func(c *C) *string { return &c.Service }, setting{
					name: "service", unset: "the server as a whole", example: `"shop.v1.Orders"`, doc: "What to ask for, as the health service calls it.",
				}),
			},
		})
}

func commandBlock() *block {
	type C = imx.CommandCheck
	return perhaps(
		func(h *imx.Health) **C { return &h.Command },
		block{
			name: "command", doc: "Passes when a program, run inside the instance with its user, rights and limits, ends with 0.",
			settings: []setting{
				field(manyStrings(isArgument), func(c *C) *[]string { return &c.Command }, setting{
					name: "command", need: required, example: `["/usr/bin/pg_isready", "-q"]`,
					doc: "The program and its arguments. No shell reads it; the image has to have it.",
				}),
			},
		})
}

func startBlock() *block {
	type P = imx.Pace
	return perhaps(
		func(h *imx.Health) **P { return &h.Start },
		block{
			name: "start", doc: "How an instance is asked until it is healthy for the first time. Without it, as later.",
			settings: []setting{
				field(duration(100*time.Millisecond, time.Hour), func(p *P) *imx.Duration { return &p.Every }, setting{
					name: "every", unset: "as later, or more often", example: `"250ms"`, doc: "The time between two checks.",
				}),
				field(duration(10*time.Millisecond, time.Minute), func(p *P) *imx.Duration { return &p.Timeout }, setting{
					name: "timeout", unset: "as later", example: `"1s"`, doc: "How long one check may take.",
				}),
				field(duration(100*time.Millisecond, 24*time.Hour), func(p *P) *imx.Duration { return &p.Within }, setting{
					name: "within", unset: "the service's `deadline`", example: `"20s"`,
					doc: "How long after its start an instance has to be healthy; it is replaced if it isn't. A release of which three weren't has failed.",
				}),
			},
		})
}

func httpBlock() *block {
	type C = imx.HTTPCheck
	return perhaps(
		func(h *imx.Health) **C { return &h.HTTP },
		block{
			name: "http", doc: "Passes when a GET is answered with the status.",
			settings: []setting{
				checkPort(func(c *C) *string { return &c.Port }),
				field(oneString("string", isURLPath), func(c *C) *string { return &c.Path }, setting{
					name: "path", need: filled, def: `"/"`, example: `"/healthz"`, doc: "The path to ask for.",
				}),
				field(whole(100, 599), func(c *C) *int { return &c.Status }, setting{
					name: "status", unset: "any from 200 to 399", example: `200`, doc: "The status that means healthy.",
				}),
			},
		})
}

func checkPort[T any](at func(*T) *string) setting {
	return field(oneString("string", isName), at, setting{
		name: "port", need: required, example: `"http"`, doc: "The name of one of the service's ports.",
	})
}

// asked is a check of a health block: its block's name, and the port that it asks, "" for none.
type asked struct{ name, port string }

func checks(h imx.Health) []asked {
	var all []asked
	if h.HTTP != nil {
		all = append(all, asked{"http", h.HTTP.Port})
	}
	if h.TCP != nil {
		all = append(all, asked{"tcp", h.TCP.Port})
	}
	if h.GRPC != nil {
		all = append(all, asked{"grpc", h.GRPC.Port})
	}
	if h.Command != nil {
		all = append(all, asked{"command", ""})
	}
	return all
}

func (c checker) health(w where, s *imx.Spec) {
	at := w.place.block("health", 0)
	all := checks(s.Health)
	switch n := len(all); {
	case n == 0 && len(s.Ports) > 0:
		c.r.fail(at, flaw{summary: w.subject + ": health has no check", hint: "add http { ... } or tcp { ... }"})
	case n > 1:
		c.r.fail(at.block(all[1].name, 0), flaw{
			summary: fmt.Sprintf("%s: health has both %s and %s", w.subject, all[0].name, all[1].name), hint: "leave one of them out",
		})
	case n == 1 && all[0].name != "command":
		c.portOf(w, s, "health", all[0].port, at.block(all[0].name, 0))
	case n == 1 && len(s.Health.Command.Command) == 0:
		c.r.fail(at.block("command", 0).setting("command"), flaw{
			summary: w.subject + ": health: command has no program", hint: `write command = ["/usr/bin/pg_isready", "-q"]`,
		})
	case n == 1:
		c.firstArgument(w.nested(at.block("command", 0), "health: command"), s.Health.Command.Command)
	}
	if start := s.Health.Start; start != nil && start.Within > s.Deadline {
		c.r.fail(at.block("start", 0).setting("within"), flaw{
			summary: fmt.Sprintf("%s: health: start: within is %v, and the service's deadline %v", w.subject, start.Within, s.Deadline),
			hint:    fmt.Sprintf("write deadline = %q in the service, or less here", start.Within.String()),
		})
	}
}

// portOf checks that a service has the port that one of its blocks asks.
func (c checker) portOf(w where, s *imx.Spec, who, port string, at place) {
	if names := portNames(s); !slices.Contains(names, port) {
		c.r.fail(at.setting("port"), flaw{
			summary: w.subject + ": " + who + " asks port " + quote(port) + ", and it has no port of that name",
			hint:    known(port, names, "", "add port "+quote(port)+" { container = ... }"),
		})
	}
}

// isServiceName keeps to what a gRPC request can hold, and people can read.
func isServiceName(s string) flaw {
	if !plain(s) || len(s) > maxReason || strings.ContainsAny(s, " /") {
		return flaw{summary: "is " + quote(s) + ", which is not the name of a gRPC service", hint: `write it with its package, as in "shop.v1.Orders"`}
	}
	return flaw{}
}

// inferHealth gives each service that has no check the one that follows from its first port, and
// says so: never silently none.
func inferHealth(t *imx.Template, r *report) {
	for i := range t.Services {
		s := &t.Services[i]
		w := top("service", i, s.Name)
		switch h := &s.Health; {
		case len(checks(*h)) > 0:
		case len(s.Ports) == 0:
			r.notice(w.place, flaw{
				summary: w.subject + " has no port and no health check: it counts as healthy while it runs",
				hint:    "if it answers anything, add the port and health with http or tcp",
			})
		default:
			h.TCP, h.Inferred = &imx.TCPCheck{Port: s.Ports[0].Name}, true
			r.notice(w.place, flaw{
				summary: fmt.Sprintf("%s has no health check: imx checks that its port %q (%d) accepts connections", w.subject, s.Ports[0].Name, s.Ports[0].Container),
				hint:    "add health with http or tcp to say yourself what healthy means",
				rule:    "missing-health",
			})
		}
	}
}
