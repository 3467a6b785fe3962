package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"

	"cuelabs.dev/go/oci/ociregistry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/disk"
)

// Docker's names for what OCI standardised; clients still push them.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// manifest is the part of an image manifest or an index that the registry understands.
type manifest struct {
	raw  []byte
	kind string // the media type that it was pushed as

	MediaType    string                   `json:"mediaType"`
	ArtifactType string                   `json:"artifactType"`
	Config       *ociregistry.Descriptor  `json:"config"`
	Layers       []ociregistry.Descriptor `json:"layers"`
	Manifests    []ociregistry.Descriptor `json:"manifests"`
	Subject      *ociregistry.Descriptor  `json:"subject"`
	Annotations  map[string]string        `json:"annotations"`
}

// parseManifest reads a manifest of one of the four media types. A manifest that calls itself
// something else than its push does is refused: two readers could take it for two things.
func parseManifest(raw []byte, contentType string) (*manifest, error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, faultf(codeManifestInvalid, "%.80q is no media type", contentType)
	}
	if len(raw) > MaxManifest {
		return nil, faultf(codeTooLarge, "the manifest has more than %d bytes", MaxManifest)
	}
	m := &manifest{raw: raw, kind: kind}
	if err := json.Unmarshal(raw, m); err != nil {
		return nil, faultf(codeManifestInvalid, "the manifest is no JSON object of a manifest: %w", err)
	}
	if m.MediaType != "" && m.MediaType != kind {
		return nil, faultf(codeManifestInvalid, "the manifest calls itself %.80q, but is pushed as %.80q", m.MediaType, kind)
	}
	switch kind {
	case ocispec.MediaTypeImageManifest, dockerManifest:
		if m.Config == nil || m.Manifests != nil {
			return nil, faultf(codeManifestInvalid, "the manifest has no config, or manifests as only an index has")
		}
	case ocispec.MediaTypeImageIndex, dockerList:
		if m.Config != nil || m.Layers != nil {
			return nil, faultf(codeManifestInvalid, "the index has a config or layers, which only an image has")
		}
	default:
		return nil, faultf(codeManifestInvalid, "%.80q is no media type of a manifest that is taken here", kind)
	}
	return m, nil
}

// blobs returns the blobs that the manifest names.
func (m *manifest) blobs() []ociregistry.Descriptor {
	if m.Config == nil {
		return nil
	}
	return append([]ociregistry.Descriptor{*m.Config}, m.Layers...)
}

// event is what is told of the manifest's push.
func (m *manifest) event(repo, tag string) imx.ManifestPushed {
	e := imx.ManifestPushed{Repository: repo, Tag: tag, Digest: m.digest()}
	if m.Subject != nil {
		e.Subject = imx.Digest(m.Subject.Digest)
	}
	return e
}

func (m *manifest) digest() imx.Digest { return imx.DigestBytes(m.raw) }

// digestLike is the digest of the sort that another one is of.
func (m *manifest) digestLike(d imx.Digest) imx.Digest {
	if !isSHA512(d) {
		return m.digest()
	}
	s := newSum512()
	_, _ = s.Write(m.raw) // a hash never fails
	return s.digest()
}

func (m *manifest) descriptor() ociregistry.Descriptor {
	desc := ociregistry.Descriptor{
		MediaType: m.kind, Digest: ociregistry.Digest(m.digest()), Size: int64(len(m.raw)),
		ArtifactType: m.ArtifactType, Annotations: m.Annotations,
	}
	if desc.ArtifactType == "" && m.Config != nil {
		desc.ArtifactType = m.Config.MediaType // what the specification has referrers filtered by
	}
	return desc
}

// checkReferences refuses a manifest that names a blob or manifest which the repository lacks, or
// with another size. A subject may be missing: the specification allows to push it later.
func (r *Registry) checkReferences(repo string, m *manifest) error {
	for _, ref := range m.blobs() {
		_, size, err := r.blobSize(repo, imx.Digest(ref.Digest))
		if err := referenceError("blob", ref, size, err); err != nil {
			return err
		}
	}
	for _, ref := range m.Manifests {
		_, d, err := r.manifestMark(repo, imx.Digest(ref.Digest))
		size := int64(0)
		if err == nil {
			size, err = r.blobs.Size(d)
		}
		if err := referenceError("manifest", ref, size, err); err != nil {
			return err
		}
	}
	if m.Subject != nil {
		return checkDigest(imx.Digest(m.Subject.Digest))
	}
	return nil
}

