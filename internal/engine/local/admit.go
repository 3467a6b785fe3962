package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/erofs"
)

// Admit implements engine.Engine.
func (e *Engine) Admit(ctx context.Context, r imx.Release) error {
	if err := runnable(r); err != nil {
		return err
	}
	file, err := e.cfg.Roots(ctx, r.Image.Digest)
	if err != nil {
		return err
	}
	if err := lookInto(file, e.cfg.Dir, func(image tree) error { return fits(r, image) }); err != nil {
		return err
	}
	return e.portsFree(r)
}

// lookInto mounts an image's file over dir where only f sees it, and calls f with it. Whether it
// is the file that was approved is looked at before it is run (see mountImage).
func lookInto(file, dir string, f func(tree) error) error {
	var err error
	onOwnThread(func() { // which takes its mounts with it
		if err = unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			err = fmt.Errorf("making a mount namespace: %w", err)
			return
		}
		if err = unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
			err = fmt.Errorf("making a mount namespace: %w", err)
			return
		}
		if err = erofs.Mount(file, dir); err == nil {
			err = errors.Join(f(tree(dir)), erofs.Unmount(dir))
		}
	})
	return err
}

// fits reports whether the image has what the release needs of it: its user and its command.
func fits(r imx.Release, image tree) error {
	as, err := image.accounts()
	if err != nil {
		return err
	}
	if _, err := as.resolve(r.Config.User); err != nil {
		return err
	}
	args, err := command(r)
	if err != nil || !path.IsAbs(args[0]) || below(args[0], mountPoints(r)) {
		return err // a command without a path is looked for in $PATH, and what is mounted isn't in the image
	}
	mode, err := modeOf(r, image, args[0])
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return unrunnable{fmt.Sprintf("image %q has no file %s", r.Image.Name, args[0]), notFound}.explained()
	case err != nil:
		return err
	case !mode.IsRegular() || mode&0o111 == 0:
		return unrunnable{fmt.Sprintf("%s of image %q is not an executable file (%s)", args[0], r.Image.Name, mode), notExecutable}.explained()
	}
	return nil
}

// modeOf returns what a file of the release is: its own, or the image's.
func modeOf(r imx.Release, image tree, p string) (fs.FileMode, error) {
	resolved, err := image.resolve(p + "/")
	if err != nil {
		return 0, err
	}
	for _, f := range r.Spec.Files {
		own, err := image.resolve(f.Path)
		if err == nil && own == resolved {
			return fs.FileMode(f.Mode) & fs.ModePerm, nil
		}
	}
	info, err := os.Lstat(image.at(resolved))
	if errors.Is(err, unix.ENOTDIR) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return 0, err
	}
	return info.Mode(), nil
}

// below reports whether p lies in one of the directories.
func below(p string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(path.Clean(p), path.Clean(dir)+"/") })
}
