package build

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"imx/internal/build/take"

	"imx"
)

// install unpacks and configures the packages. settled are the packages that the root has configured
// already, by name.
func (b *Builder) install(ctx context.Context, box *sandbox, packages []imx.Package, settled []string, s steps) error {
	if !box.cage.whole() {
		s.say("no control groups for memory and processes here: scripts are bounded by time, and each process's memory by itself")
	}
	if err := box.idle(); err != nil {
		return err
	}
	parcels, left, err := b.place(ctx, box.root, packages, placement{}, s)
	if err != nil {
		return err
	}
	q := &queue{configured: map[string]bool{}, unpacked: map[string]*parcel{}, waiting: left}
	q.settle(settled)
	for _, p := range parcels {
		if !slices.Contains(left, p) {
			q.arrived(p)
		}
	}
	slices.SortFunc(q.waiting, func(a, b *parcel) int { return strings.Compare(a.pkg.Ref(), b.pkg.Ref()) })
	d := &dpkg{box: box, total: len(packages), unpacked: len(packages) - len(left), steps: s}
	return b.order(ctx, d, q)
}

// order unpacks what waits, each package when what it pre-depends on is configured, and configures all.
func (b *Builder) order(ctx context.Context, d *dpkg, q *queue) error {
	for len(q.waiting) > 0 {
		ready := q.ready()
		if len(ready) > 0 {
			if err := b.thin(d.box.root, ready); err != nil {
				return err
			}
			if err := b.handOver(ctx, d, ready); err != nil {
				return err
			}
			continue
		}
		names := q.needed()
		if len(names) == 0 { // a circle: dpkg says what is wrong
			return b.handOver(ctx, d, q.waiting)
		}
		if err := d.configure(ctx, names...); err != nil {
			return err
		}
		q.settle(names)
	}
	return d.configure(ctx, "-a")
}

// place opens the packages and places those that can be; the others are left to dpkg.
func (b *Builder) place(ctx context.Context, root string, packages []imx.Package, pl placement, s steps) (parcels, left []*parcel, err error) {
	for _, p := range packages {
		parcel, err := b.openParcel(p)
		if err != nil {
			return nil, nil, err
		}
		parcels = append(parcels, parcel)
	}
	done := 0
	err = pl.over(root, func() error {
		left, err = pl.place(parcels, b.unpacked, func(p *parcel) error {
			s.count(done, len(parcels), "unpacking %s", p.pkg.Name)
			done++
			return context.Cause(ctx)
		})
		return err
	})
	return parcels, left, err
}

// handOver lets dpkg unpack packages: first those whose files it needn't see, so that what it then
// chooses for the others is by complete records.
func (b *Builder) handOver(ctx context.Context, d *dpkg, packages []*parcel) error {
	var lean, whole []*parcel
	for _, p := range packages {
		if p.lean {
			lean = append(lean, p)
		} else {
			whole = append(whole, p)
		}
	}
	return inOrder(
		func() error { return b.unpackBy(ctx, d, lean) },
		func() error {
			if len(lean) == 0 {
				return nil
			}
			pl := placement{}
			return pl.over(d.box.root, func() error { return pl.finish(lean, b.unpacked) })
		},
		func() error { return b.unpackBy(ctx, d, whole) },
	)
}

// thin finds out of which packages dpkg needn't see the files, as the root is now.
func (b *Builder) thin(root string, packages []*parcel) error {
	pl := placement{claimed: map[string]bool{}}
	return pl.over(root, func() error {
		for _, p := range packages {
			if !p.plain {
				continue
			}
			if err := pl.thin(p, b.unpacked(p.pkg), pl.claim); err != nil {
				return unpacking(err, p.pkg)
			}
		}
		return nil
	})
}

func (b *Builder) unpackBy(ctx context.Context, d *dpkg, packages []*parcel) error {
	if len(packages) == 0 {
		return nil
	}
	args := []string{"--unpack"}
	for _, p := range packages {
		if err := b.putDeb(p, d.box.packages()); err != nil {
			return trouble(err, "handing "+p.pkg.Ref()+" to dpkg")
		}
		args = append(args, path.Join("/", packagesDir, p.pkg.Digest.Hex()+".deb"))
	}
	return d.run(ctx, &d.unpacked, args...)
}

