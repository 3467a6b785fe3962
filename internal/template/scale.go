package template

import (
	"fmt"
	"strings"
	"time"

	"imx"
)

func scaleBlock() *block {
	type C = imx.Scaling
	const perInstance = "; an instance more where it is more. By default it isn't looked at."
	return perhaps(
		func(s *imx.Spec) **C { return &s.Scale },
		block{
			name: "scale",
			doc: "Between which bounds, and by what, the number of instances changes by itself: the measure that asks for the most counts. " +
				"docs/scaling.md has the rules.",
			settings: []setting{
				field(whole(0, maxReplicas), func(c *C) *int { return &c.Min }, setting{
					name: "min", need: filled, def: `1`, example: `0`, doc: "The least number of instances. 0 needs `idle`.",
				}),
				field(whole(1, maxReplicas), func(c *C) *int { return &c.Max }, setting{
					name: "max", need: required, example: `10`, doc: "The largest number of instances.",
				}),
				field(whole(1, 100), func(c *C) *int { return &c.CPU }, setting{
					name: "cpu", unset: "not asked", example: `60`,
					doc: "Percent of its processor limit that an instance uses, on the average over all" + perInstance,
				}),
				field(whole(1, 100), func(c *C) *int { return &c.Memory }, setting{
					name: "memory", unset: "not asked", example: `70`,
					doc: "Percent of its memory limit that an instance uses, on the average over all" + perInstance,
				}),
				field(fraction(0.001, 1e6), func(c *C) *float64 { return &c.Connections }, setting{
					name: "connections", unset: "not asked", example: `50`,
					doc: "New connections per second and instance, through the service's address and its published ports" + perInstance,
				}),
				field(fraction(0.001, 1e9), func(c *C) *float64 { return &c.Requests }, setting{
					name: "requests", unset: "not asked", example: `200`,
					doc: "Requests per second and instance, by the counter that the service's `judge` names" + perInstance,
				}),
				field(duration(0, time.Hour), func(c *C) *imx.Duration { return &c.Up }, setting{
					name: "up", need: filled, def: quote(imx.DefaultUp.String()), example: `"30s"`, doc: "The least time between a change and more instances.",
				}),
				field(duration(0, 24*time.Hour), func(c *C) *imx.Duration { return &c.Down }, setting{
					name: "down", need: filled, def: quote(imx.DefaultDown.String()), example: `"10m"`, doc: "For how long fewer instances have to be enough before some go.",
				}),
				field(duration(time.Second, 24*time.Hour), func(c *C) *imx.Duration { return &c.Idle }, setting{
					name: "idle", unset: "never", example: `"15m"`,
					doc: "After how long without a connection the last instance goes, where `min` is 0; the first connection brings it back.",
				}),
			},
			blocks: []*block{scheduleBlock()},
		})
}

func scheduleBlock() *block {
	type S = imx.Schedule
	return many(
		func(c *imx.Scaling) *[]S { return &c.Schedules },
		func(s *S) *string { return &s.Name }, func(s *S) *imx.Pos { return &s.At },
		block{
			name: "schedule", label: label("name", isName), sample: "office",
			doc: "Other bounds at some time of the day. Of several that hold at a time each bound is the largest.",
			settings: []setting{
				field(manyStrings(isWeekday), func(s *S) *[]string { return &s.Days }, setting{
					name: "days", unset: "each day", example: `["mon", "tue", "wed", "thu", "fri"]`, doc: "The days on which it begins.",
				}),
				field(oneString("string", isClock), func(s *S) *string { return &s.From }, setting{
					name: "from", need: required, example: `"08:00"`, doc: "When it begins.",
				}),
				field(oneString("string", isClock), func(s *S) *string { return &s.To }, setting{
					name: "to", need: required, example: `"18:00"`, doc: "When it ends: on the next day, where that isn't after `from`.",
				}),
				field(oneString("string", isZone), func(s *S) *string { return &s.Zone }, setting{
					name: "zone", unset: "UTC", example: `"Europe/Berlin"`, doc: "The time zone of both.",
				}),
				field(whole(0, maxReplicas), func(s *S) *int { return &s.Min }, setting{
					name: "min", need: required, example: `4`, doc: "The least number of instances meanwhile.",
				}),
				field(whole(1, maxReplicas), func(s *S) *int { return &s.Max }, setting{
					name: "max", unset: "that of `scale`", example: `20`, doc: "The largest number of instances meanwhile.",
				}),
			},
		})
}

// The parts of a schedule are judged one by one, each beside others that are well.

