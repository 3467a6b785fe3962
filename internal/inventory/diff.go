package inventory

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"imx"
)

// Diff is what changes from one image to another.
type Diff struct {
	Packages      []PackageChange `json:"packages,omitempty"`      // sorted by name
	Paths         []PathChange    `json:"paths,omitempty"`         // sorted by path
	Users         []UserChange    `json:"users,omitempty"`         // sorted by name
	Configuration []SettingChange `json:"configuration,omitempty"` // in the order of Settings
	Before        Portion         `json:"before"`                  // all files
	After         Portion         `json:"after"`
}

// PackageChange is a package that comes, goes, or is another version or build.
type PackageChange struct {
	Op     imx.ChangeOp `json:"op"`
	Name   string       `json:"name"`
	Source string       `json:"source,omitempty"`
	Before string       `json:"before,omitempty"` // versions
	After  string       `json:"after,omitempty"`
	Grows  int64        `json:"grows,omitempty"` // bytes of its files that the image has more
}

// PathChange is a path that comes, goes, or changes; Before or After is nil where it isn't there.
type PathChange struct {
	Op     imx.ChangeOp       `json:"op"`
	Path   string             `json:"path"`
	Before *imx.InventoryPath `json:"before,omitempty"`
	After  *imx.InventoryPath `json:"after,omitempty"`
	// What differs: "kind", "content", "target", "mode", "owner", "capabilities", "listens", "package"
	// and "origin", in this order.
	What []string `json:"what,omitempty"`
}

// UserChange is an account that comes, goes, or changes.
type UserChange struct {
	Op     imx.ChangeOp       `json:"op"`
	Name   string             `json:"name"`
	Before *imx.InventoryUser `json:"before,omitempty"`
	After  *imx.InventoryUser `json:"after,omitempty"`
}

