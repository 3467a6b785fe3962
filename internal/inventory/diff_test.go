package inventory_test

// A comparison must be whole and no more: nothing between an image and itself, and what it says of
// two images is enough to make the one from the other.

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/inventory"
)

// drawn is a small image over few names, so that two of them have much in common.
func drawn(t *rapid.T, label string) imx.ImageDetail {
	d := imx.ImageDetail{Inventory: imx.Inventory{Version: imx.InventoryVersion}}
	name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})
	number := rapid.IntRange(0, 2)
	for _, n := range rapid.SliceOfNDistinct(name, 0, 5, rapid.ID[string]).Draw(t, label+" packages") {
		version := fmt.Sprint(number.Draw(t, "version"))
		d.Inventory.Packages = append(d.Inventory.Packages, imx.InventoryPackage{
			Package: imx.Package{Name: n, Version: version, Architecture: "all", Digest: imx.DigestBytes([]byte(version))},
		})
	}
	for _, n := range rapid.SliceOfNDistinct(name, 0, 5, rapid.ID[string]).Draw(t, label+" paths") {
		p := imx.InventoryPath{
			Path: "/" + n, UID: number.Draw(t, "uid"), GID: number.Draw(t, "gid"), Listens: rapid.Bool().Draw(t, "listens"),
			Kind:    rapid.SampledFrom([]imx.PathKind{imx.PathFile, imx.PathDirectory, imx.PathLink}).Draw(t, "kind"),
			Mode:    rapid.SampledFrom([]imx.Mode{0o644, 0o755, 0o4755, 0o1777}).Draw(t, "mode"),
			Package: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "package"),
			Origin:  rapid.SampledFrom([]imx.PathOrigin{imx.OriginPackage, imx.OriginTemplate}).Draw(t, "origin"),
		}
		switch content := fmt.Sprint(number.Draw(t, "content")); p.Kind {
		case imx.PathFile:
			p.Size, p.Digest = int64(len(content)), imx.DigestBytes([]byte(content))
			p.Capabilities = rapid.SampledFrom([]string{"", "01"}).Draw(t, "capabilities")
		case imx.PathLink:
			p.Target = content
		case imx.PathDirectory:
		}
		d.Inventory.Paths = append(d.Inventory.Paths, p)
	}
	for _, n := range rapid.SliceOfNDistinct(name, 0, 3, rapid.ID[string]).Draw(t, label+" users") {
		d.Inventory.Users = append(d.Inventory.Users, imx.InventoryUser{Name: n, UID: number.Draw(t, "user")})
	}
	d.Configuration.Command = rapid.SliceOfN(name, 0, 2).Draw(t, "command")
	for _, n := range rapid.SliceOfNDistinct(name, 0, 3, rapid.ID[string]).Draw(t, "variables") {
		d.Configuration.Environment = append(d.Configuration.Environment, n+"="+name.Draw(t, "value"))
	}
	return d
}

// patched makes the paths, users and versions that a comparison says of the image before it.
func patched(a imx.Inventory, d inventory.Diff) imx.Inventory {
	paths, users, versions := map[string]imx.InventoryPath{}, map[string]imx.InventoryUser{}, map[string]string{}
	for _, p := range a.Paths {
		paths[p.Path] = p
	}
	for _, u := range a.Users {
		users[u.Name] = u
	}
	for _, p := range a.Packages {
		versions[p.Name] = p.Version
	}
	for _, c := range d.Paths {
		delete(paths, c.Path)
		if c.After != nil {
			paths[c.Path] = *c.After
		}
	}
	for _, c := range d.Users {
		delete(users, c.Name)
		if c.After != nil {
			users[c.Name] = *c.After
		}
	}
	for _, c := range d.Packages {
		delete(versions, c.Name)
		if c.After != "" {
			versions[c.Name] = c.After
		}
	}
	return byName(paths, users, versions)
}

func byName(paths map[string]imx.InventoryPath, users map[string]imx.InventoryUser, versions map[string]string) imx.Inventory {
	var inv imx.Inventory
	for _, p := range paths {
		if p.Kind == imx.PathDirectory {
			p.Package, p.Origin = "", "" // several packages may carry it: which one is named is no difference
		}
		inv.Paths = append(inv.Paths, p)
	}
	for _, u := range users {
		inv.Users = append(inv.Users, u)
	}
	for name, version := range versions {
		inv.Packages = append(inv.Packages, imx.InventoryPackage{Package: imx.Package{Name: name, Version: version}})
	}
	slices.SortFunc(inv.Paths, func(a, b imx.InventoryPath) int { return strings.Compare(a.Path, b.Path) })
	slices.SortFunc(inv.Users, func(a, b imx.InventoryUser) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(inv.Packages, func(a, b imx.InventoryPackage) int { return strings.Compare(a.Name, b.Name) })
	return inv
}

func TestAnImageDoesNotDifferFromItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawn(t, "a")
		if d := inventory.Compare(a, a); !d.Empty() {
			t.Fatalf("%+v", d)
		}
	})
}

