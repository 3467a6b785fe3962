package local

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"imx"
)

// tree is an image's mounted root. Its symbolic links are the image's own and are followed inside
// of it only: an absolute one begins at the tree's root, as it will for the instance.
type tree string

// resolve returns the path, inside the tree and relative to its root, that p stands for once the
// links in it are followed. What doesn't exist is taken literally. The last part is followed only
// if p ends in a slash.
func (t tree) resolve(p string) (string, error) {
	done := "."
	todo := strings.Split(path.Clean("/" + p)[1:], "/")
	if strings.HasSuffix(p, "/") {
		todo = append(todo, ".")
	}
	for links := 0; len(todo) > 0; {
		next := path.Join(done, todo[0])
		if todo[0] == ".." {
			next = path.Dir(done)
		}
		todo = todo[1:]
		target, err := os.Readlink(t.at(next))
		if err != nil || len(todo) == 0 {
			done = next
			continue
		}
		if links++; links > 40 { // as many as the kernel follows
			return "", imx.Errorf(imx.Invalid, "%q in the image is a circle of symbolic links", p)
		}
		if path.IsAbs(target) {
			done = "."
		}
		todo = append(strings.Split(strings.Trim(path.Clean(target), "/"), "/"), todo...)
	}
	return done, nil
}

// at is the host's path of one that resolve returned.
func (t tree) at(resolved string) string { return filepath.Join(string(t), resolved) }

// open opens a file of the image, following its links.
func (t tree) open(p string) (*os.File, error) {
	resolved, err := t.resolve(p + "/")
	if err != nil {
		return nil, err
	}
	return os.Open(t.at(resolved))
}

// identity is who an instance's processes are.
type identity struct {
	UID, GID uint32
	Groups   []uint32 // supplementary
	Home     string
}

// accounts are the users and groups of an image.
type accounts struct {
	users  map[string]identity
	groups map[string]uint32
}

// accounts reads the image's /etc/passwd and /etc/group; an image need not have them.
func (t tree) accounts() (accounts, error) {
	passwd, err := t.lines("/etc/passwd")
	if err != nil {
		return accounts{}, err
	}
	group, err := t.lines("/etc/group")
	return parseAccounts(passwd, group), err
}

func (t tree) lines(p string) ([]string, error) {
	f, err := t.open(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the image's %s: %w", p, err)
	}
	defer f.Close() // read-only
	var lines []string
	scanner := bufio.NewScanner(io.LimitReader(f, 16<<20))
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
	}
	return lines, scanner.Err()
}

// parseAccounts reads the lines of passwd(5) and group(5). Like the C library it skips lines that
// make no sense; the first of one name counts.
func parseAccounts(passwd, group []string) accounts {
	a := accounts{users: map[string]identity{}, groups: map[string]uint32{}}
	for _, line := range passwd {
		f := strings.Split(line, ":")
		if len(f) < 7 {
			continue
		}
		uid, err := parseID(f[2])
		gid, err2 := parseID(f[3])
		if _, known := a.users[f[0]]; !known && errors.Join(err, err2) == nil {
			a.users[f[0]] = identity{UID: uid, GID: gid, Home: f[5]}
		}
	}
	for _, line := range group {
		f := strings.Split(line, ":")
		if len(f) < 4 {
			continue
		}
		gid, err := parseID(f[2])
		if _, known := a.groups[f[0]]; known || err != nil {
			continue
		}
		a.groups[f[0]] = gid
		for member := range strings.SplitSeq(f[3], ",") {
			if id, ok := a.users[member]; ok && member != "" {
				id.Groups = append(id.Groups, gid)
				a.users[member] = id
			}
		}
	}
	return a
}

// resolve turns a user as templates write it ("", "www-data", "1000", "1000:1000", "www-data:adm")
// into an identity. The error is of kind Invalid.
func (a accounts) resolve(user string) (identity, error) {
	name, group, withGroup := strings.Cut(user, ":")
	id, ok := a.users[name]
	switch uid, err := parseID(name); {
	case name == "":
		id = a.users["root"]
		id.UID, id.GID = 0, 0
	case ok:
	case err == nil:
		id = a.byUID(uid)
	default:
		return identity{}, imx.Errorf(imx.Invalid, "the image has no user %q", name).
			WithHint("its packages make none of that name: name another, or give a number")
	}
	if withGroup {
		gid, err := a.group(group)
		if err != nil {
			return identity{}, err
		}
		id.GID = gid
	}
	if id.Home == "" {
		id.Home = "/"
	}
	return id, nil
}

func (a accounts) byUID(uid uint32) identity {
	for _, id := range a.users {
		if id.UID == uid {
			return id
		}
	}
	return identity{UID: uid, GID: uid}
}

func (a accounts) group(name string) (uint32, error) {
	if gid, ok := a.groups[name]; ok {
		return gid, nil
	}
	gid, err := parseID(name)
	if err != nil {
		return 0, imx.Errorf(imx.Invalid, "the image has no group %q", name)
	}
	return gid, nil
}

// parseID reads a uid or gid.
func parseID(text string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	return uint32(id), err
}
