package take

import (
	"bytes"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"

	"imx/internal/build/tree"
)

// sort decides on a generated file that neither the template nor a rule about places knows, by what
// it is.
//
//   - The copy of a file that a package carries is taken if that file is.
//   - Configuration is taken: a text in a directory below /etc or /usr/share that is a package's own, or
//     anywhere one that only comments, or is empty.
//   - What lies in a directory that only tools carry is the tools'.
//   - State isn't taken, as it lives only in volumes: what belongs to a user other than root, or lies in
//     such a user's directory, which the software itself may write.
//   - An empty file below /var is a mark that scripts set for themselves.
//   - A file that not everybody may read holds a secret, which would be the same for all who have the image.
func (c *collector) sort(name string) (verdict, error) {
	it, err := c.root.Item(name)
	if err != nil {
		return ask, err
	}
	original, err := c.copied(it)
	switch {
	case err != nil:
		return ask, err
	case original != nil && c.tree[original.Path] != nil:
		return take, nil
	case original != nil:
		return leave, nil
	}
	state, err := c.state(it)
	switch {
	case err != nil:
		return ask, err
	case state || c.ofTools(name) || it.Size == 0 && strings.HasPrefix(name, "var/"):
		return leave, nil
	case it.Mode.Perm()&0o004 == 0:
		c.note("leaving out /%s: a script made it, and a secret must not be the same for all who have the image", name)
		return leave, nil
	}
	return c.configuration(it)
}

// state reports whether a path is what the software writes in its own user's name. A directory of such a
// user in a place of root's is where the state begins, and not itself state: volumes are mounted there.
func (c *collector) state(it *tree.Item) (bool, error) {
	if it.UID != 0 && it.Mode.IsRegular() {
		return true, nil
	}
	dir, err := c.root.Item(path.Dir(it.Path))
	return err == nil && dir.UID != 0, err
}

// ofTools reports whether only packages that aren't shipped carry the nearest directory above a path
// that any package carries. Those of the base count as shipped here: they have the directories that
// all packages share.
func (c *collector) ofTools(name string) bool {
	dir := path.Dir(name)
	for dir != "." && !c.owned[dir] {
		dir = path.Dir(dir)
	}
	return dir != "." && !c.shared[dir]
}

// maxConfiguration is how long a text may be to be read as configuration.
const maxConfiguration = 64 << 10

// configuration takes a text that is one, and asks about anything else.
func (c *collector) configuration(it *tree.Item) (verdict, error) {
	if it.Mode&fs.ModeType != 0 || it.Size > maxConfiguration {
		return ask, nil
	}
	content, err := it.Content()
	if err != nil || !utf8.Valid(content) || bytes.ContainsRune(content, 0) {
		return ask, err
	}
	dir := path.Dir(it.Path)
	if c.owned[dir] && (strings.HasPrefix(dir, "etc/") || strings.HasPrefix(dir, "usr/share/")) {
		c.note("taking /%s, which a script wrote", it.Path)
		return take, nil
	}
	for line := range bytes.Lines(content) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return ask, nil
		}
	}
	return take, nil
}