func TestADifferenceIsEnoughToMakeTheOneImageFromTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawn(t, "a"), drawn(t, "b")
		got := patched(a.Inventory, inventory.Compare(a, b))
		want := patched(b.Inventory, inventory.Diff{}) // in the same order
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestTheWayBackIsTheOppositeOfTheWayThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawn(t, "a"), drawn(t, "b")
		there, back := inventory.Compare(a, b), inventory.Compare(b, a)
		for i := range there.Paths {
			c := &there.Paths[i]
			c.Before, c.After, c.Op = c.After, c.Before, opposite(c.Op)
		}
		for i := range there.Packages {
			c := &there.Packages[i]
			c.Before, c.After, c.Op, c.Grows = c.After, c.Before, opposite(c.Op), -c.Grows
		}
		for i := range there.Users {
			c := &there.Users[i]
			c.Before, c.After, c.Op = c.After, c.Before, opposite(c.Op)
		}
		for i := range there.Configuration {
			c := &there.Configuration[i]
			c.Before, c.After = c.After, c.Before
		}
		for _, d := range []*inventory.Diff{&there, &back} { // by the order of the settings of the one or the other
			slices.SortFunc(d.Configuration, func(a, b inventory.SettingChange) int { return strings.Compare(a.Name, b.Name) })
		}
		there.Before, there.After = there.After, there.Before
		if diff := cmp.Diff(back, there); diff != "" {
			t.Fatal(diff)
		}
	})
}

func opposite(op imx.ChangeOp) imx.ChangeOp {
	switch op {
	case imx.OpAdd:
		return imx.OpRemove
	case imx.OpRemove:
		return imx.OpAdd
	case imx.OpUpdate, imx.OpReplace:
	}
	return op
}

func TestWhatDiffersAboutAPathIsNamed(t *testing.T) {
	a := imx.InventoryPath{
		Path: "/x", Kind: imx.PathFile, Mode: 0o755, Size: 1, Digest: imx.DigestBytes([]byte("1")),
		Origin: imx.OriginPackage, Package: "x",
	}
	for want, change := range map[string]func(p *imx.InventoryPath){
		"content":         func(p *imx.InventoryPath) { p.Digest = imx.DigestBytes([]byte("2")) },
		"mode":            func(p *imx.InventoryPath) { p.Mode = 0o4755 },
		"owner":           func(p *imx.InventoryPath) { p.GID = 7 },
		"capabilities":    func(p *imx.InventoryPath) { p.Capabilities = "01" },
		"listens":         func(p *imx.InventoryPath) { p.Listens = true },
		"package, origin": func(p *imx.InventoryPath) { p.Package, p.Origin = "", imx.OriginTemplate },
		"kind, mode": func(p *imx.InventoryPath) {
			p.Kind, p.Mode, p.Target, p.Size, p.Digest = imx.PathLink, 0o777, "y", 0, ""
		},
		"content, package": func(p *imx.InventoryPath) { p.Size, p.Package = 2, "y" },
	} {
		b := a
		change(&b)
		of := func(p imx.InventoryPath) imx.ImageDetail {
			return imx.ImageDetail{Inventory: imx.Inventory{Paths: []imx.InventoryPath{p}}}
		}
		d := inventory.Compare(of(a), of(b))
		if len(d.Paths) != 1 || strings.Join(d.Paths[0].What, ", ") != want {
			t.Errorf("want %q, got %+v", want, d.Paths)
		}
		unknown := of(b)
		unknown.Scanned = true
		for _, what := range inventory.Compare(of(a), unknown).Paths {
			if s := strings.Join(what.What, " "); strings.Contains(s, "listens") || strings.Contains(s, "package") || strings.Contains(s, "origin") {
				t.Errorf("an inventory that doesn't know it is said to differ in %s", s)
			}
		}
	}
}

func TestACommandIsShownAsAShellWouldTakeIt(t *testing.T) {
	got := inventory.Settings(imx.ImageConfiguration{Command: []string{"/usr/sbin/nginx", "-g", "daemon off;", ""}, User: "33:33", Environment: []string{"A="}})
	want := []inventory.Setting{{Name: "command", Value: `/usr/sbin/nginx -g "daemon off;" ""`}, {Name: "user", Value: "33:33"}, {Name: "environment A"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