// SettingChange is a setting of the configuration, before and after.
type SettingChange struct {
	Name   string `json:"name"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Empty reports whether nothing changes.
func (d Diff) Empty() bool {
	return len(d.Packages)+len(d.Paths)+len(d.Users)+len(d.Configuration) == 0
}

// Compare returns what changes from a to b. Where the inventory of one was only read from its
// layers, what such an inventory doesn't know isn't compared.
func Compare(a, b imx.ImageDetail) Diff {
	before, after := Summarize(a.Inventory), Summarize(b.Inventory)
	if a.Scanned || b.Scanned {
		a.Inventory.Paths, b.Inventory.Paths = plain(a.Inventory.Paths), plain(b.Inventory.Paths)
	}
	return Diff{
		Packages: packageChanges(a.Inventory, b.Inventory, grows(before, after)),
		Paths:    pathChanges(a.Inventory, b.Inventory),
		Users:    userChanges(a.Inventory, b.Inventory), Configuration: settingChanges(a.Configuration, b.Configuration),
		Before: Portion{before.Files, before.Size}, After: Portion{after.Files, after.Size},
	}
}

// grows returns how many bytes each package has more in the second image.
func grows(before, after Summary) map[string]int64 {
	more := map[string]int64{}
	for _, s := range after.Packages {
		more[s.Name] += int64(s.Size)
	}
	for _, s := range before.Packages {
		more[s.Name] -= int64(s.Size)
	}
	return more
}

// paired calls f with the values under each key of two lists, sorted by key; nil where one has none.
func paired[T any](a, b []T, key func(T) string, f func(key string, before, after *T)) {
	type pair struct{ before, after *T }
	pairs := make(map[string]pair, max(len(a), len(b)))
	for i := range a {
		pairs[key(a[i])] = pair{before: &a[i]}
	}
	for i := range b {
		k := key(b[i])
		pairs[k] = pair{pairs[k].before, &b[i]}
	}
	for _, k := range slices.Sorted(maps.Keys(pairs)) {
		f(k, pairs[k].before, pairs[k].after)
	}
}

// op says what becomes of something that is before, after or both.
func op[T any](before, after *T) imx.ChangeOp {
	switch {
	case before == nil:
		return imx.OpAdd
	case after == nil:
		return imx.OpRemove
	}
	return imx.OpUpdate
}

func packageChanges(a, b imx.Inventory, grows map[string]int64) []PackageChange {
	var changes []PackageChange
	paired(a.Packages, b.Packages, func(p imx.InventoryPackage) string { return p.Name },
		func(name string, before, after *imx.InventoryPackage) {
			c := PackageChange{Op: op(before, after), Name: name, Grows: grows[name]}
			if before != nil {
				c.Before, c.Source = before.Version, before.Source
			}
			if after != nil {
				c.After, c.Source = after.Version, after.Source
			}
			if c.Before != c.After || before.Architecture != after.Architecture || before.Digest != after.Digest && before.Digest != "" && after.Digest != "" {
				changes = append(changes, c)
			}
		})
	return changes
}

// plain returns paths with no more than layers say of them.
func plain(paths []imx.InventoryPath) []imx.InventoryPath {
	less := slices.Clone(paths)
	for i := range less {
		less[i].Origin, less[i].Package, less[i].Listens = "", "", false
	}
	return less
}

func pathChanges(a, b imx.Inventory) []PathChange {
	var changes []PathChange
	paired(a.Paths, b.Paths, func(p imx.InventoryPath) string { return p.Path },
		func(name string, before, after *imx.InventoryPath) {
			c := PathChange{Op: op(before, after), Path: name, Before: before, After: after}
			if c.Op == imx.OpUpdate {
				c.What = differences(*before, *after)
			}
			if c.Op != imx.OpUpdate || len(c.What) > 0 {
				changes = append(changes, c)
			}
		})
	return changes
}

// differences names what differs between a path and the same path elsewhere.
func differences(a, b imx.InventoryPath) []string {
	shared := a.Kind == imx.PathDirectory && b.Kind == a.Kind // among packages: any of them may be named
	var what []string
	for _, part := range []struct {
		name    string
		differs bool
	}{
		{"kind", a.Kind != b.Kind},
		{"content", a.Kind == b.Kind && (a.Digest != b.Digest || a.Size != b.Size)},
		{"target", a.Kind == b.Kind && a.Target != b.Target},
		{"mode", a.Mode != b.Mode},
		{"owner", a.UID != b.UID || a.GID != b.GID},
		{"capabilities", a.Capabilities != b.Capabilities},
		{"listens", a.Listens != b.Listens},
		{"package", !shared && a.Package != b.Package},
		{"origin", !shared && a.Origin != b.Origin},
	} {
		if part.differs {
			what = append(what, part.name)
		}
	}
	return what
}

func userChanges(a, b imx.Inventory) []UserChange {
	var changes []UserChange
	paired(a.Users, b.Users, func(u imx.InventoryUser) string { return u.Name },
		func(name string, before, after *imx.InventoryUser) {
			if before == nil || after == nil || *before != *after {
				changes = append(changes, UserChange{op(before, after), name, before, after})
			}
		})
	return changes
}

// Setting is one setting of an image's configuration, written as a person does.
type Setting struct{ Name, Value string }

// Settings returns the settings that decide how an image runs, those that are set. When it was made isn't one.
func Settings(c imx.ImageConfiguration) []Setting {
	all := []Setting{
		{"architecture", c.Architecture},
		{"entrypoint", words(c.Entrypoint)},
		{"command", words(c.Command)},
		{"user", c.User},
		{"work dir", c.WorkDir},
		{"stop signal", c.StopSignal},
		{"ports", strings.Join(c.Ports, ", ")},
	}
	for _, v := range c.Environment {
		name, value, _ := strings.Cut(v, "=")
		all = append(all, Setting{"environment " + name, value})
	}
	return slices.DeleteFunc(all, func(s Setting) bool { return s.Value == "" && !strings.HasPrefix(s.Name, "environment ") })
}

// words joins a command's words; one that a shell would take apart is quoted.
func words(list []string) string {
	var quoted []string
	for _, w := range list {
		if w == "" || strings.ContainsAny(w, " \t\n\"'\\$`*?;&|<>()#~") {
			w = strconv.Quote(w)
		}
		quoted = append(quoted, w)
	}
	return strings.Join(quoted, " ")
}

func settingChanges(a, b imx.ImageConfiguration) []SettingChange {
	old, now := Settings(a), Settings(b)
	var changes []SettingChange
	for _, s := range old {
		after := setting(now, s.Name)
		if after == nil || after.Value != s.Value {
			changes = append(changes, SettingChange{s.Name, s.Value, cmp.Or(after, &Setting{}).Value})
		}
	}
	for _, s := range now {
		if setting(old, s.Name) == nil {
			changes = append(changes, SettingChange{Name: s.Name, After: s.Value})
		}
	}
	return changes
}

func setting(all []Setting, name string) *Setting {
	for i := range all {
		if all[i].Name == name {
			return &all[i]
		}
	}
	return nil
}
