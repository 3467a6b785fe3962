package template

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"

	"imx"
)

// testBlock is how a person writes what an image is tested for.
func testBlock() *block {
	type T = imx.Test
	return many(
		func(t *imx.Template) *[]T { return &t.Tests },
		func(t *T) *string { return &t.Name }, func(t *T) *imx.Pos { return &t.At },
		block{
			name: "test", label: label("name", isName), sample: "answers",
			doc: "A test of an image: before anything is released, an instance is started from it, asked, and ended. " +
				"What no instance may be able to do (write to its root, run a foreign program, reach what it doesn't connect to, gain privileges) " +
				"is tested of every image without a block.",
			settings: []setting{
				field(serviceRef(), func(t *T) *string { return &t.Service }, setting{
					name: "service", unset: "`image` says what is tested", example: `service.web`,
					doc: "The service whose instance is asked. It runs as its block says, with empty volumes, and with what it connects to.",
				}),
				field(reference("image"), func(t *T) *string { return &t.Image }, setting{
					name: "image", unset: "`service` says what is tested", example: `image.web`,
					doc: "An image to test by itself, with its own command and without ports.",
				}),
				field(truth(), func(t *T) *bool { return &t.Alone }, setting{
					name: "alone", unset: "`false`", example: `true`, doc: "Whether the services that it connects to aren't started with it.",
				}),
				field(duration(time.Second, time.Hour), func(t *T) *imx.Duration { return &t.Timeout }, setting{
					name: "timeout", need: filled, def: `"60s"`, example: `"2m"`, doc: "By when everything must have passed.",
				}),
				field(portNumbers(), func(t *T) *[]int { return &t.Listens }, setting{
					name: "listens", unset: "not asked", example: `[8080]`, doc: "All the TCP ports that it listens on: no other, and none missing.",
				}),
				field(oneString("string", isUser), func(t *T) *string { return &t.User }, setting{
					name: "user", unset: "not asked", example: `"www-data"`, doc: "Whom each of its processes runs as.",
				}),
			},
			blocks: []*block{httpTestBlock(), tcpTestBlock(), commandTestBlock(), fileTestBlock(), processTestBlock(), cannotBlock()},
		})
}

func httpTestBlock() *block {
	type H = imx.HTTPTest
	return many(
		func(t *imx.Test) *[]H { return &t.HTTP },
		func(h *H) *string { return &h.Name }, func(h *H) *imx.Pos { return &h.At },
		block{
			name: "http", label: label("name", isName), sample: "home",
			doc: "Passes when a request is answered like this; it is asked again for 5 seconds after the instance became healthy.",
			settings: []setting{
				checkPort(func(h *H) *string { return &h.Port }),
				field(oneString("string", isMethod), func(h *H) *string { return &h.Method }, setting{
					name: "method", need: filled, def: `"GET"`, example: `"POST"`, doc: "The request's method.",
				}),
				field(oneString("string", isURLPath), func(h *H) *string { return &h.Path }, setting{
					name: "path", need: filled, def: `"/"`, example: `"/healthz"`, doc: "The path to ask for.",
				}),
				field(variables(), func(h *H) *map[string]string { return &h.Headers }, setting{
					name: "headers", unset: "none", example: `{ Host = "shop.example" }`, doc: "Headers to send.",
				}),
				field(oneString("string", isText), func(h *H) *string { return &h.Body }, setting{
					name: "body", unset: "none", example: `"{}"`, doc: "The body to send.",
				}),
				field(whole(100, 599), func(h *H) *int { return &h.Status }, setting{
					name: "status", unset: "any from 200 to 399", example: `200`, doc: "The answer's status.",
				}),
				contains(func(h *H) *string { return &h.Contains }, "the answer's body"),
				matches(func(h *H) *string { return &h.Matches }, "the answer's body"),
			},
		})
}

