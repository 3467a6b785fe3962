package build

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"imx"
	"imx/internal/build/order"
	"imx/internal/build/take"
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
	q := order.New(settled)
	for _, p := range parcels {
		if !slices.Contains(left, p) {
			q.Arrive(p.ordered())
		}
	}
	d := &dpkg{box: box, total: len(packages), unpacked: len(packages) - len(left), steps: s}
	return b.order(ctx, d, q, left)
}

// ordered is what the order of packages goes by.
func (p *parcel) ordered() order.Package {
	return order.Package{Name: p.pkg.Name, Provides: p.provides(), PreDepends: p.names("pre-depends"), Depends: p.names("depends")}
}

// order unpacks the packages, each when what it pre-depends on is configured, and configures all.
func (b *Builder) order(ctx context.Context, d *dpkg, q *order.Queue, packages []*parcel) error {
	named := map[string]*parcel{}
	for _, p := range slices.SortedFunc(slices.Values(packages), func(a, b *parcel) int { return strings.Compare(a.pkg.Ref(), b.pkg.Ref()) }) {
		named[p.pkg.Name] = p
		q.Wait(p.ordered())
	}
	parcels := func(names []string) []*parcel {
		var list []*parcel
		for _, name := range names {
			list = append(list, named[name])
		}
		return list
	}
	for len(q.Waiting()) > 0 {
		if ready := parcels(q.Ready()); len(ready) > 0 {
			if err := b.thin(d.box.root, ready); err != nil {
				return err
			}
			if err := b.handOver(ctx, d, ready); err != nil {
				return err
			}
			continue
		}
		names := q.Needed()
		if len(names) == 0 { // a circle: dpkg says what is wrong
			return b.handOver(ctx, d, parcels(q.Waiting()))
		}
		if err := d.configure(ctx, names...); err != nil {
			return err
		}
		q.Settle(names)
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
