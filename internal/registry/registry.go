// Package registry serves the OCI distribution API from a blob store and a folder of names. It
// builds no image and deletes nothing. Who may do what is asked at its Door, which knows tokens and nobody's password.
//
// What it confirms is on disk. A tag, once pushed, never moves. What it gives out has the digest
// that was asked for, or ends in an error before its last byte.
//
// The front is ociserver, which parses requests; this package is the store behind it, and the few
// rules that its interface can't express.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ociref"
	"cuelabs.dev/go/oci/ociregistry/ociserver"

	"imx"
	"imx/internal/blob"
)

// MaxManifest is the most that a manifest may have, in bytes; the limit that the distribution
// specification asks registries to accept at least.
const MaxManifest = 4 << 20

// Config says where a Registry keeps things.
type Config struct {
	Dir   string      // names: repositories, tags, uploads; used by one process at a time
	Blobs *blob.Store // the bytes of blobs and manifests
	// Pushed is called before a manifest push is confirmed and before the manifest can be pulled,
	// when its bytes are on disk already; an error refuses the push. After a crash it may be called
	// again for the same push. Its tag is "" for a push by digest. Pushes from outside and those of Put
	// come here alike, with the context of the request or of Put's caller, which may tell who it is; a tag that
	// begins with "plan-" is always Put's. Nil means nobody wants to know.
	Pushed func(ctx context.Context, p imx.ManifestPushed) error
	// Quotas returns what bounds pushes, by scope; the caller changes nothing in it. Nil means that nothing does.
	Quotas func() map[string]imx.RegistryQuota
}

// Registry is a store of images. Its methods may be called from several goroutines at once.
type Registry struct {
	layout
	blobs   *blob.Store
	pushed  func(ctx context.Context, p imx.ManifestPushed) error
	pushing sync.Mutex // held from looking at a tag to writing it
	limits  limits
	uploads uploads
	usage   usage
}

// New opens the registry in cfg.Dir and makes it where there is none. Uploads that a dead process
// left unfinished are removed.
func New(cfg Config) (*Registry, error) {
	r := &Registry{layout: layout{dir: cfg.Dir, ops: diskOps()}, blobs: cfg.Blobs, pushed: cfg.Pushed, limits: pushLimits()}
	if r.pushed == nil {
		r.pushed = func(context.Context, imx.ManifestPushed) error { return nil }
	}
	r.usage.quotas, r.usage.scan, r.usage.unsaid, r.usage.underWay = cfg.Quotas, r.used, unsaid(), nothingUsed()
	if r.usage.quotas == nil {
		r.usage.quotas = func() map[string]imx.RegistryQuota { return nil }
	}
	r.uploads.chunked, r.uploads.taken = map[string]*upload{}, map[holder]int{}
	for _, stale := range []string{r.uploadDir(), r.tmpDir()} {
		if err := os.RemoveAll(stale); err != nil {
			return nil, fmt.Errorf("removing unfinished uploads from the registry: %w", err)
		}
	}
	for _, dir := range []string{r.uploadDir(), r.tmpDir(), r.repositoryDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("opening the registry: %w", err)
		}
	}
	if err := errors.Join(r.ops.syncDir(cfg.Dir), r.ops.syncDir(filepath.Dir(cfg.Dir))); err != nil {
		return nil, fmt.Errorf("opening the registry: %w", err)
	}
	return r, nil
}

// Put pushes a manifest whose blobs, unlike those of a push from outside, need only be in the blob
// store: they become part of the repository. It alone may use tags that begin with "plan-". Otherwise
// the same rules apply. Pushing what is there already does nothing. Errors: Invalid for a name or a manifest that is malformed; NotFound for a
// blob that isn't there; Conflict for a tag that names another manifest; Exhausted for a full disk;
// those of Pushed.
func (r *Registry) Put(ctx context.Context, repo, tag string, manifest []byte, mediaType string) (imx.Digest, error) {
	m, err := parseManifest(manifest, mediaType)
	if err != nil {
		return "", err
	}
	if err := checkRepository(repo); err != nil {
		return "", err
	}
	for _, ref := range m.blobs() {
		d, err := imx.ParseDigest(string(ref.Digest))
		if err != nil {
			return "", err
		}
		if !r.blobs.Has(d) {
			return "", faultf(codeManifestBlobUnknown, "the manifest names the blob %s, which isn't there", d)
		}
		if err := r.nameBlob(Visitor{}, repo, d, mark{}, nil); err != nil {
			return "", err
		}
	}
	return m.digest(), r.push(ctx, target{repo: repo, tag: tag, digest: m.digest()}, m)
}