func tcpTestBlock() *block {
	type T = imx.TCPTest
	return many(
		func(t *imx.Test) *[]T { return &t.TCP },
		func(t *T) *string { return &t.Name }, func(t *T) *imx.Pos { return &t.At },
		block{
			name: "tcp", label: label("name", isName), sample: "greets",
			doc: "Passes when the port takes a connection, and answers like this if it says how.",
			settings: []setting{
				checkPort(func(t *T) *string { return &t.Port }),
				field(oneString("string", isText), func(t *T) *string { return &t.Send }, setting{
					name: "send", unset: "nothing", example: `"PING\r\n"`, doc: "What to send.",
				}),
				contains(func(t *T) *string { return &t.Contains }, "what comes back"),
			},
		})
}

func commandTestBlock() *block {
	type C = imx.CommandTest
	return many(
		func(t *imx.Test) *[]C { return &t.Commands },
		func(c *C) *string { return &c.Name }, func(c *C) *imx.Pos { return &c.At },
		block{
			name: "command", label: label("name", isName), sample: "replies",
			doc: "Passes when a program, run beside the instance in its namespaces and as its user, ends like this.",
			settings: []setting{
				field(manyStrings(isArgument), func(c *C) *[]string { return &c.Command }, setting{
					name: "command", need: required, example: `["/usr/bin/redis-cli", "ping"]`, doc: "The program and its arguments. No shell reads it.",
				}),
				field(manyStrings(isPackage), func(c *C) *[]string { return &c.Packages }, setting{
					name: "packages", unset: "none", example: `["curl"]`,
					doc: "Debian packages that are there for this command alone and never in the image, written as an image's `packages`. The command then sees the image with them as its root; the instance doesn't.",
				}),
				field(whole(0, 255), func(c *C) *int { return &c.Exit }, setting{
					name: "exit", unset: "`0`", example: `0`, doc: "Its exit status.",
				}),
				contains(func(c *C) *string { return &c.Contains }, "what it writes"),
				matches(func(c *C) *string { return &c.Matches }, "what it writes"),
			},
		})
}

func fileTestBlock() *block {
	type F = imx.FileTest
	return many(
		func(t *imx.Test) *[]F { return &t.Files },
		func(f *F) *string { return &f.Path }, func(f *F) *imx.Pos { return &f.At },
		block{
			name: "file", label: label("path", isPath), sample: "/etc/nginx/nginx.conf",
			doc: "Passes when the path is there, and like this.",
			settings: []setting{
				field(truth(), func(f *F) *bool { return &f.Absent }, setting{
					name: "absent", unset: "`false`", example: `true`, doc: "Whether it must not be there.",
				}),
				modeSetting(func(f *F) *imx.Mode { return &f.Mode }, 0o7777, setting{unset: "any"}),
				ownerSetting(func(f *F) *string { return &f.Owner }, "any"),
				contains(func(f *F) *string { return &f.Contains }, "it"),
			},
		})
}

func processTestBlock() *block {
	type P = imx.ProcessTest
	return many(
		func(t *imx.Test) *[]P { return &t.Processes },
		func(p *P) *string { return &p.Program }, func(p *P) *imx.Pos { return &p.At },
		block{
			name: "process", label: label("program", isProgram), sample: "nginx",
			doc: "Passes when so many processes run the program, named by its path or the last part of it.",
			settings: []setting{
				field(whole(0, 10000), func(p *P) *int { return &p.Least }, setting{
					name: "least", need: filled, def: `1`, example: `2`, doc: "The fewest of them. With `most = 0` it is `0`.",
				}),
				field(maybe(whole(0, 10000)), func(p *P) **int { return &p.Most }, setting{
					name: "most", unset: "any number", example: `5`, doc: "The most of them; with `0` none may run.",
				}),
				field(oneString("string", isUser), func(p *P) *string { return &p.User }, setting{
					name: "user", unset: "not asked", example: `"www-data"`, doc: "Whom each of them runs as.",
				}),
			},
		})
}

