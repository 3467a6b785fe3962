package tree

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"imx"
)

// Accounts are an image's users and groups, as the texts of passwd(5) and group(5).
type Accounts struct{ Passwd, Group string }

// Owner returns the ids of a user by name, or of "uid[:gid]"; "" is root. Where a number has no
// account, its group is the same number.
func (a Accounts) Owner(name string) (uid, gid int, err error) {
	if name == "" {
		return 0, 0, nil
	}
	first, second, both := strings.Cut(name, ":")
	user := lookup(a.Passwd, first)
	switch n, err := strconv.Atoi(first); {
	case user != nil && min(user[2], user[3]) >= 0:
		uid, gid = user[2], user[3]
	case err != nil || n < 0:
		return 0, 0, imx.Errorf(imx.Invalid, "the image has no user %q", first).
			WithHint("%s", oneOf(names(a.Passwd)))
	default:
		uid, gid = n, n
	}
	if !both {
		return uid, gid, nil
	}
	if group := lookup(a.Group, second); group != nil && group[2] >= 0 {
		return uid, group[2], nil
	}
	if gid, err = strconv.Atoi(second); err != nil || gid < 0 {
		return 0, 0, imx.Errorf(imx.Invalid, "the image has no group %q", second).
			WithHint("%s", oneOf(names(a.Group)))
	}
	return uid, gid, nil
}

// User returns what an image's configuration has as its user: always numbers, so that an engine
// needs no account file.
func (a Accounts) User(name string) (string, error) {
	uid, gid, err := a.Owner(name)
	return fmt.Sprintf("%d:%d", uid, gid), err
}

// lookup finds a name, or a number in the third field, in a file such as passwd(5) or group(5) and
// returns its fields as numbers, -1 where they are none.
func lookup(file, key string) []int {
	for line := range strings.Lines(file) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) < 4 || fields[0] != key && fields[2] != key {
			continue
		}
		numbers := make([]int, len(fields))
		for i, f := range fields {
			n, err := strconv.Atoi(f)
			if err != nil {
				n = -1
			}
			numbers[i] = n
		}
		return numbers
	}
	return nil
}

func names(file string) []string {
	var list []string
	for line := range strings.Lines(file) {
		name, _, ok := strings.Cut(line, ":")
		if ok {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// oneOf is the advice to take one of the accounts that an image has, if it has any.
func oneOf(names []string) string {
	if len(names) == 0 {
		return "write a number: it has none at all"
	}
	return "write one of " + strings.Join(names, ", ") + ", or a number"
}
