package deb

import (
	"archive/tar"
	"path"
	"strings"

	"imx"
)

const (
	maxPath      = 4096 // PATH_MAX of Linux
	maxComponent = 255  // NAME_MAX of Linux
	maxID        = 1<<31 - 1
)

// CleanPath returns the one name that an entry of a .deb has in an image: relative to the root,
// without "./", "//" or a slash at the end, "." for the root itself, and with the directories
// that usr-merge moved written as usr/bin, usr/lib and so on: bookworm's packages still carry
// ./bin beside ./usr/bin. It refuses absolute names, "..", control characters and absurd lengths.
func CleanPath(name string) (string, error) {
	switch {
	case name == "":
		return "", refused("an entry has an empty name")
	case len(name) > maxPath:
		return "", refused("an entry's name has %d bytes, more than %d: %.40q", len(name), maxPath, name)
	case name[0] == '/':
		return "", refused("entry %q is absolute", name)
	case strings.ContainsFunc(name, isControl):
		return "", refused("entry %q has a control character in its name", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", refused("entry %q leads out of its directory", name)
		}
		if len(part) > maxComponent {
			return "", refused("entry %.40q has a name of %d bytes, more than %d", name, len(part), maxComponent)
		}
	}
	return merge(path.Clean(name)), nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// merge moves a clean relative path below usr where usr-merge says so (Debian's usrmerge(7)).
func merge(p string) string {
	top, _, _ := strings.Cut(p, "/")
	switch top {
	case "bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32":
		return "usr/" + p
	}
	return p
}

// IsMergeLink reports whether the entry is usr-merge's own link, such as ./bin -> usr/bin, which
// base-files carries from trixie on. Every image has these links already, and CleanPath maps
// their names to the directories that they point to, so an unpacker passes them over.
func IsMergeLink(h *tar.Header) bool {
	name := path.Clean(h.Name)
	merged := merge(name)
	return h.Typeflag == tar.TypeSymlink && merged != name && !strings.Contains(name, "/") && path.Clean(h.Linkname) == merged
}

// CheckTarEntry refuses what no Debian package has and no image may get: names that CleanPath
// refuses, links out of the root, devices, FIFOs, absurd sizes and owners. It sees one entry alone:
// an unpacker must still not follow links that it has unpacked before.
func CheckTarEntry(h *tar.Header) error {
	name, err := CleanPath(h.Name)
	if err != nil {
		return err
	}
	if h.Size < 0 || h.Size > MaxSize {
		return refused("entry %q has the size %s, more than %s", h.Name, imx.Size(h.Size), imx.Size(MaxSize))
	}
	if h.Uid < 0 || h.Gid < 0 || h.Uid > maxID || h.Gid > maxID {
		return refused("entry %q has the owner %d:%d", h.Name, h.Uid, h.Gid)
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir:
		return nil
	case tar.TypeLink:
		if _, err := CleanPath(h.Linkname); err != nil {
			return imx.Errorf(imx.Refused, "entry %q is a hard link: %w", h.Name, err)
		}
		return nil
	case tar.TypeSymlink:
		return checkSymlink(name, h.Linkname)
	}
	return refused("entry %q is of type %q; only files, directories and links are allowed", h.Name, h.Typeflag)
}

// checkSymlink refuses a target above the root, seen from where the link will stand. An absolute
// target is fine: the root it names is the image's own.
func checkSymlink(name, target string) error {
	switch {
	case target == "" || len(target) > maxPath || strings.ContainsFunc(target, isControl):
		return refused("entry %q links to %.40q, which isn't a usable name", name, target)
	case target[0] == '/':
		name = "."
	}
	depth := strings.Count(name, "/")
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			depth--
		default:
			depth++
		}
		if depth < 0 {
			return refused("entry %q links to %q, out of the root", name, target)
		}
	}
	return nil
}
