package template

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"imx"
)

func ingressBlock() *block {
	type I = imx.Ingress
	return many(
		func(t *imx.Template) *[]I { return &t.Ingresses },
		func(i *I) *string { return &i.Name }, func(i *I) *imx.Pos { return &i.At },
		block{
			name: "ingress", label: label("name", isName), sample: "public",
			doc: "Where requests come in from outside: ports of the machine, TLS and limits. Services have `route` blocks that name it.",
			settings: []setting{
				field(whole(1, 65535), func(i *I) *int { return &i.HTTP }, setting{
					name: "http", unset: "none", example: `80`, doc: "The port for HTTP. With `https` too, what comes here is told to come there.",
				}),
				field(whole(1, 65535), func(i *I) *int { return &i.HTTPS }, setting{
					name: "https", unset: "none", example: `443`, doc: "The port for HTTPS: HTTP/1.1 and HTTP/2.",
				}),
			},
			blocks: []*block{certificateBlock(), acmeBlock(), limitsBlock()},
		})
}

func certificateBlock() *block {
	type C = imx.CertificateFiles
	return many(
		func(i *imx.Ingress) *[]C { return &i.Certificates },
		func(c *C) *string { return &c.Host }, func(c *C) *imx.Pos { return &c.At },
		block{
			name: "certificate", label: label("host", isHost), sample: "shop.example",
			doc: "A certificate in files on the server's machine, for a host or with `*.` for all names one label below. They are read again when they change.",
			settings: []setting{
				field(oneString("string", isPath), func(c *C) *string { return &c.Certificate }, setting{
					name: "certificate", need: required, example: `"/etc/ssl/shop.pem"`, doc: "Path of the certificate and those that vouch for it, in PEM.",
				}),
				field(oneString("string", isPath), func(c *C) *string { return &c.Key }, setting{
					name: "key", need: required, example: `"/etc/ssl/shop.key"`, doc: "Path of its private key, in PEM.",
				}),
			},
		})
}

func acmeBlock() *block {
	type A = imx.ACME
	return perhaps(
		func(i *imx.Ingress) **A { return &i.ACME },
		block{
			name: "acme", doc: "Gets and renews certificates, for the hosts of routes that no `certificate` is for. Its questions come to the ports 80 and 443.",
			settings: []setting{
				field(oneString("string", isEmail), func(a *A) *string { return &a.Email }, setting{
					name: "email", unset: "none is given", example: `"ops@shop.example"`, doc: "Whom to warn of certificates that end.",
				}),
				field(oneString("string", isDirectory), func(a *A) *string { return &a.Directory }, setting{
					name: "directory", need: filled, def: `"` + imx.LetsEncrypt + `"`, example: `"https://ca.internal/directory"`,
					doc: "URL of the ACME server's directory. Whoever names it agrees to its terms.",
				}),
				field(oneString("string", isText), func(a *A) *string { return &a.Roots }, setting{
					name: "roots", unset: "the machine's", example: `file("roots.pem")`, doc: "Certificates, in PEM, that vouch for the ACME server itself.",
				}),
			},
		})
}

func limitsBlock() *block {
	type L = imx.IngressLimits
	return one(
		func(i *imx.Ingress) *L { return &i.Limits },
		block{
			name: "limits", doc: "What clients may take.",
			settings: []setting{
				field(whole(1, 1_000_000), func(l *L) *int { return &l.Connections }, setting{
					name: "connections", unset: fmt.Sprintf("`%d`", imx.DefaultConnections), example: `20000`, doc: "Connections at a time.",
				}),
				field(whole(1, 1_000_000), func(l *L) *int { return &l.PerClient }, setting{
					name: "per_client", unset: fmt.Sprintf("`%d`", imx.DefaultPerClient), example: `100`, doc: "Connections at a time from one address.",
				}),
				field(size(1<<10, 1<<20), func(l *L) *imx.Size { return &l.Header }, setting{
					name: "header", unset: "`\"32KiB\"`", example: `"16KiB"`, doc: "The header of a request.",
				}),
				field(duration(100*time.Millisecond, time.Hour), func(l *L) *imx.Duration { return &l.HeaderTimeout }, setting{
					name: "header_timeout", unset: "`\"10s\"`", example: `"5s"`, doc: "By when the header of a request is there.",
				}),
				field(duration(time.Second, time.Hour), func(l *L) *imx.Duration { return &l.Idle }, setting{
					name: "idle", unset: "`\"2m\"`", example: `"1m"`, doc: "How long a connection may wait for its next request.",
				}),
			},
		})
}

