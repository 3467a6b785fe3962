package take

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"imx"
	"imx/internal/build/keystore"
	"imx/internal/build/tree"
)

// generated takes what no package carries but scripts and triggers made: what a general rule or the
// template allows. A path that nothing allows and nothing leaves out is Invalid, so that no state
// gets into an image, or is missing from it, without anybody knowing.
func (c *collector) generated() error {
	if err := c.fromBase(); err != nil {
		return err
	}
	var links, unknown []string
	err := filepath.WalkDir(c.upper, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(c.upper, p)
		if err != nil || name == "." {
			return err
		}
		switch c.judge(name, d) {
		case leave:
			return nil
		case leaveAll:
			return fs.SkipDir
		case ifShipped:
			links = append(links, name)
			return nil
		case take:
			return c.takeGenerated(name)
		case ask:
			return c.settle(name, &unknown)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := c.links(links, &unknown); err != nil {
		return err
	}
	return c.refuse(unknown)
}

// settle decides on a path that no rule about places knows.
func (c *collector) settle(name string, unknown *[]string) error {
	v, err := c.sort(name)
	switch {
	case err != nil:
		return err
	case v == take:
		return c.takeGenerated(name)
	case v == ask:
		*unknown = append(*unknown, name)
	}
	return nil
}

// verdict is what becomes of a path that scripts changed.
type verdict int

const (
	leave     verdict = iota // not part of the image
	leaveAll                 // nor is anything below
	take                     // part of the image
	ifShipped                // a link: part of the image if what it points to is
	ask                      // the template must say
)

// judge decides on a path of upper. Overlayfs marks a removed one with a character device.
func (c *collector) judge(name string, d fs.DirEntry) verdict {
	wanted, unwanted := c.patterns()
	switch {
	case c.tree[name] != nil || c.owned[name] || d.Type()&fs.ModeCharDevice != 0:
		return leave
	case Matches(unwanted, name):
		return leave
	case Matches(wanted, name):
		return take
	case Matches(neverShipped(), name) || Matches(leftOut(), name):
		if d.IsDir() {
			return leaveAll
		}
		return leave
	case Matches(taken(), name):
		return take
	case d.IsDir():
		return c.judgeDir(name, wanted)
	case d.Type()&fs.ModeSymlink != 0:
		return ifShipped
	case Matches(leftOutFiles(), name):
		return leave
	}
	return ask
}

// judgeDir decides on a directory that scripts made: state isn't taken, nor looked into, unless the
// template wants some of it.
func (c *collector) judgeDir(name string, wanted []string) verdict {
	it, err := c.root.Item(name)
	if err != nil {
		return take // which says what is wrong
	}
	state, err := c.state(it)
	switch {
	case err != nil || !state:
		return take
	case slices.ContainsFunc(wanted, func(pattern string) bool { return reaches(pattern, name) }):
		return leave
	}
	return leaveAll
}

// patterns returns what the template says of generated paths: globs to take and, behind a "!", to
// leave out.
func (c *collector) patterns() (wanted, unwanted []string) {
	for _, g := range c.plan.Spec.Generated {
		if rest, ok := strings.CutPrefix(g, "!"); ok {
			unwanted = append(unwanted, strings.Trim(rest, "/"))
		} else {
			wanted = append(wanted, strings.Trim(g, "/"))
		}
	}
	return wanted, unwanted
}

func (c *collector) takeGenerated(name string) error {
	if strings.ContainsFunc(name, unicode.IsControl) { // as in packages: it would read as something else wherever it is shown
		return imx.Errorf(imx.Invalid, "scripts of the packages generated %q, which has a control character in its name", "/"+name).
			WithHint("leave it out with generated = [%q]", "!/"+strings.Map(wildcard, name))
	}
	it, err := c.root.Item(name)
	if err != nil {
		return err
	}
	if it.Mode.IsRegular() && it.Size < keystore.MaxSize {
		content, err := it.Content()
		if err != nil {
			return err
		}
		if dated, ok := keystore.Redate(content, c.plan.Epoch); ok {
			it.Open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(dated)), nil }
		}
	}
	c.put(it, "")
	return nil
}

// wildcard puts a "?" in place of a character that a template's text can't have.
func wildcard(r rune) rune {
	if unicode.IsControl(r) {
		return '?'
	}
	return r
}

// fromBase takes the state that configuring the base made and that rules name exactly: the accounts,
// the loader's cache and so on.
func (c *collector) fromBase() error {
	for _, name := range taken() {
		if strings.ContainsAny(name, "*?[") || c.owned[name] || !c.root.Exists(name) {
			continue
		}
		it, err := c.root.Item(name)
		if err != nil {
			return err
		}
		if it.Mode&fs.ModeSymlink != 0 {
			continue
		}
		if err := c.takeGenerated(name); err != nil {
			return err
		}
	}
	return nil
}

