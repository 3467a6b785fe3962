// Package take says which files of a build root belong into the image: what packages carry and scripts made,
// by rules about places that are the same for all packages, and by what the template says. It only reads.
package take

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"imx"
	"imx/internal/build/tree"
	"imx/internal/deb"
)

// collector takes an image's files out of a build root in which all is installed.
type collector struct {
	plan   imx.ImagePlan
	root   *tree.Root             // the build root
	upper  string                 // what installing changed against the base
	tree   tree.Tree              // what the image takes
	owned  map[string]bool        // every path that some package of the build root carries
	shared map[string]bool        // those of them that not only tools carry
	tools  map[string]bool        // the packages that are there for scripts
	asked  map[string]bool        // the packages that the template names
	bySize map[int64][]*tree.Item // the files that packages carry, once somebody asked
	note   func(format string, args ...any)
}

// Collect returns what packages and their scripts contribute to p's image, of a build root in which all of
// p's packages are installed and configured. upper is the folder with what installing changed against the
// base, as overlayfs has it. note gets what a person may want to know of. The items' content is read from
// root when it is asked for. Invalid: a path that nothing allows, a file that setuid names and isn't there.
func Collect(p imx.ImagePlan, root *tree.Root, upper string, note func(format string, args ...any)) (tree.Tree, error) {
	c := &collector{
		plan: p, root: root, upper: upper, tree: tree.Tree{},
		owned: map[string]bool{}, shared: map[string]bool{}, tools: map[string]bool{}, asked: p.Spec.Asked(), note: note,
	}
	for _, p := range p.Tools {
		c.tools[p.Name] = true
	}
	for _, step := range []func() error{c.packageFiles, c.stanzas, c.frame, c.generated, c.alternatives, c.guard, c.idle, c.parents, c.privileges} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return c.tree, nil
}

