package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/erofs"
	"imx/internal/mounts"
)

// roots are the mounted root file systems, below mountDir:
//
//	images/<hex>               an image's EROFS file with its parts, mounted once however many releases use it
//	layers/<service>-<number>  a release's configuration
//	roots/<service>-<number>   the one laid over the other: what every instance of it has as its root
//	programs/crun              crun, read-only
//
// mountDir is a shared mount of its own, so that what is unmounted here goes from conmon's mount
// namespaces too.
type roots struct {
	cfg   Config
	store store

	checker *erofs.Checker // of images; what is mounted stays locked

	mu    sync.Mutex
	ready map[string]prepared // by "<service>-<number>"
}

// prepared is what release.json holds: a release with its root mounted, or being mounted.
type prepared struct {
	Release imx.Release `json:"release"`
	Root    string      `json:"root"` // path of the image's EROFS file
}

func releaseKey(service string, number int) string { return fmt.Sprintf("%s-%d", service, number) }

// prepare mounts the release's root, if it isn't yet, and returns its path.
func (rs *roots) prepare(ctx context.Context, r imx.Release) (string, error) {
	return rs.prepareAs(ctx, releaseKey(r.Service, r.Number), r)
}

// prepareAs is prepare under another name than the release's.
func (rs *roots) prepareAs(ctx context.Context, key string, r imx.Release) (string, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if _, ok := rs.ready[key]; ok {
		return rs.at("roots", key), nil
	}
	file, err := rs.cfg.Roots(ctx, r.Image.Digest)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(rs.store.releaseAs(key), 0o700); err != nil {
		return "", diskError(err, "preparing release "+key)
	}
	p := prepared{r, file}
	if err := rs.store.put(filepath.Join(rs.store.releaseAs(key), "release.json"), p); err != nil {
		return "", err
	}
	if err := rs.mount(p, key); err != nil {
		return "", fmt.Errorf("preparing the root of %s release %d with image %s: %w", r.Service, r.Number, r.Image.Name, err)
	}
	rs.ready[key] = p
	return rs.at("roots", key), nil
}

func (rs *roots) mount(p prepared, key string) error {
	if err := rs.shareMounts(); err != nil {
		return err
	}
	image := rs.at("images", p.Release.Image.Root.Hex())
	if err := rs.mountImage(p, image); err != nil {
		return err
	}
	layerFile := filepath.Join(rs.store.releaseAs(key), "layer.erofs")
	if err := rs.writeLayer(p.Release, tree(image), layerFile); err != nil {
		return err
	}
	layer, root := rs.at("layers", key), rs.at("roots", key)
	if err := remount(layer, func() error { return erofs.Mount(layerFile, layer) }); err != nil {
		return err
	}
	return remount(root, func() error {
		// Two lower directories and no upper one: there is nothing to write to.
		const flags = unix.MS_RDONLY | unix.MS_NODEV | unix.MS_NOSUID
		return unix.Mount("overlay", root, "overlay", flags, "lowerdir="+layer+":"+image)
	})
}

// mountImage mounts the image after checking its file and all parts: what is mounted is what was approved.
func (rs *roots) mountImage(p prepared, target string) error {
	if err := rs.checker.Image(p.Root, p.Release.Image.Root); err != nil {
		rs.unlock(p)
		return err
	}
	mounted, err := isMounted(target)
	if err != nil || mounted {
		return err
	}
	return remount(target, func() error { return erofs.Mount(p.Root, target) })
}

// check looks at the image of a release, whether it is mounted or not.
func (rs *roots) check(r imx.Release) error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	p, ok := rs.ready[releaseKey(r.Service, r.Number)]
	if !ok {
		return nil // it is looked at when it is mounted
	}
	return rs.checker.Image(p.Root, r.Image.Root)
}

// fileOf is the file that a release's root is mounted from, "" where it isn't mounted.
func (rs *roots) fileOf(key string) string {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.ready[key].Root
}

// forgetLost lets a release's root be mounted again that somebody unmounted.
func (rs *roots) forgetLost(key string) error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	mounted, err := isMounted(rs.at("roots", key))
	if err == nil && !mounted {
		delete(rs.ready, key)
	}
	return err
}

// unlock lets an image's file and parts be changed again, but those that other images in use have.
func (rs *roots) unlock(p prepared) {
	if rs.cfg.Guest {
		return
	}
	used := map[string]bool{}
	for _, other := range rs.ready {
		for _, file := range imageFiles(other.Root) {
			used[file] = true
		}
	}
	for _, file := range imageFiles(p.Root) {
		if !used[file] {
			erofs.Unlock(file)
		}
	}
}