// links takes generated links to what the image has. Links to what other packages of the build root
// carry are left out with them; those to nowhere are unknown paths.
func (c *collector) links(names []string, unknown *[]string) error {
	for _, name := range names {
		target, err := c.root.Resolve(name)
		if err != nil {
			return err
		}
		switch {
		case c.tree[target] != nil:
			if err := c.takeGenerated(name); err != nil {
				return err
			}
		case c.root.Exists(target):
		case strings.HasPrefix(target, "etc/alternatives/") || Matches(leftOut(), target) || Matches(neverShipped(), target):
		default:
			*unknown = append(*unknown, name)
		}
	}
	return nil
}

// copied returns the carried file that a generated one is a copy of, as scripts make of default
// configurations and pages; nil if there is none. Of several it is one that the image has.
func (c *collector) copied(it *tree.Item) (*tree.Item, error) {
	if !it.Mode.IsRegular() || it.Size == 0 {
		return nil, nil //nolint:nilnil // no original is no failure
	}
	if c.bySize == nil {
		c.measure()
	}
	var found *tree.Item
	for _, other := range c.bySize[it.Size] {
		if found != nil && c.tree[other.Path] == nil {
			continue
		}
		same, err := it.SameContent(other)
		if err != nil {
			return nil, err
		}
		if same {
			found = other
		}
	}
	return found, nil
}

// measure finds the size of each file that a package of the build root carries.
func (c *collector) measure() {
	c.bySize = map[int64][]*tree.Item{}
	for _, name := range slices.Sorted(maps.Keys(c.owned)) {
		if it, err := c.root.Item(name); err == nil && it.Mode.IsRegular() { // else a script removed it
			c.bySize[it.Size] = append(c.bySize[it.Size], it)
		}
	}
}

// alternatives takes the links of dpkg's alternatives system (update-alternatives(1)) whose targets
// are in the image. Those of packages that the base has already aren't among what changed.
func (c *collector) alternatives() error {
	names, err := filepath.Glob(c.root.Path("etc/alternatives/*"))
	if err != nil {
		return err
	}
	links, err := c.alternativeLinks()
	if err != nil {
		return err
	}
	for _, name := range names {
		group := path.Base(name)
		for _, link := range []string{"etc/alternatives/" + group, links[group]} {
			if link == "" || c.tree[link] != nil || Matches(neverShipped(), link) {
				continue
			}
			target, err := c.root.Resolve(link)
			if err != nil {
				return err
			}
			if c.tree[target] == nil || !c.root.Exists(link) {
				continue
			}
			if err := c.takeGenerated(link); err != nil {
				return err
			}
		}
	}
	return nil
}

// alternativeLinks reads where each alternative's link is, from dpkg's database: the mode, the main
// link, then pairs of a further name and its link up to an empty line.
func (c *collector) alternativeLinks() (map[string]string, error) {
	files, err := filepath.Glob(c.root.Path("var/lib/dpkg/alternatives/*"))
	if err != nil {
		return nil, err
	}
	links := map[string]string{}
	for _, f := range files {
		lines, err := readLines(f)
		if err != nil {
			return nil, err
		}
		for i := 1; i < len(lines) && (i == 1 || lines[i-1] != ""); i += 2 {
			group := path.Base(f)
			if i > 1 {
				group = lines[i-1]
			}
			if links[group], err = c.root.Parent(strings.Trim(lines[i], "/")); err != nil {
				return nil, err
			}
		}
	}
	return links, nil
}

// refuse makes the error for paths that nothing allows.
func (c *collector) refuse(unknown []string) error {
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	const shown = 20
	list := "/" + strings.Join(unknown[:min(len(unknown), shown)], "\n  /")
	if more := len(unknown) - shown; more > 0 {
		list += fmt.Sprintf("\n  and %d more", more)
	}
	return imx.Errorf(imx.Invalid, "scripts of the packages generated what no rule allows:\n  %s", list).
		WithHint("in image %q write generated = [%s] to take it, or the same with \"!\" before the path to leave it out", c.plan.Spec.Name, c.globs(unknown))
}

// globs writes a template's list that covers the paths: whole directories where scripts made those too.
func (c *collector) globs(names []string) string {
	var list []string
	for _, n := range names {
		g := "/" + n
		for dir := path.Dir(n); dir != "." && !c.owned[dir]; dir = path.Dir(dir) {
			g = "/" + dir + "/**"
		}
		if g = strconv.Quote(g); !slices.Contains(list, g) {
			list = append(list, g)
		}
	}
	return strings.Join(list, ", ")
}

func readLines(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), err
}