// packageFiles takes what the packages to ship carry, where dpkg put it.
func (c *collector) packageFiles() error {
	moved, err := c.diversions()
	if err != nil {
		return err
	}
	ship := map[string]bool{}
	for _, p := range c.plan.Ship {
		ship[p.Name] = true
	}
	lists, err := filepath.Glob(c.root.Path("var/lib/dpkg/info/*.list"))
	if err != nil {
		return err
	}
	for _, list := range lists {
		name, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(list), ".list"), ":")
		text, err := os.ReadFile(list)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			file := strings.Trim(moved.Place(name, strings.TrimSuffix(line, "\n")), "/")
			if err := c.packageFile(name, file, ship[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *collector) packageFile(owner, file string, ship bool) error { //nolint:revive // two sorts of packages, one walk
	name, err := c.root.Parent(file)
	if err != nil {
		return err
	}
	c.owned[name] = true
	c.shared[name] = c.shared[name] || !c.tools[owner]
	if !ship || name == "." || c.never(name) {
		return nil
	}
	it, err := c.root.Item(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil // a script removed it, or it lies on one of the sandbox's own mounts
	}
	if err != nil {
		return err
	}
	c.put(it, owner)
	return nil
}

// never reports whether the image takes a path in no case, whoever brings it.
func (c *collector) never(name string) bool {
	wanted, unwanted := c.patterns()
	return Matches(unwanted, name) || Matches(neverShipped(), name) && !Matches(alwaysShipped(), name) && !Matches(wanted, name)
}

// put takes an item that a package carries or, without an owner, that scripts made. A directory that
// several packages carry is that of the first by name.
func (c *collector) put(it *tree.Item, owner string) {
	it.Owner, it.Origin = owner, imx.OriginPackage
	if owner == "" {
		it.Origin = imx.OriginGenerated
	}
	if c.tree[it.Path] == nil {
		c.tree[it.Path] = it
	}
}

// diversions reads where packages moved files of others aside for their own.
func (c *collector) diversions() (deb.Diversions, error) {
	text, err := os.ReadFile(c.root.Path("var/lib/dpkg/diversions"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return deb.ReadDiversions(string(text)), nil
}

// stanzas writes what dpkg knows of each package to var/lib/dpkg/status.d, where scanners look in
// images without a package manager.
func (c *collector) stanzas() error {
	status, err := os.ReadFile(c.root.Path("var/lib/dpkg/status"))
	if err != nil {
		return err
	}
	found := map[string][]byte{}
	for stanza := range bytes.SplitSeq(bytes.TrimSpace(status), []byte("\n\n")) {
		s, err := deb.ReadStanzas(bytes.NewReader(stanza), "dpkg's status").Next()
		if err != nil {
			return err
		}
		found[s.Identity().Ref()] = stanza
	}
	for _, p := range c.plan.Ship {
		stanza, ok := found[p.Ref()]
		if !ok {
			return imx.Errorf(imx.Internal, "dpkg doesn't have %s after installing it", p.Ref())
		}
		c.put(tree.Text("var/lib/dpkg/status.d/"+p.Name, append(slices.Clone(stanza), '\n')), p.Name)
	}
	return nil
}

// parents takes the directories that other items need and no package to ship carries.
func (c *collector) parents() error {
	for _, it := range c.tree.Sorted() {
		for dir := path.Dir(it.Path); dir != "." && c.tree[dir] == nil; dir = path.Dir(dir) {
			parent, err := c.root.Item(dir)
			if errors.Is(err, fs.ErrNotExist) {
				parent, err = &tree.Item{Path: dir, Mode: fs.ModeDir | 0o755}, nil
			}
			if err != nil {
				return err
			}
			parent.Origin, parent.Owner = it.Origin, it.Owner
			c.tree[dir] = parent
		}
	}
	return nil
}

// guard takes shells and package managers out again, except those of packages that the template
// asks for by name: a dependency is no reason to have one. A file that is left out is reported.
func (c *collector) guard() error {
	shells, err := c.shells()
	if err != nil {
		return err
	}
	var out []string
	for _, it := range c.tree.Sorted() {
		if it.Mode.IsDir() || c.asked[it.Owner] {
			continue
		}
		target, err := c.root.Resolve(it.Path)
		if err != nil {
			return err
		}
		last := c.tree[target]
		if last != nil && c.asked[last.Owner] && !it.Mode.IsRegular() {
			continue // a link to one that was asked for
		}
		if shells[it.Path] || shells[target] || Matches(packageManagers(), target) {
			out = append(out, it.Path)
		}
	}
	for _, name := range out {
		c.note("leaving out /%s of %s: shells and package managers are asked for by name", name, c.tree[name].Owner)
		delete(c.tree, name)
	}
	return nil
}

// shells returns the files that the build root's /etc/shells lists.
func (c *collector) shells() (map[string]bool, error) {
	list, err := os.ReadFile(c.root.Path("etc/shells"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	shells := map[string]bool{}
	for line := range strings.Lines(string(list) + "/bin/sh\n") {
		name := strings.TrimSpace(line)
		if !strings.HasPrefix(name, "/") {
			continue
		}
		named, err := c.root.Parent(strings.Trim(name, "/"))
		if err != nil {
			return nil, err
		}
		place, err := c.root.Resolve(named)
		if err != nil {
			return nil, err
		}
		shells[named], shells[place] = true, true
	}
	return shells, nil
}

// privileges takes setuid and setgid off all files but those that the template lists, which keep
// their capabilities too.
func (c *collector) privileges() error {
	for _, it := range c.tree {
		if !it.Mode.IsDir() {
			it.Mode &^= fs.ModeSetuid | fs.ModeSetgid
		}
	}
	for _, name := range c.plan.Spec.Setuid {
		place, err := c.tree.Parent(strings.Trim(name, "/"))
		if err != nil {
			return err
		}
		it := c.tree[place]
		if it == nil || !it.Mode.IsRegular() {
			return imx.Errorf(imx.Invalid, "setuid names %s, but image.%s has no such file", name, c.plan.Spec.Name).
				WithHint("take it out of setuid, or add the package that carries it")
		}
		on, err := c.root.Item(place)
		if err != nil {
			return err
		}
		if it.Caps, err = c.root.Caps(place); err != nil {
			return err
		}
		it.Mode = on.Mode
	}
	return nil
}