// imageFiles are the files that an image consists of. One that can't be read has no parts to name.
func imageFiles(image string) []string {
	files := []string{image}
	parts, err := erofs.Parts(image)
	if err != nil {
		return files
	}
	for _, p := range parts {
		files = append(files, erofs.PartFile(image, p.Digest))
	}
	return files
}

func (rs *roots) writeLayer(r imx.Release, image tree, file string) error {
	entries, err := configLayer(r, image, rs.cfg.Files)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return diskError(err, "writing the configuration of "+r.Service)
	}
	err = errors.Join(erofs.Write(f, entries, time.Unix(0, 0)), f.Close())
	return diskError(err, "writing the configuration of "+r.Service)
}

// sweep unmounts every release that isn't in use, and every image without a release left.
func (rs *roots) sweep(ctx context.Context, inUse func(key string) bool) error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var errs []error
	for _, key := range rs.keys() {
		if !inUse(key) {
			errs = append(errs, rs.drop(ctx, key))
		}
	}
	return errors.Join(errs...)
}

// keys are all releases that have something on disk or mounted.
func (rs *roots) keys() []string {
	var keys []string
	for _, dir := range []string{filepath.Join(rs.store.dir, "releases"), rs.at("layers", ""), rs.at("roots", "")} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // never made
		}
		for _, e := range entries {
			keys = append(keys, e.Name())
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func (rs *roots) drop(ctx context.Context, key string) error {
	dir := rs.store.releaseAs(key)
	var p prepared
	known := read(filepath.Join(dir, "release.json"), &p) == nil
	err := errors.Join(unmount(rs.at("roots", key)), unmount(rs.at("layers", key)))
	delete(rs.ready, key)
	if err == nil && known && !rs.imageInUse(p.Release.Image.Root) {
		rs.unlock(p)
		err = unmount(rs.at("images", p.Release.Image.Root.Hex()))
	}
	if err != nil {
		rs.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a root file system stays mounted", slog.String("release", key), slog.Any("error", err))
		return err
	}
	return os.RemoveAll(dir)
}

func (rs *roots) imageInUse(root imx.Digest) bool {
	for _, p := range rs.ready {
		if p.Release.Image.Root == root {
			return true
		}
	}
	return false
}

// adopt takes over what an earlier engine mounted for the release, if it is whole.
func (rs *roots) adopt(service string, number int) (imx.Release, bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var p prepared
	if read(filepath.Join(rs.store.release(service, number), "release.json"), &p) != nil {
		return imx.Release{}, false
	}
	key := releaseKey(service, number)
	if mounted, err := isMounted(rs.at("roots", key)); err == nil && mounted {
		rs.ready[key] = p
	}
	return p.Release, true
}

func (rs *roots) at(kind, name string) string { return filepath.Join(rs.cfg.mountDir(), kind, name) }

// shareMounts makes mountDir a shared mount, whatever the machine's own mounts are.
func (rs *roots) shareMounts() error {
	dir := rs.cfg.mountDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	mounted, err := isMounted(dir)
	if err != nil || mounted {
		return err
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting %s: %w", dir, err)
	}
	// First private: a peer group with the parent's would mount everything twice.
	return errors.Join(
		unix.Mount("", dir, "", unix.MS_PRIVATE, ""),
		unix.Mount("", dir, "", unix.MS_SHARED, ""),
	)
}

// remount mounts at target, a directory that it makes, in place of whatever was left there.
func remount(target string, mount func() error) error {
	if err := unmount(target); err != nil {
		return err
	}
	if err := os.MkdirAll(target, 0o700); err != nil {
		return err
	}
	return mount()
}

// unmount takes away what is mounted at target, and target itself. Nothing there is no error.
func unmount(target string) error {
	for {
		err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return ignoreMissing(os.Remove(target))
		}
		if err != nil {
			return fmt.Errorf("unmounting %s: %w", target, err)
		}
	}
}

func isMounted(target string) (bool, error) {
	table, err := mounts.Read()
	return table.Has(target), err
}

// mountsBelow lists what is mounted at or below dir, the innermost first.
func mountsBelow(dir string) ([]string, error) {
	table, err := mounts.Read()
	return table.Within(dir), err
}