func isWeekday(s string) flaw {
	return scheduleFlaw(imx.Schedule{From: midnight, To: midnight, Days: []string{s}}, s)
}

func isClock(s string) flaw { return scheduleFlaw(imx.Schedule{From: s, To: s}, s) }

func isZone(s string) flaw {
	if s == "Local" {
		return flaw{summary: `is "Local", which is another on each machine`, hint: `write it as "Europe/Berlin"`}
	}
	return scheduleFlaw(imx.Schedule{From: midnight, To: midnight, Zone: s}, s)
}

const midnight = "00:00"

func scheduleFlaw(s imx.Schedule, part string) flaw {
	err := s.Check()
	if err == nil {
		return flaw{}
	}
	e := imx.AsError(err)
	return flaw{summary: "is " + quote(part) + ", which " + strings.TrimPrefix(e.Message, quote(part)+" "), hint: e.Hint}
}

// scale checks what the settings of a scale block say together, and beside the service's others.
func (c checker) scale(w where, s *imx.Spec) {
	if s.Scale == nil {
		return
	}
	at, sc := w.place.block("scale", 0), *s.Scale
	c.bounds(w, at, sc.Min, sc.Max)
	least, most := sc.Min, sc.Max
	names := once[string]{}
	for j, x := range sc.Schedules {
		inner := at.block("schedule", j)
		if before, ok := names.first(x.Name, inner); ok {
			c.r.fail(inner, flaw{summary: w.subject + ": there are two schedules named " + quote(x.Name), hint: c.again(before)})
		}
		upper := x.Max
		if upper == 0 {
			upper = sc.Max
		}
		c.bounds(w, inner, x.Min, upper)
		least, most = min(least, x.Min), max(most, upper)
	}
	switch {
	case s.Exclusive() && most > 1:
		c.r.fail(at.setting("max"), flaw{
			summary: fmt.Sprintf("%s: scale asks for up to %d instances, and its volume %q has one holder", w.subject, most, s.Volumes[0].Name),
			hint:    "write max = 1, or keep the state in another service",
		})
	case least == 0 && sc.Idle == 0:
		c.r.fail(at.setting("min"), flaw{
			summary: w.subject + ": scale has min = 0, and nothing says when the last instance goes", hint: `add idle = "15m", or write min = 1`,
		})
	case sc.Idle > 0 && least > 0:
		c.r.fail(at.setting("idle"), flaw{summary: w.subject + ": scale has idle, and always keeps an instance", hint: "write min = 0, or leave idle out"})
	case sc.Idle > 0 && len(s.Ports) == 0:
		c.r.fail(at.setting("idle"), flaw{summary: w.subject + ": scale has idle, and no port through which a connection could bring it back", hint: "add the port"})
	case sc.Connections > 0 && len(s.Ports) == 0:
		c.r.fail(at.setting("connections"), flaw{summary: w.subject + ": scale asks for connections, and it has no port", hint: "add the port"})
	case sc.Requests > 0 && (s.Deploy == nil || s.Deploy.Judge == nil):
		c.r.fail(at.setting("requests"), flaw{
			summary: w.subject + ": scale asks for requests, and nothing says which of its metrics counts them", hint: "add deploy { judge { requests = ... } }",
		})
	case s.Replicas > most || s.Replicas > 1 && s.Replicas < least:
		c.r.fail(w.place.setting("replicas"), flaw{
			summary: fmt.Sprintf("%s: replicas is %d, and scale goes from %d to %d", w.subject, s.Replicas, least, most), hint: "leave replicas out: it begins with the least",
		})
	case !follows(sc) && sc.Min != sc.Max:
		c.r.fail(at, flaw{
			summary: fmt.Sprintf("%s: scale goes from %d to %d, and nothing says by what", w.subject, sc.Min, sc.Max),
			hint:    "add cpu, memory, connections, requests, idle or a schedule",
		})
	}
}

// follows reports whether there is anything that the number of instances follows.
func follows(c imx.Scaling) bool {
	return c.CPU > 0 || c.Memory > 0 || c.Connections > 0 || c.Requests > 0 || c.Idle > 0 || len(c.Schedules) > 0
}

func (c checker) bounds(w where, at place, least, most int) {
	if least > most && !c.r.isBroken(at.setting("max")) && !c.r.isBroken(at.setting("min")) {
		c.r.fail(at.setting("min"), flaw{summary: fmt.Sprintf("%s: min is %d and max %d", w.subject, least, most), hint: "exchange them"})
	}
}
