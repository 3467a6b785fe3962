package tree

import "io/fs"

// CapsXattr is the extended attribute with a file's capabilities.
const CapsXattr = "security.capability"

// Octal turns fs.FileMode's permissions, setuid, setgid and sticky into Unix's.
func Octal(m fs.FileMode) int64 {
	bits := int64(m.Perm())
	for bit, unix := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&bit != 0 {
			bits |= unix
		}
	}
	return bits
}

// Permissions turns octal permission bits into fs.FileMode's.
func Permissions(octal fs.FileMode) fs.FileMode {
	mode := octal & fs.ModePerm
	for bit, flag := range map[fs.FileMode]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if octal&bit != 0 {
			mode |= flag
		}
	}
	return mode
}

// Kind names what a mode is of, for people.
func Kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	}
	return "a file"
}
