package take

import "strings"

// Filter says which of a package's files aren't even unpacked. dpkg is given the same rules, so
// that it is of no account who unpacks a package. Its meaning is dpkg's (dpkg(1), --path-exclude):
// "*" stands for any characters, slashes too; the last rule that covers a path counts; directories and
// links stay where an exception may lie below them.
type Filter struct{ exclude, include []string }

// NewFilter returns the filter of forPeople and alwaysShipped, as all packages are unpacked by.
func NewFilter() Filter {
	var f Filter
	for _, p := range forPeople() {
		f.exclude = append(f.exclude, "/"+strings.ReplaceAll(p, "/**", "/*"))
	}
	for _, p := range alwaysShipped() {
		f.include = append(f.include, "/"+p)
	}
	return f
}

// Options are dpkg's options that say the same.
func (f Filter) Options() []string {
	var args []string
	for _, p := range f.exclude {
		args = append(args, "--path-exclude="+p)
	}
	for _, p := range f.include {
		args = append(args, "--path-include="+p)
	}
	return args
}

// Skips reports whether an absolute path isn't unpacked. place is true for what other paths may lie
// below: directories and symbolic links.
func (f Filter) Skips(name string, place bool) bool { //nolint:revive // a property of the entry, as dpkg has it
	if !covers(f.exclude, name) || covers(f.include, name) {
		return false
	}
	if !place {
		return true
	}
	for _, p := range f.include {
		literal := p[:strings.LastIndexByte(p[:strings.IndexAny(p+"*", "*?")], '/')+1]
		if strings.HasPrefix(name, literal) {
			return false
		}
	}
	return true
}

func covers(patterns []string, name string) bool {
	for _, p := range patterns {
		if glob(p, name) {
			return true
		}
	}
	return false
}

// glob is fnmatch(3) without flags, of "*" and "?" alone.
func glob(pattern, name string) bool {
	for pattern != "" {
		switch {
		case pattern[0] == '*':
			for i := range len(name) + 1 {
				if glob(pattern[1:], name[i:]) {
					return true
				}
			}
			return false
		case name == "" || pattern[0] != '?' && pattern[0] != name[0]:
			return false
		}
		pattern, name = pattern[1:], name[1:]
	}
	return name == ""
}