func referenceError(what string, ref ociregistry.Descriptor, size int64, err error) error {
	switch {
	case imx.KindOf(err) == imx.NotFound:
		return faultf(codeManifestBlobUnknown, "the manifest names the %s %s, which the repository doesn't have: push it first", what, ref.Digest)
	case err != nil:
		return err
	case size != ref.Size:
		return faultf(codeManifestInvalid, "the manifest says that %s %s has %d bytes, but it has %d", what, ref.Digest, ref.Size, size)
	}
	return nil
}

// BuiltTag is what the tags of built images begin with: the image plan's digest follows. They are
// reserved to Put, because no other tag ever moves: whoever pushed to one first would keep the image
// from ever being built. They alone move, when a newer imx makes other bytes of the same plan; what
// they named before stays, by its digest.
const BuiltTag = "plan-"

// target is where a manifest is pushed to.
type target struct {
	repo, tag string
	digest    imx.Digest // that it gets a name by
}

// mediaType is the Content-Type of a manifest's push.
func mediaType(h http.Header) string { return h.Get("Content-Type") }

// putManifest answers the push of a manifest from outside. ociserver's own way would read any number of bytes, and knows
// manifests by SHA-256 alone.
func (r *Registry) putManifest(w http.ResponseWriter, req *http.Request) error {
	where, ref := path.Split(strings.TrimPrefix(req.URL.Path, "/v2/"))
	to := target{repo: strings.TrimSuffix(where, "/manifests/"), tag: ref}
	b, err := io.ReadAll(io.LimitReader(req.Body, MaxManifest+1))
	if err != nil {
		return faultf(codeManifestInvalid, "the manifest broke off after %d bytes", len(b))
	}
	m, err := parseManifest(b, mediaType(req.Header))
	if err != nil {
		return err
	}
	to.digest = m.digest()
	if strings.Contains(ref, ":") {
		if to.tag, to.digest, err = "", imx.Digest(ref), checkDigest(imx.Digest(ref)); err != nil {
			return err
		}
	}
	if err := checkReserved(to); err != nil {
		return err
	}
	if got := m.digestLike(to.digest); got != to.digest {
		return faultf(codeDigestInvalid, "the manifest has digest %s, and is pushed as %s", got, to.digest)
	}
	if err := r.push(req.Context(), to, m); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Location", "/v2/"+to.repo+"/manifests/"+string(to.digest))
	h.Set("Docker-Content-Digest", string(to.digest))
	if m.Subject != nil {
		h.Set("OCI-Subject", string(m.Subject.Digest))
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

func checkReserved(to target) error {
	if !strings.HasPrefix(to.tag, BuiltTag) {
		return nil
	}
	return faultf(codeTagReserved, "tag %s:%s can't be pushed to: tags that begin with %q are for images that the server builds", to.repo, to.tag, BuiltTag).
		withHint("push under another tag")
}

// pushManifest takes a manifest from those who use the registry without HTTP.
func (r *Registry) pushManifest(ctx context.Context, repo, tag string, contents []byte, mediaType string) (ociregistry.Descriptor, error) {
	m, err := parseManifest(contents, mediaType)
	if err != nil {
		return ociregistry.Descriptor{}, err
	}
	to := target{repo: repo, tag: tag, digest: m.digest()}
	if err := checkReserved(to); err != nil {
		return ociregistry.Descriptor{}, err
	}
	return m.descriptor(), r.push(ctx, to, m)
}

// push stores a manifest: its bytes, then everything else that can fail, then the event, and only
// then the names by which it can be pulled, the tag last.
func (r *Registry) push(ctx context.Context, to target, m *manifest) error {
	err := checkRepository(to.repo)
	if to.tag != "" {
		err = errors.Join(err, checkTag(to.tag))
	}
	if err == nil {
		err = r.checkReferences(to.repo, m)
	}
	if err != nil {
		return err
	}
	r.pushing.Lock()
	defer r.pushing.Unlock()
	had, err := r.present(to, m)
	if had.whole || err != nil {
		return err
	}
	v, more := visitorOf(ctx), use{}
	if !had.named {
		had.owner = v.owner()
		more = use{bytes: int64(len(m.raw)), manifests: 1}
	}
	if to.tag != "" && !had.tag {
		more.tags = 1
	}
	settle, err := r.usage.charge(v, to.repo, more, nil)
	if err != nil {
		return err
	}
	err = r.store(ctx, to, m, had.owner)
	settle(err == nil)
	return err
}

// store makes the manifest the owner's, and the tag the visitor's.
func (r *Registry) store(ctx context.Context, to target, m *manifest, owner imx.Principal) error {
	d := m.digest()
	if _, _, err := r.blobs.Put(bytesReader(m.raw), d); err != nil {
		return err
	}
	names, err := r.stageManifest(to, m, owner, visitorOf(ctx).owner())
	defer drop(names)
	if err != nil {
		return disk.Error(err, "storing a manifest in repository "+to.repo)
	}
	if err := r.pushed(ctx, m.event(to.repo, to.tag)); err != nil {
		return fmt.Errorf("the push of %s to repository %s wasn't written down: %w", d, to.repo, err)
	}
	return disk.Error(r.commit(names), "storing a manifest in repository "+to.repo)
}

// presence is how much of a push the repository has already.
type presence struct {
	named bool          // the manifest
	owner imx.Principal // of the manifest, whoever pushes it again
	tag   bool          // the tag, which may be one of Put's that names another one
	whole bool          // all of it: the push would change nothing
}

// present finds out what the repository has of a push. It is an error if it would move a tag, or give the same bytes another media
// type.
func (r *Registry) present(to target, m *manifest) (presence, error) {
	tagged, err := r.tagged(to.repo, to.tag, m.digest())
	had := presence{tag: tagged != ""}
	if err != nil {
		return had, err
	}
	old, _, err := r.manifestMark(to.repo, to.digest)
	switch {
	case imx.KindOf(err) == imx.NotFound:
		return had, nil
	case err != nil:
		return had, err
	case old.mediaType != m.kind:
		return had, faultf(codeManifestInvalid, "manifest %s is in the repository as %.80s and can't become %s", to.digest, old.mediaType, m.kind)
	}
	_, damage := r.blobs.ReadAll(m.digest(), MaxManifest) // a damaged one is pushed again, which mends it
	had.named, had.owner, had.whole = true, old.owner, (to.tag == "" || tagged == m.digest()) && damage == nil
	return had, nil
}

// tagged returns what the tag, if any, names already; "" where it isn't there. A tag that names something else than d is an
// error, unless it is one of Put's.
func (r *Registry) tagged(repo, tag string, d imx.Digest) (imx.Digest, error) {
	if tag == "" {
		return "", nil
	}
	old, err := r.tag(repo, tag)
	switch {
	case imx.KindOf(err) == imx.NotFound:
		return "", nil
	case err != nil:
		return "", err
	case old != d && !isBuilt(tag):
		return "", faultf(codeTagTaken, "tag %s:%s is %s and can't be moved to %s", repo, tag, old, d).
			withHint("push under a new tag: a tag never changes its meaning here")
	}
	return old, nil
}

// stageManifest prepares the names of a manifest, the tag last.
func (r *Registry) stageManifest(to target, m *manifest, owner, tagger imx.Principal) ([]name, error) {
	var names []name
	add := func(sort, file, content string) error {
		n, err := r.stageName(to.repo, sort, file, []byte(content))
		if err == nil {
			names = append(names, n)
		}
		return err
	}
	says := mark{mediaType: m.kind, owner: owner}
	if isSHA512(to.digest) {
		says.content = m.digest()
	}
	err := add(manifestNames, fileKey(to.digest), says.text())
	if err == nil && m.Subject != nil {
		err = add(referrerNames, fileKey(imx.Digest(m.Subject.Digest))+"."+fileKey(to.digest), "")
	}
	if err == nil && to.tag != "" {
		err = add(tagNames, to.tag, tagText(m.digest(), tagger))
	}
	return names, err
}