func cannotBlock() *block {
	type C = imx.Cannot
	return perhaps(
		func(t *imx.Test) **C { return &t.Cannot },
		block{
			name: "cannot", doc: "Passes when all of this fails in the instance, beside what no instance may do.",
			settings: []setting{
				field(manyStrings(isHostPort), func(c *C) *[]string { return &c.Connect }, setting{
					name: "connect", unset: "none", example: `["app:5432"]`,
					doc: "Services, or addresses, with a port that it can't reach. Services are started for it; what the machine itself can't reach either fails the test.",
				}),
				field(manyStrings(isListedPath), func(c *C) *[]string { return &c.Write }, setting{
					name: "write", unset: "none", example: `["/srv/www/index.html"]`, doc: "Paths that it can neither write to nor make.",
				}),
				field(manyStrings(isListedProgram), func(c *C) *[]string { return &c.Run }, setting{
					name: "run", unset: "none", example: `["/bin/sh"]`, doc: "Programs that it can't run, or that aren't there.",
				}),
			},
		})
}

func contains[T any](at func(*T) *string, where string) setting {
	return field(oneString("string", isText), at, setting{
		name: "contains", unset: "not asked", example: `"ok"`, doc: "Text that must be in " + where + ".",
	})
}

func matches[T any](at func(*T) *string, where string) setting {
	return field(oneString("string", isRegexp), at, setting{
		name: "matches", unset: "not asked", example: `"^v[0-9]+"`, doc: "A regular expression (RE2) that must match in " + where + ".",
	})
}

// serviceRef is a reference to a service as a whole.
func serviceRef() kind[string] {
	const word = "reference to a service"
	return kind[string]{
		word: word,
		decode: func(x operand) (string, []flaw) {
			if t := x.value.Type(); t.IsObjectType() && t.HasAttribute("service") {
				return x.value.GetAttr("service").AsString(), nil
			}
			f := flaw{summary: "must be a " + word, hint: "write service.NAME"}
			if x.value.Type() == cty.String {
				f = flaw{summary: "must be a " + word + ", not a string", hint: "write service." + x.value.AsString() + " without quotes"}
			}
			return "", []flaw{f}
		},
		check: nothing[string],
	}
}

// portNumbers is a list of numbers of ports.
func portNumbers() kind[[]int] {
	const word = "list of port numbers"
	one := whole(1, 65535)
	return kind[[]int]{
		word: word,
		decode: func(x operand) ([]int, []flaw) {
			if !isList(x.value.Type()) {
				return nil, wrongType(x, word)
			}
			var all []int
			var flaws []flaw
			for i, v := range x.value.AsValueSlice() {
				if v.IsNull() {
					flaws = append(flaws, flaw{part: index(i), summary: "must be a " + word + ", and one of them is null"})
					continue
				}
				n, wrong := one.decode(operand{value: v, expr: x.expr, pos: x.pos})
				for _, f := range wrong {
					f.part = index(i)
					flaws = append(flaws, f)
				}
				all = append(all, n)
			}
			return all, flaws
		},
		check: func(all []int) []flaw {
			var flaws []flaw
			for i, n := range all {
				for _, f := range one.check(n) {
					f.part = index(i)
					flaws = append(flaws, f)
				}
				if slices.Contains(all[:i], n) {
					flaws = append(flaws, flaw{part: index(i), summary: fmt.Sprintf("has %d twice", n), hint: "leave one of them out"})
				}
			}
			return flaws
		},
	}
}

