package review

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"imx"
	"imx/internal/inventory"
	"imx/internal/network"
)

// Side is one of two releases of a service that are compared. The zero Side is that there is none.
type Side struct {
	Release         imx.Release
	Inventory       imx.Inventory // of its image
	Vulnerabilities []imx.Vulnerability
	// Beside are the releases of all services as they would run beside it, itself among them.
	Beside []imx.Release
}

// Compare says what a service gains and loses from one release to another.
func Compare(before, after Side) imx.ServiceChange {
	return imx.ServiceChange{
		Service: after.Release.Service, Running: before.Release.Number,
		Packages: packages(before.Inventory, after.Inventory),
		Gained:   only(after.Vulnerabilities, before.Vulnerabilities), Lost: only(before.Vulnerabilities, after.Vulnerabilities),
		Before: before.Release.Image.Size, After: after.Release.Image.Size,
		Rights: lines(rights(before), rights(after)), Firewall: lines(firewall(before), firewall(after)),
	}
}

func packages(before, after imx.Inventory) []imx.Change {
	versions := func(in imx.Inventory) map[string]string {
		found := map[string]string{}
		for _, p := range in.Packages {
			found[p.Name] = p.Version
		}
		return found
	}
	was, is := versions(before), versions(after)
	changes := []imx.Change{}
	all := maps.Clone(was)
	maps.Copy(all, is)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		c := imx.Change{Op: imx.OpUpdate, Kind: "package", Subject: "image", Name: name, Before: was[name], After: is[name]}
		switch {
		case c.Before == c.After:
			continue
		case c.Before == "":
			c.Op = imx.OpAdd
		case c.After == "":
			c.Op = imx.OpRemove
		}
		changes = append(changes, c)
	}
	return changes
}

// only returns the vulnerabilities that others don't have: one of a package counts as the same in each of its versions.
func only(all, others []imx.Vulnerability) []imx.Vulnerability {
	type name struct{ id, of string }
	there := map[name]bool{}
	for _, v := range others {
		there[name{v.ID, v.Package.Name}] = true
	}
	found := []imx.Vulnerability{}
	for _, v := range all {
		if v.Excused == nil && !there[name{v.ID, v.Package.Name}] {
			found = append(found, v)
		}
	}
	return found
}

// rights are lines of what an instance may do beyond reading its image.
func rights(s Side) []string {
	if s.Release.Service == "" {
		return nil
	}
	list := []string{"user " + cmp.Or(s.Release.Config.User, "root")}
	for _, p := range s.Inventory.Paths {
		if more := inventory.Privileges(p); more != "" {
			list = append(list, more+" "+p.Path)
		}
		if p.Kind != imx.PathLink && p.Mode&0o002 != 0 && !inventory.Sticky(p) {
			list = append(list, "writable by all "+p.Path)
		}
	}
	for _, t := range s.Release.Spec.Tmpfs {
		list = append(list, "writable "+t.Path+" (memory)")
	}
	for _, v := range s.Release.Spec.Volumes {
		list = append(list, fmt.Sprintf("writable %s (volume %s)", v.Path, v.Name))
	}
	return list
}

// firewall are the rules that concern a service, as network.Compute decides them for one instance of each service. An instance goes
// by its service's name in them: its own address is only known when it runs.
func firewall(s Side) []string {
	if s.Release.Service == "" {
		return nil
	}
	w := network.World{Network: netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
	names := map[netip.Addr]string{}
	for _, r := range s.Beside {
		names[r.Address] = r.Service
		w.Services = append(w.Services, network.ServiceNet{Name: r.Service, Address: r.Address, Ports: r.Spec.Ports})
		w.Instances = append(w.Instances, network.Endpoint{ID: r.Service, Service: r.Service, Address: r.Address, Connect: r.Spec.Connect})
	}
	rules, own := network.Compute(w), s.Release.Service
	var list []string
	for _, d := range rules.Doors {
		at := "this machine"
		if !d.Published() {
			at = d.Service
		}
		if d.Service == own {
			list = append(list, fmt.Sprintf("port %d of %s leads to its port %d", d.Port, at, d.Inside))
		}
	}
	for _, f := range rules.Allowed {
		if names[f.From] == own || names[f.To] == own {
			list = append(list, fmt.Sprintf("%s may reach %s:%d", names[f.From], names[f.To], f.Port))
		}
	}
	for _, t := range rules.Exposed {
		if names[t.To] == own {
			list = append(list, fmt.Sprintf("anybody may reach %s:%d through a published port", own, t.Port))
		}
	}
	return list
}

func lines(before, after []string) imx.LineChange {
	var c imx.LineChange
	for _, line := range after {
		if slices.Contains(before, line) {
			c.Kept = append(c.Kept, line)
		} else {
			c.Added = append(c.Added, line)
		}
	}
	for _, line := range before {
		if !slices.Contains(after, line) {
			c.Removed = append(c.Removed, line)
		}
	}
	for _, list := range [][]string{c.Added, c.Removed, c.Kept} {
		slices.SortFunc(list, strings.Compare)
	}
	return c
}