func routeBlock() *block {
	type R = imx.Route
	return many(
		func(s *imx.Spec) *[]R { return &s.Routes },
		func(r *R) *string { return &r.Host }, func(r *R) *imx.Pos { return &r.At },
		block{
			name: "route", label: label("host", isHost), sample: "shop.example",
			doc: "Brings requests of a host to the service. `*.` stands for one label, `*` alone for any host. An exact host comes before a wildcard, then the longest path. " +
				"Routes belong to the release: they come back with it.",
			settings: routeSettings(),
		})
}

func routeSettings() []setting {
	type R = imx.Route
	return []setting{
		field(reference("ingress"), func(r *R) *string { return &r.Ingress }, setting{
			name: "ingress", need: required, example: `ingress.public`, doc: "Where the requests come in.",
		}),
		field(oneString("string", isName), func(r *R) *string { return &r.Port }, setting{
			name: "port", need: required, example: `"http"`, doc: "The name of one of the service's ports.",
		}),
		field(oneString("string", isRoutePath), func(r *R) *string { return &r.Path }, setting{
			name: "path", unset: "`/`", example: `"/api/"`, doc: "The requests' path: this one, and all below.",
		}),
		field(truth(), func(r *R) *bool { return &r.Strip }, setting{
			name: "strip", unset: "`false`", example: `true`, doc: "Take `path` off before the service sees the request.",
		}),
		field(oneString("string", isProtocol), func(r *R) *string { return &r.Protocol }, setting{
			name: "protocol", unset: "`http`", example: `"h2c"`, doc: "What the instances speak: `http`, or `h2c` for HTTP/2 without TLS, as gRPC needs it.",
		}),
		field(maybe(whole(0, 10)), func(r *R) **int { return &r.Retries }, setting{
			name: "retries", unset: fmt.Sprintf("`%d`", imx.DefaultRetries), example: `1`,
			doc: "On how many other instances a request is tried that one didn't answer, where nothing can be done twice by it.",
		}),
		field(duration(100*time.Millisecond, time.Hour), func(r *R) *imx.Duration { return &r.Timeout }, setting{
			name: "timeout", unset: "`\"1m\"`", example: `"10s"`, doc: "By when an instance's response begins.",
		}),
		field(size(1, 1<<40), func(r *R) *imx.Size { return &r.Body }, setting{
			name: "body", unset: "`\"10MiB\"`", example: `"100MiB"`, doc: "The most that a request may send.",
		}),
		field(whole(1, 1_000_000), func(r *R) *int { return &r.Rate }, setting{
			name: "rate", unset: "any number", example: `50`, doc: "Requests that one client may send a second, and as many at once.",
		}),
		field(duration(time.Second, 20000*time.Hour), func(r *R) *imx.Duration { return &r.HSTS }, setting{
			name: "hsts", unset: "not said", example: `"8760h"`, doc: "For how long browsers are told to come by HTTPS alone.",
		}),
	}
}

// isHost takes a host's name, a wildcard for one label, or "*".
func isHost(s string) flaw {
	name := strings.TrimPrefix(s, "*.")
	if s == "*" || len(s) <= 253 && hostRE.MatchString(name) && (name == s || strings.Contains(name, ".")) {
		return flaw{}
	}
	f := flaw{summary: "is " + quote(s) + ", which is not the name of a host", hint: `write it as "shop.example" or "*.shop.example": in lower case, without port; others than ASCII letters in Punycode`}
	if low := strings.ToLower(s); low != s && isHost(low) == (flaw{}) {
		f.hint = "write " + quote(low)
	}
	return f
}

func isRoutePath(s string) flaw {
	if f := isURLPath(s); f != (flaw{}) {
		return f
	}
	if strings.ContainsAny(s, "?#%\\") || path.Clean(s) != strings.TrimSuffix(s, "/") && s != "/" {
		return flaw{summary: "is " + quote(s) + "; it must be clean and written out", hint: `write it as "/api": no "..", "//", "%" or "?"`}
	}
	return flaw{}
}

func isProtocol(s string) flaw {
	if s == "http" || s == "h2c" {
		return flaw{}
	}
	return flaw{summary: "is " + quote(s) + ", which instances aren't spoken to in", hint: `write "http", or "h2c" for HTTP/2 without TLS`}
}

func isEmail(s string) flaw {
	if name, host, ok := strings.Cut(s, "@"); ok && name != "" && hostRE.MatchString(host) && plain(s) {
		return flaw{}
	}
	return flaw{summary: "is " + quote(s) + ", which is not an address", hint: `write "ops@shop.example"`}
}

func isDirectory(s string) flaw {
	if u, err := url.Parse(s); err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil {
		return flaw{}
	}
	return flaw{summary: "is " + quote(s) + ", which is not an https URL", hint: "write " + quote(imx.LetsEncrypt)}
}

