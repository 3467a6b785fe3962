package take

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// idle takes out what nothing in the image can use: files that only certain programs read, none of which
// is there, executable scripts without their interpreter, and links to those. A template keeps any of
// them by naming it in generated.
func (c *collector) idle() error {
	gone := map[string]bool{}
	for _, rule := range companions() {
		if c.hasProgram(rule.programs) {
			continue
		}
		for name := range c.tree {
			gone[name] = gone[name] || Matches(rule.files, name)
		}
	}
	if err := c.characterSets(gone); err != nil {
		return err
	}
	if err := c.deadScripts(gone); err != nil {
		return err
	}
	c.drop(gone)
	return nil
}

// drop takes paths out of the image, and links that lead to them, but nothing that the template has a
// pattern for.
func (c *collector) drop(gone map[string]bool) {
	wanted, _ := c.patterns()
	for _, it := range c.tree.Sorted() {
		if it.Mode&fs.ModeSymlink != 0 {
			target, err := c.tree.Resolve(it.Path)
			gone[it.Path] = gone[it.Path] || err == nil && gone[target]
		}
	}
	for name, dead := range gone {
		if dead && !Matches(wanted, name) {
			delete(c.tree, name)
		}
	}
}

func (c *collector) hasProgram(patterns []string) bool {
	for name, it := range c.tree {
		if !it.Mode.IsDir() && Matches(patterns, name) {
			return true
		}
	}
	return false
}

// deadScripts finds the executable scripts that nothing in the image can run.
func (c *collector) deadScripts(gone map[string]bool) error {
	for name, it := range c.tree {
		if !it.Mode.IsRegular() || it.Mode.Perm()&0o111 == 0 || gone[name] {
			continue
		}
		line, err := it.FirstLine()
		if err != nil {
			return err
		}
		if program := interpreter(line); program != "" && !c.runs(program) {
			gone[name] = true
		}
	}
	return nil
}

// runs reports whether the image has the program, at its place or among the programs of that name.
func (c *collector) runs(program string) bool {
	places := []string{strings.Trim(program, "/")}
	for _, dir := range []string{"usr/bin", "usr/sbin", "usr/local/bin"} {
		places = append(places, path.Join(dir, path.Base(program)))
	}
	return slices.ContainsFunc(places, func(p string) bool {
		place, err := c.tree.Resolve(p)
		return err == nil && c.tree[place] != nil
	})
}

// interpreter returns the program that runs a script with this first line, "" where it isn't one. Of
// env(1) it is the program that env would look for.
func interpreter(line string) string {
	rest, ok := strings.CutPrefix(line, "#!")
	if !ok {
		return ""
	}
	words := strings.Fields(rest)
	if len(words) > 1 && path.Base(words[0]) == "env" {
		words = slices.DeleteFunc(words[1:], func(w string) bool { return strings.HasPrefix(w, "-") || strings.Contains(w, "=") })
	}
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// conversion says which character sets programs may ask the C library for.
type conversion int

const (
	builtIn conversion = iota // what is built in: ASCII and Unicode's own forms
	common                    // those in the C library's main list as well
	all                       // all that it has
)

// characterSets finds the modules of the C library that no program of the image asks for. The C library
// has them in two lists, of which the second is "uncommonly used" (the news of glibc 2.34, which made
// the lists two for images like these). Who calls iconv_open(3) decides: a program or one of its own
// modules has its users' data to convert and may need any; a library that others are linked with has
// its locale's in mind.
func (c *collector) characterSets(gone map[string]bool) error {
	need, err := c.converts()
	if err != nil || need == all {
		return err
	}
	for name, it := range c.tree {
		if Matches(characterSets(), name) && !c.asked[it.Owner] {
			gone[name] = true
		}
	}
	if need == builtIn {
		return nil
	}
	for name := range c.tree {
		if !Matches(mainCharacterSets(), name) {
			continue
		}
		list, err := c.tree[name].Content()
		if err != nil {
			return err
		}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			delete(gone, dir)
		}
		delete(gone, name)
		for line := range strings.Lines(string(list)) {
			if words := strings.Fields(line); len(words) > 3 && words[0] == "module" {
				delete(gone, path.Join(path.Dir(name), words[3]+".so"))
			}
		}
	}
	return nil
}

// converts finds what the image's programs may ask for. A locale with characters that aren't Unicode's,
// or can't be known to be, is a reason to have all.
func (c *collector) converts() (conversion, error) {
	need := builtIn
	for name, it := range c.tree {
		if !it.Mode.IsRegular() {
			continue
		}
		if strings.HasPrefix(name, "usr/lib/locale/") && !strings.HasPrefix(strings.ToLower(name), "usr/lib/locale/c.utf") {
			return all, nil
		}
		library := Matches([]string{"usr/lib/*/*.so*"}, name)
		if library && need == common || !strings.Contains(path.Base(name), ".so") && it.Mode.Perm()&0o111 == 0 {
			continue
		}
		calls, err := it.Imports("iconv_open")
		switch {
		case err != nil:
			return all, err
		case calls && !library:
			return all, nil
		case calls:
			need = common
		}
	}
	return need, nil
}
