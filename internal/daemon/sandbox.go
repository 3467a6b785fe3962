package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/engine/local"
)

// sandbox names what confines the instances of tests, and what probes them: this imx, the program that
// starts them, and the kernel.
func (ms *machines) sandbox() (imx.Digest, error) {
	programs := map[string]imx.Digest{}
	probe, err := ms.program()
	if err != nil {
		return "", err
	}
	for _, path := range []string{local.Runtime(), probe} {
		d, err := ms.digests.of(path)
		if err != nil {
			return "", imx.Errorf(imx.Invalid, "%s, which tests need, can't be read: %w", path, err)
		}
		programs[path] = d
	}
	var kernel unix.Utsname
	if err := unix.Uname(&kernel); err != nil {
		return "", err
	}
	return imx.DigestJSON(struct {
		Version, Kernel, Build string
		Programs               map[string]imx.Digest
	}{ms.version, unix.ByteSliceToString(kernel.Release[:]), unix.ByteSliceToString(kernel.Version[:]), programs}), nil
}

// digests remembers those of files that stay as they are.
type digests struct {
	mu    sync.Mutex
	known map[string]digested
}

type digested struct {
	as     fs.FileInfo
	digest imx.Digest
}

func (ds *digests) of(path string) (imx.Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() // read-only
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if old, ok := ds.known[path]; ok && os.SameFile(old.as, info) && old.as.ModTime().Equal(info.ModTime()) && old.as.Size() == info.Size() {
		return old.digest, nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	if ds.known == nil {
		ds.known = map[string]digested{}
	}
	ds.known[path] = digested{info, imx.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil)))}
	return ds.known[path].digest, nil
}
