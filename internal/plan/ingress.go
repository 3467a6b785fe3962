package plan

import (
	"fmt"
	"strconv"
	"strings"

	"imx"
)

// diffIngresses says what becomes of the ingresses that a plan has.
func diffIngresses(p imx.Plan, s imx.State) []imx.Change {
	var changes []imx.Change
	for _, in := range p.Ingresses {
		old, there := s.Ingresses[in.Name]
		before := settings{}
		whole := imx.Change{Op: imx.OpAdd, Kind: "ingress", Subject: "ingress." + in.Name}
		if there {
			before, whole.Op, whole.Note = ingressSettings(old), imx.OpUpdate, "without a dropped connection"
		}
		parts := diffSettings(whole.Subject, before, ingressSettings(in))
		if len(parts) > 0 {
			changes = append(append(changes, whole), parts...)
		}
	}
	return changes
}

func ingressSettings(in imx.Ingress) settings {
	s := settings{}
	s.set("http", nonZero(strconv.Itoa(in.HTTP)))
	s.set("https", nonZero(strconv.Itoa(in.HTTPS)))
	for _, c := range in.Certificates {
		s["certificate."+c.Host] = c.Certificate + " " + c.Key
	}
	if a := in.ACME; a != nil {
		s.set("acme.directory", a.Directory)
		s.set("acme.email", a.Email)
		if a.Roots != "" {
			s["acme.roots"] = imx.DigestBytes([]byte(a.Roots)).Short()
		}
	}
	s.set("limits.connections", nonZero(strconv.Itoa(in.Limits.Connections)))
	s.set("limits.per_client", nonZero(strconv.Itoa(in.Limits.PerClient)))
	s.set("limits.header", nonZero(bytesOf(in.Limits.Header)))
	s.duration("limits.header_timeout", in.Limits.HeaderTimeout)
	s.duration("limits.idle", in.Limits.Idle)
	return s
}

// routeSetting is a route in one line: what isn't as usual after its port.
func routeSetting(r imx.Route) string {
	var b strings.Builder
	fmt.Fprintf(&b, "to port %s", r.Port)
	for _, part := range []struct {
		name, value string
	}{
		{"strip", strings.TrimPrefix(strconv.FormatBool(r.Strip), "false")},
		{"protocol", r.Protocol},
		{"retries", retriesOf(r)},
		{"timeout", durationOf(r.Timeout)},
		{"body", nonZero(bytesOf(r.Body))},
		{"rate", nonZero(strconv.Itoa(r.Rate))},
		{"hsts", durationOf(r.HSTS)},
	} {
		if part.value != "" {
			fmt.Fprintf(&b, ", %s %s", part.name, part.value)
		}
	}
	return b.String()
}

func retriesOf(r imx.Route) string {
	if r.Retries == nil {
		return ""
	}
	return strconv.Itoa(*r.Retries)
}

func durationOf(d imx.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}