// test checks what a test says together, and its references.
func (c checker) test(i int) {
	t := &c.t.Tests[i]
	w := top("test", i, t.Name)
	switch {
	case t.Empty():
		c.r.fail(w.place, flaw{summary: w.subject + " checks nothing", hint: "add http, tcp, command, file, process, cannot, listens or user"})
	case t.Cannot != nil && len(t.Cannot.Connect)+len(t.Cannot.Write)+len(t.Cannot.Run) == 0:
		c.r.fail(w.place.block("cannot", 0), flaw{summary: w.subject + ": cannot checks nothing", hint: "add connect, write or run"})
	}
	switch at := w.place.setting("service"); {
	case c.r.isBroken(at), c.r.isBroken(w.place.setting("image")):
		return
	case t.Service != "" && t.Image != "":
		c.r.fail(w.place.setting("image"), flaw{summary: w.subject + " has both a service and an image", hint: "leave one of them out"})
	case t.Service == "" && t.Image == "":
		c.r.fail(w.place, flaw{summary: w.subject + " doesn't say what it tests", hint: "add service = service.NAME or image = image.NAME"})
	case t.Image != "":
		c.testImage(w, t)
	default:
		c.testService(w, t)
	}
	c.testFiles(w, t)
	c.testProcesses(w, t)
	c.testCannot(w, t)
	for j, command := range t.Commands {
		c.packagesOnce(w.subject+": command "+quote(command.Name), w.place.block("command", j), command.Packages)
	}
}

func (c checker) testImage(w where, t *imx.Test) {
	i := slices.IndexFunc(c.t.Images, func(im imx.ImageSpec) bool { return im.Name == t.Image })
	switch {
	case i < 0:
		c.r.fail(w.place.setting("image"), flaw{summary: w.subject + ": there is no image named " + quote(t.Image), hint: "declare it"})
	case len(c.t.Images[i].Command) == 0:
		c.r.fail(w.place.setting("image"), flaw{
			summary: w.subject + ": image " + quote(t.Image) + " has no command that could be started", hint: "test a service that runs it",
		})
	case len(t.HTTP)+len(t.TCP) > 0:
		c.r.fail(w.place.setting("image"), flaw{
			summary: w.subject + " asks ports, and an image by itself has none", hint: "test a service that runs it",
		})
	}
}

func (c checker) testService(w where, t *imx.Test) {
	i := slices.IndexFunc(c.t.Services, func(s imx.Spec) bool { return s.Name == t.Service })
	if i < 0 {
		var names []string
		for _, s := range c.t.Services {
			names = append(names, s.Name)
		}
		c.r.fail(w.place.setting("service"), flaw{
			summary: w.subject + ": there is no service named " + quote(t.Service), hint: known(t.Service, names, "service.", "declare it"),
		})
		return
	}
	for j, h := range t.HTTP {
		c.testPort(w, &c.t.Services[i], h.Port, w.place.block("http", j))
	}
	for j, h := range t.TCP {
		c.testPort(w, &c.t.Services[i], h.Port, w.place.block("tcp", j))
	}
}

func (c checker) testPort(w where, s *imx.Spec, port string, at place) {
	if names := portNames(s); !slices.Contains(names, port) && !c.r.isBroken(at.setting("port")) {
		c.r.fail(at.setting("port"), flaw{
			summary: w.subject + ": service " + quote(s.Name) + " has no port named " + quote(port),
			hint:    known(port, names, "", "add port "+quote(port)+" { container = ... } to it"),
		})
	}
}

func (c checker) testFiles(w where, t *imx.Test) {
	for j, f := range t.Files {
		if f.Absent && (f.Mode != 0 || f.Owner != "" || f.Contains != "") {
			c.r.fail(w.place.block("file", j), flaw{
				summary: w.subject + ": " + f.Path + " must be absent, and be like something", hint: "leave out absent, or all else",
			})
		}
	}
}

// allowNone makes the fewest processes none where none may run, and nothing else is written.
func allowNone(t *imx.Template, r *report) {
	for i := range t.Tests {
		for j := range t.Tests[i].Processes {
			p := &t.Tests[i].Processes[j]
			_, written := r.places[place("").block("test", i).block("process", j).setting("least")]
			if p.Most != nil && *p.Most == 0 && !written {
				p.Least = 0
			}
		}
	}
}

