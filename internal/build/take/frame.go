package take

import (
	"io/fs"

	"imx"
	"imx/internal/build/tree"
)

// Frame returns what every image has, whatever its packages: the first directories, the links of merged
// ones, and mount points.
func Frame() tree.Tree {
	t := tree.Tree{}
	dirs := skeleton()
	for _, dir := range MergedDirs() {
		dirs = append(dirs, "usr/"+dir)
		t[dir] = &tree.Item{Path: dir, Mode: fs.ModeSymlink | 0o777, Link: "usr/" + dir, Origin: imx.OriginFrame}
	}
	for _, name := range dirs {
		mode := fs.ModeDir | 0o755
		switch name {
		case "tmp", "var/tmp":
			mode = fs.ModeDir | fs.ModeSticky | 0o777
		case "root":
			mode = fs.ModeDir | 0o700
		}
		t[name] = &tree.Item{Path: name, Mode: mode, Origin: imx.OriginFrame}
	}
	t["var/run"] = &tree.Item{Path: "var/run", Mode: fs.ModeSymlink | 0o777, Link: "/run", Origin: imx.OriginFrame}
	for _, name := range mountPoints() {
		t[name] = tree.Text(name, nil)
		t[name].Origin = imx.OriginFrame
	}
	return t
}

// frame takes what every image has. A package's file stays where an empty one would be a mount point.
func (c *collector) frame() error {
	for name, it := range Frame() {
		if c.tree[name] == nil || !it.Mode.IsRegular() {
			c.tree[name] = it
		}
	}
	return nil
}

// skeleton are directories that every image has: mount points of what an engine provides, and the
// places that the Filesystem Hierarchy Standard promises.
func skeleton() []string {
	return []string{"dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var", "var/tmp"}
}

// mountPoints are empty files that an engine lays its own over: a read-only root can't be given them later.
func mountPoints() []string {
	return []string{"etc/hostname", "etc/hosts", "etc/resolv.conf"}
}

// MergedDirs are the directories that usr-merge moved below usr, each with a link in its old place.
func MergedDirs() []string { return []string{"bin", "lib", "lib64", "sbin"} }
