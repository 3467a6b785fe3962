package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"cuelabs.dev/go/oci/ociregistry"

	"imx"
)

// idleUpload is how long an upload may rest before another one takes its place; a client that
// resumes does so within minutes.
const idleUpload = 24 * time.Hour

// uploads are the unfinished ones. They end with the process: clients then begin anew.
type uploads struct {
	mu   sync.Mutex // guards open and each upload's used
	open map[string]*upload
}

// upload is a blob that comes in pieces.
type upload struct {
	id, repo, path string
	used           time.Time // when it was last touched
	writing        sync.Mutex
	size           int64 // bytes in the file; guarded by writing
}

func (r *Registry) pushBlob(_ context.Context, repo string, desc ociregistry.Descriptor, content io.Reader) (ociregistry.Descriptor, error) {
	d := imx.Digest(desc.Digest)
	if err := errors.Join(checkRepository(repo), checkDigest(d)); err != nil {
		return desc, err
	}
	n, err := r.storeBlob(repo, d, content)
	if err == nil && desc.Size >= 0 && n != desc.Size {
		err = faultf(codeSizeInvalid, "the blob has %d bytes, announced were %d", n, desc.Size)
	}
	desc.Size = n
	return desc, err
}

// storeBlob puts a blob onto the disk and then into the repository.
func (r *Registry) storeBlob(repo string, d imx.Digest, content io.Reader) (int64, error) {
	_, n, err := r.blobs.Put(content, d)
	if imx.KindOf(err) == imx.Refused {
		return 0, faultf(codeDigestInvalid, "%w", err)
	}
	if err != nil {
		return 0, err
	}
	return n, r.addName(repo, blobNames, d.Hex(), nil)
}

func (r *Registry) mountBlob(_ context.Context, from, to string, digest ociregistry.Digest) (ociregistry.Descriptor, error) {
	d := imx.Digest(digest)
	size, err := r.blobSize(from, d)
	if err == nil {
		err = checkRepository(to)
	}
	if err == nil {
		err = r.addName(to, blobNames, d.Hex(), nil)
	}
	return ociregistry.Descriptor{MediaType: octetStream, Digest: digest, Size: size}, err
}

func (r *Registry) startUpload(_ context.Context, repo string, _ int) (ociregistry.BlobWriter, error) {
	if err := checkRepository(repo); err != nil {
		return nil, err
	}
	id := rand.Text()
	u := &upload{id: id, repo: repo, path: filepath.Join(r.uploadDir(), id), used: time.Now()}
	f, err := os.OpenFile(u.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, diskError(err, "beginning an upload")
	}
	r.uploads.mu.Lock()
	defer r.uploads.mu.Unlock()
	r.expire()
	r.uploads.open[id] = u
	u.writing.Lock()
	return &writer{r: r, u: u, f: f, offset: -1}, nil
}

// expire removes uploads that nobody has touched for long. uploads.mu is held.
func (r *Registry) expire() {
	for id, u := range r.uploads.open {
		if time.Since(u.used) > idleUpload && u.writing.TryLock() {
			delete(r.uploads.open, id)
			_ = os.Remove(u.path) // else New removes it
			u.writing.Unlock()
		}
	}
}

// resumeUpload opens an upload for one request. Only one request at a time may have it.
func (r *Registry) resumeUpload(_ context.Context, repo, id string, offset int64, _ int) (ociregistry.BlobWriter, error) {
	r.uploads.mu.Lock()
	defer r.uploads.mu.Unlock()
	u := r.uploads.open[id]
	if u == nil || u.repo != repo {
		return nil, faultf(codeUploadUnknown, "repository %.80q has no such upload: begin a new one", repo)
	}
	if !u.writing.TryLock() {
		return nil, faultf(codeUploadBusy, "another request is writing to this upload")
	}
	f, err := os.OpenFile(u.path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		u.writing.Unlock()
		return nil, diskError(err, "resuming an upload")
	}
	u.used = time.Now()
	return &writer{r: r, u: u, f: f, offset: offset, size: u.size}, nil
}

// writer is one request's hold of an upload, until Close.
type writer struct {
	r      *Registry
	u      *upload
	f      *os.File
	offset int64 // where the next write must go on; -1 means wherever the upload is
	size   int64 // of the upload, as this request left it
	failed error // what Write failed with
	closed bool
}

// Write appends to the upload. It never fails itself: the rest of the request is read and dropped, so
// that the client is there to hear the answer, and Commit or Close return the failure as it was.
// What was written before it counts: Size tells where to go on.
func (w *writer) Write(p []byte) (int, error) {
	if w.failed == nil {
		w.failed = w.write(p)
	}
	return len(p), nil
}

func (w *writer) write(p []byte) error {
	if w.offset >= 0 && w.offset != w.size {
		return faultf(codeRangeInvalid, "the upload has %d bytes, so the next piece can't begin at %d", w.size, w.offset)
	}
	w.offset = -1
	n, err := w.r.ops.write(w.f, p)
	w.size += int64(n)
	w.u.size = w.size
	if err != nil {
		return diskError(err, "storing an upload")
	}
	return nil
}

// Size returns how many bytes of the upload are here.
func (w *writer) Size() int64 { return w.size }

// ChunkSize returns the smallest piece that is worth a request, in bytes.
func (w *writer) ChunkSize() int { return 64 << 10 }

// ID returns the name to resume the upload by.
func (w *writer) ID() string { return w.u.id }

// Close lets another request go on with the upload. It returns what Write failed with.
func (w *writer) Close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	err := w.f.Close()
	w.u.writing.Unlock()
	return errors.Join(w.failed, err)
}

// Commit makes the upload a blob of the repository, if it has the digest. Either way it is over,
// except after a failure of Write, which Commit returns and the client may go on from.
func (w *writer) Commit(digest ociregistry.Digest) (ociregistry.Descriptor, error) {
	desc := ociregistry.Descriptor{MediaType: octetStream, Digest: digest, Size: w.size}
	if err := errors.Join(w.failed, checkDigest(imx.Digest(digest))); err != nil {
		return desc, err
	}
	f, err := os.Open(w.u.path)
	if err != nil {
		return desc, fmt.Errorf("reading an upload: %w", err)
	}
	_, err = w.r.storeBlob(w.u.repo, imx.Digest(digest), f)
	return desc, errors.Join(err, f.Close(), w.Cancel())
}

// Cancel forgets the upload and its bytes.
func (w *writer) Cancel() error {
	w.r.uploads.mu.Lock()
	defer w.r.uploads.mu.Unlock()
	if w.r.uploads.open[w.u.id] != w.u {
		return nil
	}
	delete(w.r.uploads.open, w.u.id)
	return os.Remove(w.u.path)
}
