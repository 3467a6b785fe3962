package registry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"cuelabs.dev/go/oci/ociregistry"

	"imx"
	"imx/internal/disk"
)

// uploads are the unfinished ones. They end with the process: clients then begin anew.
type uploads struct {
	mu      sync.Mutex
	chunked map[string]*upload // those of several requests, by their ids
	taken   map[holder]int     // how many each has under way, of one request or several
}

// upload is a blob that comes in several requests.
type upload struct {
	id, repo, path string
	v              Visitor     // who began it, and alone may go on
	held           hold        // the room that its bytes take; guarded by writing
	expire         *time.Timer // put off by every byte that comes
	writing        sync.Mutex  // held by a request; taken before uploads.mu, or tried while that is held
	size           int64       // bytes in the file; guarded by writing
	sum            hash.Hash   // their SHA-256; guarded by writing
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

// bounded fails after too many bytes, or where there is no room for them.
type bounded struct {
	io.Reader
	n, limit int64
	held     *hold
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.n += int64(n); b.n > b.limit {
		return 0, errTooLarge(b.limit)
	}
	if err := b.held.reach(b.n); err != nil {
		return 0, err
	}
	return n, err
}

func errTooLarge(limit int64) *fault {
	return faultf(codeTooLarge, "the blob has more than the %d bytes that one may have", limit)
}

func (r *Registry) pushBlob(ctx context.Context, repo string, desc ociregistry.Descriptor, content io.Reader) (ociregistry.Descriptor, error) {
	d, v := imx.Digest(desc.Digest), visitorOf(ctx)
	if err := errors.Join(checkRepository(repo), checkDigest(d)); err != nil {
		return desc, err
	}
	if desc.Size > r.limits.blob {
		return desc, errTooLarge(r.limits.blob)
	}
	if err := r.uploads.begin(r.limits, v); err != nil {
		return desc, err
	}
	defer r.uploads.end(r.limits, v)
	held := &hold{usage: &r.usage, v: v, repo: repo}
	defer held.keep(0)
	if err := held.reach(desc.Size); err != nil { // of unknown size is -1
		return desc, err
	}
	bytes, n, err := r.storeBlob(d, &bounded{Reader: content, limit: r.limits.blob, held: held})
	if err == nil && desc.Size >= 0 && n != desc.Size {
		err = faultf(codeSizeInvalid, "the blob has %d bytes, announced were %d", n, desc.Size)
	}
	if err == nil {
		err = r.nameBlob(v, repo, d, mark{owner: v.owner(), content: bytes}, held)
	}
	desc.Size = n
	return desc, err
}

// storeBlob puts a blob onto the disk, and returns the digest that its bytes are kept by.
func (r *Registry) storeBlob(d imx.Digest, content io.Reader) (imx.Digest, int64, error) {
	want := d
	if isSHA512(d) {
		content, want = &also{content, d, newSum512()}, ""
	}
	bytes, n, err := r.blobs.Put(content, want)
	var known *fault
	if imx.KindOf(err) == imx.Refused && !errors.As(err, &known) {
		err = faultf(codeDigestInvalid, "%w", err)
	}
	return bytes, n, err
}

// nameBlob makes a blob that is on the disk one of a repository's, in the room that was held for it, if any. What the quotas have no
// room for is Exhausted.
func (r *Registry) nameBlob(v Visitor, repo string, d imx.Digest, says mark, held *hold) error {
	if !isSHA512(d) {
		says.content = ""
	}
	bytes, err := says.bytesOf(d)
	if err != nil {
		return err
	}
	size, err := r.blobs.Size(bytes)
	if err != nil {
		return err
	}
	settle, err := r.usage.charge(v, repo, use{bytes: size, blobs: 1}, held)
	if err != nil {
		if _, _, has := r.blobMark(repo, d); has == nil {
			return nil // it is there already, and takes no more room
		}
		return err
	}
	made, err := r.addName(repo, blobNames, fileKey(d), []byte(says.text()))
	settle(made)
	return err
}

func (r *Registry) mountBlob(ctx context.Context, from, to string, digest ociregistry.Digest) (ociregistry.Descriptor, error) {
	d, v := imx.Digest(digest), visitorOf(ctx)
	bytes, size, err := r.blobSize(from, d)
	if err == nil {
		err = checkRepository(to)
	}
	if err == nil {
		err = r.nameBlob(v, to, d, mark{owner: v.owner(), content: bytes}, nil)
	}
	return ociregistry.Descriptor{MediaType: octetStream, Digest: digest, Size: size}, err
}

func (r *Registry) startUpload(ctx context.Context, repo string, _ int) (ociregistry.BlobWriter, error) {
	if err := checkRepository(repo); err != nil {
		return nil, err
	}
	v := visitorOf(ctx)
	r.uploads.mu.Lock()
	defer r.uploads.mu.Unlock()
	if err := r.uploads.take(r.limits, v); err != nil {
		return nil, err
	}
	id := rand.Text()
	u := &upload{id: id, repo: repo, v: v, path: filepath.Join(r.uploadDir(), id), sum: sha256.New(), held: hold{usage: &r.usage, v: v, repo: repo}}
	f, err := os.OpenFile(u.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		r.uploads.giveBack(r.limits, v)
		return nil, disk.Error(err, "beginning an upload")
	}
	u.writing.Lock()
	u.expire = time.AfterFunc(r.limits.idle, func() { r.endIdle(u) })
	r.uploads.chunked[id] = u
	return &writer{r: r, u: u, f: f, v: v, offset: -1}, nil
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
	_ = r.forgetUpload(u) // what stays of it, New removes
}

// forgetUpload ends an upload, unless it has ended, and removes its bytes: their room is given back. The caller has it and uploads.mu.
func (r *Registry) forgetUpload(one *upload) error {
	if r.uploads.chunked[one.id] != one {
		return nil
	}
	one.expire.Stop()
	one.held.keep(0)
	delete(r.uploads.chunked, one.id)
	r.uploads.giveBack(r.limits, one.v)
	if err := os.Remove(one.path); !errors.Is(err, fs.ErrNotExist) { // gone where it became a blob
		return err
	}
	return nil
}

// resumeUpload opens an upload for one request, which says how many bytes it brings, or 0. Only one request at a time may have it.
func (r *Registry) resumeUpload(ctx context.Context, repo, id string, offset int64, brings int) (ociregistry.BlobWriter, error) {
	w, err := r.openUpload(ctx, repo, id)
	if err != nil {
		return nil, err
	}
	w.offset = offset
	if all := w.size + int64(brings); brings > 0 && all <= r.limits.blob { // more fails when it comes
		w.failed = w.reach(all)
	}
	return w, nil
}

func (r *Registry) openUpload(ctx context.Context, repo, id string) (*writer, error) {
	r.uploads.mu.Lock()
	defer r.uploads.mu.Unlock()
	u := r.uploads.chunked[id]
	v := visitorOf(ctx)
	if u == nil || u.repo != repo || u.v.By != v.By {
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
	return &writer{r: r, u: u, f: f, v: v, size: u.size}, nil
}

// writer is one request's hold of an upload, until Close.
type writer struct {
	r      *Registry
	u      *upload
	v      Visitor
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
		return errOutOfOrder(w)
	}
	w.offset = -1
	if limit := w.r.limits.blob; w.size+int64(len(p)) > limit {
		return errors.Join(errTooLarge(limit), w.Cancel())
	}
	if err := w.reach(w.size + int64(len(p))); err != nil {
		return err
	}
	n, err := w.r.ops.write(w.f, p)
	w.u.sum.Write(p[:n])
	w.size += int64(n)
	w.u.size = w.size
	w.u.expire.Reset(w.r.limits.idle)
	if err != nil {
		return disk.Error(err, "storing an upload")
	}
	return nil
}

// reach makes the upload's room so large. Where there is none the upload is over.
func (w *writer) reach(bytes int64) error {
	if err := w.u.held.reach(bytes); err != nil {
		return errors.Join(err, w.Cancel())
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
	w.u.held.keep(w.size) // a request may bring less than it said
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
	bytes, err := w.publish(imx.Digest(digest))
	if err == nil {
		err = w.r.nameBlob(w.v, w.u.repo, imx.Digest(digest), mark{owner: w.v.owner(), content: bytes}, &w.u.held)
	}
	return desc, errors.Join(err, w.Cancel())
}

// publish makes the upload's file a blob, and returns the digest that its bytes are kept by.
func (w *writer) publish(d imx.Digest) (imx.Digest, error) {
	bytes := imx.Digest("sha256:" + hex.EncodeToString(w.u.sum.Sum(nil)))
	got := bytes
	if isSHA512(d) {
		f, err := os.Open(w.u.path)
		if err != nil {
			return "", disk.Error(err, "reading an upload")
		}
		defer f.Close()
		sum := newSum512()
		if _, err := io.Copy(sum, f); err != nil {
			return "", disk.Error(err, "reading an upload")
		}
		got = sum.digest()
	}
	if got != d {
		return "", faultf(codeDigestInvalid, "the bytes have digest %s, wanted %s", got, d)
	}
	return bytes, w.r.blobs.Adopt(w.f, bytes)
}

// Cancel forgets the upload and its bytes.
func (w *writer) Cancel() error {
	w.r.uploads.mu.Lock()
	defer w.r.uploads.mu.Unlock()
	return w.r.forgetUpload(w.u)
}

// errOutOfOrder tells the client where to go on, as the specification has it.
func errOutOfOrder(w *writer) error {
	f := faultf(codeRangeInvalid, "the upload has %d bytes, so the next piece can't begin at %d", w.size, w.offset)
	f.header = map[string]string{
		"Location": "/v2/" + w.u.repo + "/blobs/uploads/" + base64.RawURLEncoding.EncodeToString([]byte(w.u.id)),
		"Range":    "0-" + strconv.FormatInt(max(w.size-1, 0), 10),
	}
	return f
}