// Manifest returns a manifest and its media type by tag or digest, after checking its bytes.
// Errors: NotFound; Refused for a damaged one.
func (r *Registry) Manifest(_ context.Context, repo, ref string) ([]byte, string, error) {
	d := imx.Digest(ref)
	if !strings.Contains(ref, ":") {
		var err error
		if d, err = r.tag(repo, ref); err != nil {
			return nil, "", err
		}
	}
	m, bytes, err := r.manifestMark(repo, d)
	if err != nil {
		return nil, "", err
	}
	b, err := r.readManifest(d, bytes)
	return b, m.mediaType, err
}

// Handler serves the distribution API below /v2/, pushes too: it is for those who may change what
// the registry has. What the context of a request says of who it is, by Visit, counts.
func (r *Registry) Handler() http.Handler {
	server := serve(r.backend())
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req = req.Clone(req.Context())
		req.Body = &patient{ReadCloser: req.Body, conn: http.NewResponseController(w), idle: r.limits.idle}
		own := r.own(req)
		if own == nil {
			server.ServeHTTP(w, r.mountable(req))
			return
		}
		if err := own(w, req); err != nil {
			writeError(w, req, err)
		}
	})
}

func serve(backend ociregistry.Interface) http.Handler {
	return ociserver.New(backend, &ociserver.Options{WriteError: writeError, DebugID: "imx"})
}

// own returns what answers a request that ociserver doesn't answer as the specification has it, or nil.
func (r *Registry) own(req *http.Request) func(http.ResponseWriter, *http.Request) error {
	_, sort := path.Split(path.Dir(req.URL.Path))
	switch {
	case strings.HasSuffix(req.URL.Path, "/manifests/"): // it panics
		return func(http.ResponseWriter, *http.Request) error {
			return faultf(codeManifestUnknown, "the request names no tag or digest")
		}
	case req.Method == http.MethodPut && sort == "manifests": // it reads any number of bytes, and knows SHA-256 alone
		return r.putManifest
	case req.Method == http.MethodGet && sort == "referrers": // it answers with null where there are none
		return r.getReferrers
	case req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/tags/list") && req.URL.Query().Get("n") == "0": // it answers with all
		return r.getNoTags
	}
	return nil
}

// mountable makes a mount that isn't possible an ordinary upload, as the specification has it.
func (r *Registry) mountable(req *http.Request) *http.Request {
	query := req.URL.Query()
	if req.Method != http.MethodPost || query.Get("mount") == "" {
		return req
	}
	from := query.Get("from")
	_, _, err := r.blobMark(from, imx.Digest(query.Get("mount")))
	if v := visitorOf(req.Context()); err != nil || v.May != nil && !v.May(imx.Pull, from) {
		req = req.Clone(req.Context())
		req.URL.RawQuery = ""
	}
	return req
}

// Interface is the registry for those of this process that copy to it and from it: the same rules as for pushes from outside hold.
func (r *Registry) Interface() ociregistry.Interface { return r.backend() }

// backend is the registry as ociserver wants it.
func (r *Registry) backend() ociregistry.Interface {
	return &ociregistry.Funcs{
		GetBlob_:               r.getBlob,
		GetBlobRange_:          r.getBlobRange,
		GetManifest_:           r.getManifest,
		GetTag_:                r.getTag,
		ResolveBlob_:           r.resolveBlob,
		ResolveManifest_:       r.resolveManifest,
		ResolveTag_:            r.resolveTag,
		PushBlob_:              r.pushBlob,
		PushBlobChunked_:       r.startUpload,
		PushBlobChunkedResume_: r.resumeUpload,
		MountBlob_:             r.mountBlob,
		PushManifest_:          r.pushManifest,
		DeleteBlob_:            func(context.Context, string, ociregistry.Digest) error { return errDelete() },
		DeleteManifest_:        func(context.Context, string, ociregistry.Digest) error { return errDelete() },
		DeleteTag_:             func(context.Context, string, string) error { return errDelete() },
		Repositories_:          r.listRepositories,
		Tags_:                  r.listTags,
		Referrers_:             r.listReferrers,
	}
}

func errDelete() error {
	return faultf(codeNoDelete, "nothing can be deleted from this registry: releases may still point at it").
		withHint("images that nothing points at are removed by the server itself")
}

func checkRepository(repo string) error {
	// 200 leaves room for a file name, in which "/" stays one character.
	if len(repo) > 200 || !ociref.IsValidRepository(repo) {
		return faultf(codeNameInvalid, "%.80q is no repository name: lower-case words, joined by . _ - or /", repo)
	}
	return nil
}

func checkTag(tag string) error {
	if tag == "" || !ociref.IsValidTag(tag) { // IsValidTag panics for ""
		return faultf(codeTagInvalid, "%.80q is no tag: up to 128 letters, digits, . _ or -", tag)
	}
	return nil
}