func (c checker) testProcesses(w where, t *imx.Test) {
	for j, p := range t.Processes {
		if p.Most != nil && p.Least > *p.Most {
			c.r.fail(w.place.block("process", j).setting("most"), flaw{
				summary: fmt.Sprintf("%s: process %s: most is %d, and least is %d", w.subject, quote(p.Program), *p.Most, p.Least),
				hint:    "make least the smaller one",
			})
		}
	}
}

// testCannot keeps to targets that it says something of that they can't be reached.
func (c checker) testCannot(w where, t *imx.Test) {
	if t.Cannot == nil {
		return
	}
	own := cmp.Or(t.Service, t.Image)
	var names []string
	for _, s := range c.t.Services {
		if s.Name != own {
			names = append(names, s.Name)
		}
	}
	at := w.place.block("cannot", 0).setting("connect")
	for j, entry := range t.Cannot.Connect {
		host, _, err := net.SplitHostPort(entry)
		if err != nil {
			continue // which is told
		}
		if f := kept(host, own, names); f.summary != "" {
			f.summary = w.subject + ": cannot: connect has " + quote(entry) + "; " + f.summary
			c.r.fail(at.part(index(j)), f)
		}
	}
}

// kept says why an instance can't be tested for being kept from a host, if so. Its own name and those of the other services
// are given.
func kept(host, own string, others []string) flaw {
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.IsLoopback(), host == "localhost":
		return flaw{summary: "an instance is never kept from itself", hint: "name another service, or leave it out"}
	case err == nil && (!ip.Is4() || ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255})):
		return flaw{summary: "that is no address of IPv4 that something could answer at", hint: `write one like "192.0.2.1:443", or name a service`}
	case err == nil:
		return flaw{}
	case host == own:
		return flaw{summary: quote(host) + " is what is tested", hint: "name another service, or leave it out"}
	case !slices.Contains(others, host):
		return flaw{summary: "there is no service named " + quote(host), hint: known(host, others, "", "declare it, or write an address")}
	}
	return flaw{}
}

// isListedProgram takes the path of a program.
func isListedProgram(s string) flaw {
	f := isListedPath(s)
	if f.summary != "" && plain(s) && !path.IsAbs(s) {
		f.hint = `write its whole path in the image, like "/bin/sh"`
	}
	return f
}

// isRegexp takes an RE2 regular expression.
func isRegexp(s string) flaw {
	if _, err := regexp.Compile(s); err != nil {
		return flaw{summary: "is " + quote(s) + ", which is not a regular expression: " + err.Error(), hint: `write it as in RE2: "^v[0-9]+"`}
	}
	return flaw{}
}

// maxAnswer is more than a test should compare.
const maxAnswer = 64 << 10

func isText(s string) flaw {
	if len(s) > maxAnswer {
		return flaw{summary: fmt.Sprintf("has %d bytes; it may have %d", len(s), maxAnswer)}
	}
	return flaw{}
}

func isMethod(s string) flaw {
	if len(s) > 20 || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || s == "" {
		return flaw{summary: "is " + quote(s) + ", which is not an HTTP method", hint: `write it in capitals: "GET"`}
	}
	return flaw{}
}

// isProgram takes a path, or the last part of one.
func isProgram(s string) flaw {
	if strings.HasPrefix(s, "/") {
		return isPath(s)
	}
	if s == "" || !plain(s) || strings.ContainsRune(s, '/') || len(s) > maxPath {
		return flaw{summary: "is " + quote(s) + ", which is not a program", hint: `write its path, or the last part of it: "nginx"`}
	}
	return flaw{}
}

func isHostPort(s string) flaw {
	host, port, err := net.SplitHostPort(s)
	number, wrong := strconv.ParseUint(port, 10, 16)
	if err != nil || wrong != nil || host == "" || number == 0 || !plain(host) || len(host) > 253 {
		return flaw{summary: "has " + quote(s) + ", which is not a host and a port", hint: `write "db:5432" or "192.0.2.1:443"`}
	}
	return flaw{}
}
