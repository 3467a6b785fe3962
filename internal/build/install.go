package build

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"imx"
	"imx/internal/deb"
)

// install unpacks and configures the packages with the build root's own dpkg. settled are the
// packages that the root has configured already, by name.
func (b *Builder) install(ctx context.Context, box *sandbox, packages []imx.Package, settled []string, s steps) error {
	d := &dpkg{box: box, total: len(packages), steps: s}
	q := queue{configured: map[string]bool{}, unpacked: map[string]*queued{}}
	for _, name := range settled {
		q.configured[name] = true
	}
	for _, p := range packages {
		next, err := readQueued(b.unpacked(p), p)
		if err != nil {
			return err
		}
		q.waiting = append(q.waiting, next)
	}
	slices.SortFunc(q.waiting, func(a, b *queued) int { return strings.Compare(a.pkg.Ref(), b.pkg.Ref()) })
	for {
		ready := q.ready()
		if len(ready) == 0 {
			break
		}
		if err := d.unpack(ctx, ready); err != nil {
			return err
		}
		names := q.needed()
		if len(q.waiting) == 0 || len(names) == 0 {
			continue
		}
		if err := d.run(ctx, append([]string{"--configure"}, names...)...); err != nil {
			return err
		}
		for _, name := range names {
			q.configured[name] = true
		}
	}
	return d.run(ctx, "--configure", "-a")
}

// queue orders packages so that dpkg never unpacks one before what it pre-depends on is configured.
type queue struct {
	waiting    []*queued          // not yet unpacked, sorted by name
	unpacked   map[string]*queued // by name and by what they provide
	configured map[string]bool    // by name and by what they provide
}

// queued is a package with the relations that order it; a relation is the names that meet it.
type queued struct {
	pkg        imx.Package
	file       string
	preDepends [][]string
	depends    [][]string
	provides   []string
}

// ready takes the packages out of the queue whose pre-dependencies are configured. Where a circle
// leaves none, it gives all that wait, and dpkg says what is wrong.
func (q *queue) ready() []*queued {
	var ready, rest []*queued
	for _, p := range q.waiting {
		if q.blocked(p) {
			rest = append(rest, p)
		} else {
			ready = append(ready, p)
		}
	}
	if len(ready) == 0 {
		ready, rest = rest, nil
	}
	q.waiting = rest
	for _, p := range ready {
		for _, name := range append([]string{p.pkg.Name}, p.provides...) {
			q.unpacked[name] = p
		}
	}
	return ready
}

// blocked reports whether a pre-dependency of p is among the packages that aren't configured yet.
func (q *queue) blocked(p *queued) bool {
	for _, names := range p.preDepends {
		if slices.ContainsFunc(names, func(n string) bool { return q.configured[n] }) {
			continue
		}
		if slices.ContainsFunc(names, q.coming) {
			return true
		}
	}
	return false
}

func (q *queue) coming(name string) bool {
	return q.unpacked[name] != nil || slices.ContainsFunc(q.waiting, func(p *queued) bool {
		return p.pkg.Name == name || slices.Contains(p.provides, name)
	})
}

// needed returns the unpacked packages that waiting ones pre-depend on, with all that those depend on.
func (q *queue) needed() []string {
	found := map[string]bool{}
	var add func(names []string)
	add = func(names []string) {
		for _, name := range names {
			p := q.unpacked[name]
			if p == nil || q.configured[p.pkg.Name] || found[p.pkg.Name] {
				continue
			}
			found[p.pkg.Name] = true
			for _, next := range append(slices.Clone(p.preDepends), p.depends...) {
				add(next)
			}
		}
	}
	for _, p := range q.waiting {
		for _, names := range p.preDepends {
			add(names)
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// readQueued reads a package's relations out of its unpacked form.
func readQueued(file string, p imx.Package) (*queued, error) {
	control, err := readControl(file)
	if err != nil {
		return nil, trouble(err, "reading "+p.Ref())
	}
	s, err := deb.ReadStanzas(bytes.NewReader(control), p.Ref()).Next()
	if err != nil {
		return nil, err
	}
	q := &queued{pkg: p, file: path.Join("/", packagesDir, p.Digest.Hex()+".deb")}
	var provides [][]string
	for field, names := range map[string]*[][]string{"pre-depends": &q.preDepends, "depends": &q.depends, "provides": &provides} {
		groups, err := deb.ParseRelations(s.Field(field))
		if err != nil {
			return nil, trouble(err, p.Ref())
		}
		for _, g := range groups {
			var alternatives []string
			for _, r := range g {
				alternatives = append(alternatives, r.Name)
			}
			*names = append(*names, alternatives)
		}
	}
	q.provides = slices.Concat(provides...)
	return q, nil
}

// readControl returns the control file of a package in its unpacked form.
func readControl(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ar := deb.ReadAr(bufio.NewReader(f))
	for {
		h, err := ar.Next()
		if err != nil {
			return nil, err
		}
		if h.Name != "control.tar" {
			continue
		}
		members := tar.NewReader(ar)
		for {
			h, err := members.Next()
			if err != nil {
				return nil, err
			}
			if path.Clean(h.Name) == "control" {
				return io.ReadAll(members)
			}
		}
	}
}

// dpkg runs the build root's dpkg and follows what it is at.
type dpkg struct {
	box   *sandbox
	steps steps
	force []string
	total int
	done  int
	at    string // the package that is being worked on
	doing string // what is being done with it: "unpacking", "configuring"
}

func (d *dpkg) unpack(ctx context.Context, packages []*queued) error {
	args := []string{"--unpack"}
	for _, p := range packages {
		args = append(args, p.file)
	}
	return d.run(ctx, args...)
}

func (d *dpkg) run(ctx context.Context, args ...string) error {
	d.done, d.at = 0, ""
	argv := append([]string{
		"/usr/bin/dpkg", "--status-fd=3", "--force-unsafe-io", "--force-confold", "--force-confdef", "--auto-deconfigure",
	}, d.force...)
	for _, p := range forPeople() {
		argv = append(argv, "--path-exclude=/"+strings.ReplaceAll(p, "/**", "/*"))
	}
	for _, p := range alwaysShipped() {
		argv = append(argv, "--path-include=/"+p)
	}
	err := d.box.run(ctx, d.follow, append(argv, args...)...)
	var known *imx.Error
	if d.at == "" || !errors.As(err, &known) {
		return err
	}
	return trouble(err, fmt.Sprintf("%s the package %s", d.doing, d.at))
}

// follow reads a line of dpkg's --status-fd: "processing: configure: NAME" when it begins with a
// package, "status: NAME: installed" and so on.
func (d *dpkg) follow(line string) {
	fields := strings.SplitN(line, ": ", 3)
	if len(fields) < 3 || fields[0] != "processing" {
		return
	}
	doing := map[string]string{
		"install": "unpacking", "upgrade": "unpacking", "configure": "configuring", "trigproc": "running the triggers of",
	}[fields[1]]
	if doing == "" {
		return
	}
	d.at, d.doing = strings.TrimSpace(fields[2]), doing
	d.steps.count(min(d.done, d.total), d.total, "%s %s", d.doing, d.at)
	d.done++
}