// ingresses checks what ingresses say together.
func (c checker) ingresses() {
	c.twiceNamed("ingress", len(c.t.Ingresses), func(i int) string { return c.t.Ingresses[i].Name })
	ports := once[int]{}
	for i, in := range c.t.Ingresses {
		w := top("ingress", i, in.Name)
		if in.HTTP == 0 && in.HTTPS == 0 && !c.r.isBroken(w.place.setting("http")) && !c.r.isBroken(w.place.setting("https")) {
			c.r.fail(w.place, flaw{summary: w.subject + ": it has no port", hint: "write https = 443, or http = 80, or both"})
		}
		for _, p := range []struct {
			name   string
			number int
		}{{"http", in.HTTP}, {"https", in.HTTPS}} {
			at := w.place.setting(p.name)
			if before, ok := ports.first(p.number, at); ok && p.number != 0 {
				c.r.fail(at, flaw{summary: fmt.Sprintf("%s: port %d stands twice", w.subject, p.number), hint: withPlace("choose another port for one of them", c.r.at(before))})
			}
		}
		hosts := once[string]{}
		for j, cert := range in.Certificates {
			at := w.place.block("certificate", j)
			if before, ok := hosts.first(cert.Host, at); ok {
				c.r.fail(at, flaw{summary: w.subject + ": there are two certificates for " + quote(cert.Host), hint: c.again(before)})
			}
		}
		if in.HTTPS == 0 && (in.ACME != nil || len(in.Certificates) > 0) {
			c.r.fail(w.place, flaw{summary: w.subject + ": it has certificates and no https", hint: "write https = 443"})
		}
		c.ingressPublished(w, in)
	}
}

// ingressPublished finds services that publish a port of an ingress.
func (c checker) ingressPublished(w where, in imx.Ingress) {
	for i, s := range c.t.Services {
		for j, p := range s.Ports {
			if p.Publish == 0 || !slices.Contains(in.Ports(), p.Publish) {
				continue
			}
			service := top("service", i, s.Name)
			c.r.fail(service.place.block("port", j).setting("publish"), flaw{
				summary: fmt.Sprintf("%s: port %q publishes %d, on which %s listens", service.subject, p.Name, p.Publish, w.subject),
				hint:    withPlace("leave publish out and add a route", c.r.at(w.place)),
			})
		}
	}
}

// routes checks one service's routes, and that no other service before it has the same.
func (c checker) routes(w where, i int) {
	s := &c.t.Services[i]
	for j, r := range s.Routes {
		at := w.place.block("route", j)
		in := slices.IndexFunc(c.t.Ingresses, func(in imx.Ingress) bool { return in.Name == r.Ingress })
		subject := w.subject + ": route " + quote(r.Host)
		if in < 0 {
			if !c.r.isBroken(at.setting("ingress")) {
				c.r.fail(at.setting("ingress"), flaw{summary: subject + ": there is no ingress named " + quote(r.Ingress), hint: "declare ingress " + quote(r.Ingress) + " { ... }"})
			}
			continue
		}
		if names := portNames(s); !slices.Contains(names, r.Port) && !c.r.isBroken(at.setting("port")) {
			c.r.fail(at.setting("port"), flaw{
				summary: subject + " leads to port " + quote(r.Port) + ", and there is no port of that name",
				hint:    known(r.Port, names, "", "add port "+quote(r.Port)+" { container = ... }"),
			})
		}
		if !c.r.isBroken(at) && c.t.Ingresses[in].HTTPS != 0 && !c.t.Ingresses[in].Certified(r.Host) {
			c.r.fail(at, flaw{
				summary: subject + ": ingress " + quote(r.Ingress) + " has no certificate for it",
				hint:    withPlace("add certificate "+quote(r.Host)+" { ... } to it, or acme { } for a host without a wildcard", c.r.at(top("ingress", in, r.Ingress).place)),
			})
		}
		if before, ok := c.sameRoute(i, j); ok {
			c.r.fail(at, flaw{summary: subject + " with this path stands twice", hint: withPlace("give one of them another host or path", c.r.at(before))})
		}
	}
}

// sameRoute finds an earlier route of the same host and path.
func (c checker) sameRoute(service, route int) (place, bool) {
	r := c.t.Services[service].Routes[route]
	for i, s := range c.t.Services[:service+1] {
		for j, o := range s.Routes {
			if (i < service || j < route) && o.Ingress == r.Ingress && o.Host == r.Host && o.Prefix() == r.Prefix() {
				return place("").block("service", i).block("route", j), true
			}
		}
	}
	return "", false
}
