package erofs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"imx"
)

// Checker finds out whether images and their parts are what their digests say. It reads each file once, and again
// when its inode, size, mtime or ctime isn't what it was. Its methods may be called from several
// goroutines at once.
type Checker struct {
	Locks bool // it locks each file before it looks at it, and leaves a sound one locked

	mu    sync.Mutex
	sound map[string]state // by path
}

// state is what a file had when it was found to have its digest.
type state struct {
	digest            imx.Digest
	inode             uint64
	size              int64
	modified, changed unix.Timespec
}

// Image checks an image and all its parts. Errors: NotFound for a file that isn't there, Refused for
// one that has another digest; both name the file.
func (c *Checker) Image(image string, digest imx.Digest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.file(image, digest); err != nil {
		return fmt.Errorf("the root file system %s: %w", digest.Short(), err)
	}
	parts, err := Parts(image)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := c.file(PartFile(image, p.Digest), p.Digest); err != nil {
			return fmt.Errorf("a part of the root file system %s: %w", digest.Short(), err)
		}
	}
	return nil
}

// Again is Image that reads every file whatever is known of it, by means of read, which may take its time: nobody else
// waits for it. What it finds changed isn't known to be sound any more.
func (c *Checker) Again(image string, digest imx.Digest, read func(file string, to io.Writer) error) error {
	if err := c.again(image, digest, read); err != nil {
		return fmt.Errorf("the root file system %s: %w", digest.Short(), err)
	}
	parts, err := Parts(image)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := c.again(PartFile(image, p.Digest), p.Digest, read); err != nil {
			return fmt.Errorf("a part of the root file system %s: %w", digest.Short(), err)
		}
	}
	return nil
}

func (c *Checker) again(path string, want imx.Digest, read func(file string, to io.Writer) error) error {
	if c.Locks {
		Lock(path)
	}
	h := sha256.New()
	err := read(path, h)
	if err != nil {
		return unreadable(path, err)
	}
	if got := digestOf(h); got != want {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.changed(path, want, got)
	}
	return nil
}

// Part checks a part of an image that lies at this path.
func (c *Checker) Part(file string, digest imx.Digest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.file(file, digest)
}

// Made tells it of a file that its caller just wrote with these bytes, and that needs no reading for that.
func (c *Checker) Made(file string, digest imx.Digest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, err := stateOf(file, digest)
	c.remember(file, now)
	return err
}

func (c *Checker) remember(path string, s state) {
	if c.sound == nil {
		c.sound = map[string]state{}
	}
	c.sound[path] = s
}

// file checks one file. Nothing is known of those that aren't sound.
func (c *Checker) file(path string, want imx.Digest) error {
	if c.Locks { // at first, so that nothing can change in between
		Lock(path)
	}
	now, err := stateOf(path, want)
	if err == nil && c.sound[path] == now {
		return nil
	}
	got, err := sum(path)
	if err != nil {
		return unreadable(path, err)
	}
	if got != want {
		return c.changed(path, want, got)
	}
	c.remember(path, now)
	return nil
}

// changed is the error for a file that isn't what it should be, of which nothing is known from now on.
func (c *Checker) changed(path string, want, got imx.Digest) error {
	delete(c.sound, path)
	if c.Locks {
		Unlock(path)
	}
	return imx.Errorf(imx.Refused, "the file should be %s and is %s", want, got).
		WithHint("the file was changed on disk: build the image again with `imx build`")
}

func unreadable(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return imx.Errorf(imx.NotFound, "the file %s is not there", filepath.Base(path)).
			WithHint("build the image again with `imx build`")
	}
	return fmt.Errorf("reading %s: %w", path, err)
}

func stateOf(path string, digest imx.Digest) (state, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return state{digest: digest, inode: st.Ino, size: st.Size, modified: st.Mtim, changed: st.Ctim}, err
}

func sum(path string) (imx.Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() // read-only
	h := sha256.New()
	_, err = io.Copy(h, f)
	return digestOf(h), err
}

func digestOf(h hash.Hash) imx.Digest { return imx.Digest("sha256:" + hex.EncodeToString(h.Sum(nil))) }