// queue orders packages so that dpkg never unpacks one before what it pre-depends on is configured.
type queue struct {
	waiting    []*parcel          // not yet unpacked, sorted by name
	unpacked   map[string]*parcel // by name and by what they provide
	configured map[string]bool    // by name and by what they provide
}

// ready takes the packages out of the queue whose pre-dependencies are configured.
func (q *queue) ready() []*parcel {
	var ready, rest []*parcel
	for _, p := range q.waiting {
		if q.blocked(p) {
			rest = append(rest, p)
		} else {
			ready = append(ready, p)
		}
	}
	q.waiting = rest
	for _, p := range ready {
		q.arrived(p)
	}
	return ready
}

// settle notes that packages were configured, by name.
func (q *queue) settle(names []string) {
	for _, name := range names {
		q.configured[name] = true
		if p := q.unpacked[name]; p != nil {
			for _, provided := range p.provides() {
				q.configured[provided] = true
			}
		}
	}
}

func (q *queue) arrived(p *parcel) {
	for _, name := range append([]string{p.pkg.Name}, p.provides()...) {
		q.unpacked[name] = p
	}
}

// blocked reports whether a pre-dependency of p is among the packages that aren't configured yet.
func (q *queue) blocked(p *parcel) bool {
	for _, names := range p.names("pre-depends") {
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
	return q.unpacked[name] != nil || slices.ContainsFunc(q.waiting, func(p *parcel) bool {
		return p.pkg.Name == name || slices.Contains(p.provides(), name)
	})
}

// needed returns the unpacked packages that waiting ones pre-depend on, with all that those depend on. As
// long as there are some, they are such that nothing which they depend on waits itself.
func (q *queue) needed() []string {
	whole, all := map[string]bool{}, map[string]bool{}
	for _, p := range q.waiting {
		for _, names := range p.names("pre-depends") {
			found := map[string]bool{}
			if q.gather(names, found) {
				maps.Copy(whole, found)
			}
			maps.Copy(all, found)
		}
	}
	if len(whole) == 0 {
		whole = all // dpkg says what is wrong
	}
	return slices.Sorted(maps.Keys(whole))
}

// gather adds what has to be configured for one of the names to be: its unpacked package and all that
// this depends on. It reports whether nothing of that waits; where all names lack something, it adds what there is.
func (q *queue) gather(names []string, found map[string]bool) bool {
	partly := map[string]bool{}
	for _, name := range names {
		p := q.unpacked[name]
		if q.configured[name] || p != nil && (q.configured[p.pkg.Name] || found[p.pkg.Name]) {
			return true
		}
		if p == nil {
			continue
		}
		trial, whole := maps.Clone(found), true
		trial[p.pkg.Name] = true
		for _, next := range append(p.names("pre-depends"), p.names("depends")...) {
			whole = q.gather(next, trial) && whole
		}
		if whole {
			maps.Copy(found, trial)
			return true
		}
		maps.Copy(partly, trial)
	}
	maps.Copy(found, partly)
	return !slices.ContainsFunc(names, q.coming) // what nothing here brings, the build root has
}

// dpkg runs the build root's dpkg and follows what it is at.
type dpkg struct {
	box   *sandbox
	steps steps
	force []string
	total int
	// How many packages are unpacked and configured, and which of the two is counted at the moment.
	unpacked, configured int
	counted              *int

	at    string // the package that is being worked on
	doing string // what is being done with it: "unpacking", "configuring"
}

func (d *dpkg) configure(ctx context.Context, names ...string) error {
	return d.run(ctx, &d.configured, append([]string{"--configure"}, names...)...)
}

func (d *dpkg) run(ctx context.Context, counted *int, args ...string) error {
	d.counted, d.at = counted, ""
	argv := append([]string{
		"/usr/bin/dpkg", "--status-fd=3", "--force-unsafe-io", "--force-confold", "--force-confdef", "--auto-deconfigure",
	}, d.force...)
	argv = append(argv, take.NewFilter().Options()...)
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
	d.steps.count(min(*d.counted, d.total), d.total, "%s %s", d.doing, d.at)
	if fields[1] != "trigproc" {
		*d.counted++
	}
}
