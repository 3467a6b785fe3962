package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"imx"
	"imx/internal/term"
)

func showIngresses(out term.Stream, views []imx.IngressView, now time.Time) error {
	var b strings.Builder
	if len(views) == 0 {
		b.WriteString("there is no ingress: a template's ingress block makes one\n")
	}
	for i, v := range views {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s %s\n", out.Ink.Name(v.Ingress.Name), ingressPorts(out.Ink, v))
		for _, fault := range v.Faults {
			b.WriteString(out.Ink.Bad(term.Clean(fault)) + "\n")
		}
		b.WriteString(ingressRoutes(out, v))
		b.WriteString(ingressCertificates(out, v, now))
		if p := v.Process; p.Pid != 0 {
			fmt.Fprintf(&b, "%s\n", out.Ink.Dim(fmt.Sprintf("process %d, imx %s, for %s; %s open",
				p.Pid, p.Version, term.Age(p.Started, now), term.Count(int64(p.Connections), "connection"))))
		}
		if lost := v.Process.Lost; lost != nil {
			fmt.Fprintf(&b, "%s\n", out.Ink.Warn(fmt.Sprintf("a process before it ended %s ago, %d so far: %s", term.Age(lost.Time, now), lost.Count, term.Clean(lost.Reason))))
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// ingressPorts says on which ports an ingress listens, and on which it should.
func ingressPorts(ink term.Ink, v imx.IngressView) string {
	listening := map[int]bool{}
	for _, p := range v.Listening {
		listening[p] = true
	}
	var words []string
	for _, p := range v.Ingress.Ports() {
		text := "http " + strconv.Itoa(p)
		if p == v.Ingress.HTTPS {
			text = "https " + strconv.Itoa(p)
		}
		if !listening[p] {
			text = ink.Bad(text + " (not listening)")
		}
		words = append(words, text)
	}
	return strings.Join(words, ", ")
}

func ingressRoutes(out term.Stream, v imx.IngressView) string {
	table := term.Table{
		Head:  []string{"ROUTE", "TO", "RELEASE", "INSTANCES", "REQUESTS", "ERRORS", "MEAN"},
		Wraps: []string{"ROUTE"}, Drops: []string{"MEAN", "RELEASE"},
	}
	for _, r := range v.Routes {
		instances := strconv.Itoa(r.Instances)
		if r.Instances == 0 {
			instances = out.Ink.Bad("0")
		}
		if len(r.Suspect) > 0 {
			instances += out.Ink.Warn(fmt.Sprintf(" (%d suspect)", len(r.Suspect)))
		}
		requests, errors, mean := routeCounts(r)
		table.Add(term.Clean(r.Route.Host+r.Route.Prefix()+"/"), r.Service+"."+r.Route.Port, strconv.Itoa(r.Release), instances, requests, errors, mean)
	}
	if len(table.Rows) == 0 {
		return "no service has a route of it\n"
	}
	return table.Text(out.Ink, out.Columns())
}

// routeCounts are the requests to a route's service, and those of them that failed.
func routeCounts(r imx.RouteView) (requests, errors, mean string) {
	var all imx.IngressCount
	for _, c := range r.Counts {
		all.Requests += c.Requests
		all.Errors += c.Errors
		all.Seconds += c.Seconds
	}
	if all.Requests > 0 {
		mean = fmt.Sprintf("%.1fms", all.Seconds*1000/float64(all.Requests))
	}
	return term.Number(all.Requests), term.Number(all.Errors), mean
}

func ingressCertificates(out term.Stream, v imx.IngressView, now time.Time) string {
	table := term.Table{Head: []string{"CERTIFICATE", "FROM", "ENDS", ""}, Wraps: []string{""}}
	for _, c := range v.Certificates {
		ends := out.Ink.Bad("none")
		switch {
		case c.Until.IsZero():
		case c.Until.Before(now):
			ends = out.Ink.Bad("ended " + term.Stamp(c.Until))
		default:
			ends = term.Stamp(c.Until)
		}
		table.Add(term.Clean(c.Host), term.Clean(c.From), ends, out.Ink.Warn(term.Clean(c.Fault)))
	}
	if len(table.Rows) == 0 {
		return ""
	}
	return table.Text(out.Ink, out.Columns())
}

// ingressFacts say in a line each where requests come in, for `imx status`.
func ingressFacts(s imx.State) []string {
	routes := map[string]int{}
	for _, v := range living(s) {
		current, _ := v.Release(v.Current)
		for _, r := range current.Spec.Routes {
			routes[r.Ingress]++
		}
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(s.Ingresses)) {
		in := s.Ingresses[name]
		var ports []string
		for _, p := range in.Ports() {
			ports = append(ports, strconv.Itoa(p))
		}
		lines = append(lines, fmt.Sprintf("%s on %s, %s", name, strings.Join(ports, " and "), term.Count(int64(routes[name]), "route")))
	}
	return lines
}

// accessLine is a request in one line.
func accessLine(ink term.Ink, l imx.AccessLine) string {
	status := strconv.Itoa(l.Status)
	switch {
	case l.Status >= 500 || l.Status == 0:
		status = ink.Bad(status)
	case l.Status >= 400:
		status = ink.Warn(status)
	default:
		status = ink.Good(status)
	}
	scheme := "http"
	if l.TLS != "" {
		scheme = "https"
	}
	by := ""
	if l.Instance != "" {
		by = " " + ink.Name(l.Instance)
	}
	if l.Retries > 0 {
		by += " after " + term.Count(int64(l.Retries), "retry")
	}
	if l.Fault != "" {
		by += " " + ink.Warn(term.Clean(l.Fault))
	}
	return fmt.Sprintf("%s %s %s %s %s %s %.1fms%s", ink.Dim(l.Time.Format("2006-01-02 15:04:05.000")), term.Clean(l.Client), status,
		term.Clean(l.Method), term.Clean(scheme+"://"+l.Host+l.Path), imx.Size(l.Bytes), l.Seconds*1000, by)
}
