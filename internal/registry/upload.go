package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"cuelabs.dev/go/oci/ociregistry"

	"imx"
	"imx/internal/disk"
)

// limits keep pushes from filling the disk, and one client from keeping others out; tests set smaller ones.
type limits struct {
	blob    int64         // bytes of one
	uploads int           // that are under way at once
	idle    time.Duration // an upload that got no further for so long is over
}

// pushLimits are 8 GiB, which is more than any layer has that a machine can do something with, and an
// hour: a client that resumes does so within minutes.
func pushLimits() limits { return limits{blob: 8 << 30, uploads: 64, idle: time.Hour} }

// uploads are the unfinished ones. They end with the process: clients then begin anew.
type uploads struct {
	mu      sync.Mutex
	chunked map[string]*upload // those of several requests, by their ids
	single  int                // how many there are of one request
}

// upload is a blob that comes in several requests.
type upload struct {
	id, repo, path string
	expire         *time.Timer // put off by every byte that comes
	writing        sync.Mutex  // held by a request; taken before uploads.mu, or tried while that is held
	size           int64       // bytes in the file; guarded by writing
}

// room refuses one upload more than may be under way. mu is held.
func (u *uploads) room(limit int) error {
	if len(u.chunked)+u.single >= limit {
		return faultf(codeTooManyUploads, "%d uploads are under way already, and more at once aren't taken", limit).
			withHint("push again later: unfinished uploads end an hour after their last byte came")
	}
	return nil
}

// patient is the body of a request. The connection is cut when nothing comes for too long.
type patient struct {
	io.ReadCloser
	conn *http.ResponseController
	idle time.Duration
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(p.idle)) // fails only where there is no connection that could stall
	return p.ReadCloser.Read(b)
}

// bounded fails after too many bytes.
type bounded struct {
	io.Reader
	left, limit int64
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge(b.limit)
	}
	return n, err
}

func errTooLarge(limit int64) *fault {
	return faultf(codeTooLarge, "the blob has more than the %d bytes that one may have", limit)
}

func (r *Registry) pushBlob(_ context.Context, repo string, desc ociregistry.Descriptor, content io.Reader) (ociregistry.Descriptor, error) {
	d := imx.Digest(desc.Digest)
	if err := errors.Join(checkRepository(repo), checkDigest(d)); err != nil {
		return desc, err
	}
	if desc.Size > r.limits.blob {
		return desc, errTooLarge(r.limits.blob)
	}
	if err := r.beginSingle(); err != nil {
		return desc, err
	}
	defer r.endSingle()
	n, err := r.storeBlob(repo, d, &bounded{content, r.limits.blob, r.limits.blob})
	if err == nil && desc.Size >= 0 && n != desc.Size {
		err = faultf(codeSizeInvalid, "the blob has %d bytes, announced were %d", n, desc.Size)
	}
	desc.Size = n
	return desc, err
}

func (r *Registry) beginSingle() error {
	r.uploads.mu.Lock()
	defer r.uploads.mu.Unlock()
	if err := r.uploads.room(r.limits.uploads); err != nil {
		return err
	}
	r.uploads.single++
	return nil
}

func (r *Registry) endSingle() {
	r.uploads.mu.Lock()
	defer r.uploads.mu.Unlock()
	r.uploads.single--
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
	r.uploads.mu.Lock()
	defer r.uploads.mu.Unlock()
	if err := r.uploads.room(r.limits.uploads); err != nil {
		return nil, err
	}
	id := rand.Text()
	u := &upload{id: id, repo: repo, path: filepath.Join(r.uploadDir(), id)}
	f, err := os.OpenFile(u.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, disk.Error(err, "beginning an upload")
	}
	u.writing.Lock()
	u.expire = time.AfterFunc(r.limits.idle, func() { r.endIdle(u) })
	r.uploads.chunked[id] = u
	return &writer{r: r, u: u, f: f, offset: -1}, nil
}

// endIdle ends an upload whose last byte came long ago. A request that has it still is about to be
// cut off, and is waited for.
func (r *Registry) endIdle(u *upload) {
	r.uploads.mu.Lock()
	defer r.uploads.mu.Unlock()
	if !u.writing.TryLock() {
		u.expire.Reset(r.limits.idle / 60)
		return
	}
	defer u.writing.Unlock()
	_ = r.uploads.forget(u) // what stays of it, New removes
}

// forget ends an upload, unless it has ended, and removes its bytes. The caller has it and mu.
func (u *uploads) forget(one *upload) error {
	if u.chunked[one.id] != one {
		return nil
	}
	one.expire.Stop()
	delete(u.chunked, one.id)
	return os.Remove(one.path)
}

// resumeUpload opens an upload for one request. Only one request at a time may have it.
func (r *Registry) resumeUpload(_ context.Context, repo, id string, offset int64, _ int) (ociregistry.BlobWriter, error) {
	r.uploads.mu.Lock()
	defer r.uploads.mu.Unlock()
	u := r.uploads.chunked[id]
	if u == nil || u.repo != repo {
		return nil, faultf(codeUploadUnknown, "repository %.80q has no such upload: begin a new one", repo)
	}
	if !u.writing.TryLock() {
		return nil, faultf(codeUploadBusy, "another request is writing to this upload")
	}
	f, err := os.OpenFile(u.path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		u.writing.Unlock()
		return nil, disk.Error(err, "resuming an upload")
	}
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
// What was written before it counts: Size tells where to go on. Only an upload that grew too large is over.
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
	if limit := w.r.limits.blob; w.size+int64(len(p)) > limit {
		return errors.Join(errTooLarge(limit), w.Cancel())
	}
	n, err := w.r.ops.write(w.f, p)
	w.size += int64(n)
	w.u.size = w.size
	w.u.expire.Reset(w.r.limits.idle)
	if err != nil {
		return disk.Error(err, "storing an upload")
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
	return w.r.uploads.forget(w.u)
}
