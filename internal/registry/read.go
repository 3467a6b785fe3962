package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"cuelabs.dev/go/oci/ociregistry"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
)

// checkedFirst is up to which size, in bytes, a blob is checked before the answer begins, so that
// damage is a proper error. A larger one is checked on its way and a damaged one breaks off.
const checkedFirst = 4 << 20

const octetStream = "application/octet-stream"

// content is a blob or manifest on its way out.
type content struct {
	io.Reader
	io.Closer
	desc ociregistry.Descriptor
}

// Descriptor implements ociregistry.BlobReader.
func (c *content) Descriptor() ociregistry.Descriptor { return c.desc }

func bytesReader(b []byte) io.Reader { return bytes.NewReader(b) }

func inMemory(b []byte, desc ociregistry.Descriptor) *content {
	return &content{Reader: bytesReader(b), Closer: io.NopCloser(nil), desc: desc}
}

// blobSize returns the digest and size of the bytes of a blob that the repository has. Being in the blob store isn't
// enough: much is in there that was never pushed.
func (r *Registry) blobSize(repo string, d imx.Digest) (imx.Digest, int64, error) {
	_, kept, err := r.blobMark(repo, d)
	if err != nil {
		return "", 0, err
	}
	size, err := r.blobs.Size(kept)
	if imx.KindOf(err) == imx.NotFound {
		err = faultf(codeBlobUnknown, "blob %s is gone from the disk", d)
	}
	return kept, size, err
}

// Blob returns a blob of at most limit bytes that the repository has, after checking it. Errors: NotFound;
// Refused for a longer or a damaged one.
func (r *Registry) Blob(repo string, d imx.Digest, limit int64) ([]byte, error) {
	kept, _, err := r.blobSize(repo, d)
	if err != nil {
		return nil, err
	}
	return r.blobs.ReadAll(kept, limit)
}

// sameBytes checks that the bytes of a blob, by SHA-256, are also those of the digest that they were asked for by.
func (r *Registry) sameBytes(d, kept imx.Digest) error {
	if !isSHA512(d) {
		return nil
	}
	b, err := r.blobs.Reader(kept)
	if err != nil {
		return err
	}
	defer b.Close()
	if _, err := io.Copy(io.Discard, &also{b, d, newSum512()}); err != nil {
		return imx.Errorf(imx.Internal, "the name of %.80s is damaged on disk: %w", d, err)
	}
	return nil
}

// readManifest returns the bytes of a manifest after checking them.
func (r *Registry) readManifest(d, kept imx.Digest) ([]byte, error) {
	if err := r.sameBytes(d, kept); err != nil {
		return nil, err
	}
	return r.blobs.ReadAll(kept, MaxManifest)
}

// whole reads a manifest that isn't damaged.
func (r *Registry) whole(kept imx.Digest) (*manifest, bool) {
	raw, err := r.blobs.ReadAll(kept, MaxManifest)
	if err != nil {
		return nil, false
	}
	m := &manifest{raw: raw}
	return m, json.Unmarshal(raw, m) == nil
}

// Tagged is a tag of a repository.
type Tagged struct{ Repository, Tag string }

// Tagged returns the tags of the repositories whose name begins with prefix, sorted.
func (r *Registry) Tagged(prefix string) ([]Tagged, error) {
	names, err := r.repositories()
	if err != nil {
		return nil, err
	}
	var all []Tagged
	for _, name := range names {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		tags, err := r.list(name, tagNames)
		if err != nil {
			return nil, err
		}
		for _, tag := range tags {
			all = append(all, Tagged{name, tag})
		}
	}
	return all, nil
}

func (r *Registry) resolveBlob(_ context.Context, repo string, digest ociregistry.Digest) (ociregistry.Descriptor, error) {
	desc, _, err := r.describeBlob(repo, digest)
	return desc, err
}

func (r *Registry) describeBlob(repo string, digest ociregistry.Digest) (ociregistry.Descriptor, imx.Digest, error) {
	kept, size, err := r.blobSize(repo, imx.Digest(digest))
	return ociregistry.Descriptor{MediaType: octetStream, Digest: digest, Size: size}, kept, err
}

func (r *Registry) getBlob(_ context.Context, repo string, digest ociregistry.Digest) (ociregistry.BlobReader, error) {
	desc, kept, err := r.describeBlob(repo, digest)
	if err == nil {
		err = damageError(r.sameBytes(imx.Digest(digest), kept))
	}
	if err != nil {
		return nil, err
	}
	if desc.Size <= checkedFirst {
		b, err := r.blobs.ReadAll(kept, checkedFirst)
		if err != nil {
			return nil, damageError(err)
		}
		return inMemory(b, desc), nil
	}
	reader, err := r.blobs.Reader(kept)
	if err != nil {
		return nil, err
	}
	return &content{Reader: reader, Closer: reader, desc: desc}, nil
}

// damageError makes damage the server's failure, which it is, and not a refusal of the client.
func damageError(err error) error {
	if imx.KindOf(err) == imx.Refused {
		return imx.Errorf(imx.Internal, "%w", err)
	}
	return err
}

// getBlobRange gives out a part of a blob, each byte of it checked before.
func (r *Registry) getBlobRange(_ context.Context, repo string, digest ociregistry.Digest, from, to int64) (ociregistry.BlobReader, error) {
	desc, kept, err := r.describeBlob(repo, digest)
	if err != nil {
		return nil, err
	}
	if to < 0 || to > desc.Size {
		to = desc.Size
	}
	if from < 0 || from >= to {
		return nil, faultf(codeRangeInvalid, "the blob has %d bytes, none of them from %d to %d", desc.Size, from, to)
	}
	if err := r.sameBytes(imx.Digest(digest), kept); err != nil {
		return nil, damageError(err)
	}
	part, err := r.blobs.Range(kept, from, to)
	if err != nil {
		return nil, damageError(err)
	}
	if to-from > checkedFirst {
		return &content{Reader: part, Closer: part, desc: desc}, nil
	}
	defer part.Close()
	b, err := io.ReadAll(part) // so that damage is a proper error
	if err != nil {
		return nil, damageError(err)
	}
	return inMemory(b, desc), nil
}

func (r *Registry) resolveManifest(_ context.Context, repo string, digest ociregistry.Digest) (ociregistry.Descriptor, error) {
	m, kept, err := r.manifestMark(repo, imx.Digest(digest))
	if err != nil {
		return ociregistry.Descriptor{}, err
	}
	size, err := r.blobs.Size(kept)
	if imx.KindOf(err) == imx.NotFound {
		err = faultf(codeManifestUnknown, "manifest %s is gone from the disk", digest)
	}
	return ociregistry.Descriptor{MediaType: m.mediaType, Digest: digest, Size: size}, err
}

func (r *Registry) getManifest(_ context.Context, repo string, digest ociregistry.Digest) (ociregistry.BlobReader, error) {
	m, kept, err := r.manifestMark(repo, imx.Digest(digest))
	if err != nil {
		return nil, err
	}
	b, err := r.readManifest(imx.Digest(digest), kept)
	if imx.KindOf(err) == imx.NotFound {
		err = faultf(codeManifestUnknown, "manifest %s is gone from the disk", digest)
	}
	if err != nil {
		return nil, damageError(err)
	}
	return inMemory(b, ociregistry.Descriptor{MediaType: m.mediaType, Digest: digest, Size: int64(len(b))}), nil
}

func (r *Registry) resolveTag(ctx context.Context, repo, tag string) (ociregistry.Descriptor, error) {
	d, err := r.tag(repo, tag)
	if err != nil {
		return ociregistry.Descriptor{}, err
	}
	return r.resolveManifest(ctx, repo, ociregistry.Digest(d))
}

func (r *Registry) getTag(ctx context.Context, repo, tag string) (ociregistry.BlobReader, error) {
	d, err := r.tag(repo, tag)
	if err != nil {
		return nil, err
	}
	return r.getManifest(ctx, repo, ociregistry.Digest(d))
}

func (r *Registry) listRepositories(ctx context.Context, after string) iter.Seq2[string, error] {
	names, err := r.repositories()
	if v := visitorOf(ctx); v.May != nil {
		names = slices.DeleteFunc(names, func(name string) bool { return !v.May(imx.Pull, name) })
	}
	return listAfter(names, after, err)
}

func (r *Registry) listTags(_ context.Context, repo, after string) iter.Seq2[string, error] {
	if err := checkRepository(repo); err != nil {
		return ociregistry.ErrorSeq[string](err)
	}
	if _, err := os.Stat(filepath.Dir(r.folder(repo, tagNames))); err != nil {
		return ociregistry.ErrorSeq[string](faultf(codeNameUnknown, "there is no repository %s", repo))
	}
	names, err := r.list(repo, tagNames)
	return listAfter(names, after, err)
}

// listAfter yields the sorted names that come after one, which need not be among them.
func listAfter(names []string, after string, err error) iter.Seq2[string, error] {
	if err != nil {
		return ociregistry.ErrorSeq[string](err)
	}
	i, found := slices.BinarySearch(names, after)
	if found {
		i++
	}
	return ociregistry.SliceSeq(names[i:])
}

// listReferrers yields the manifests whose subject is the digest; none where nobody refers to it,
// even if there is no such repository, as the specification has it.
func (r *Registry) listReferrers(_ context.Context, repo string, digest ociregistry.Digest, artifactType string) iter.Seq2[ociregistry.Descriptor, error] {
	return func(yield func(ociregistry.Descriptor, error) bool) {
		err := errors.Join(checkRepository(repo), checkDigest(imx.Digest(digest)))
		var names []string
		if err == nil {
			names, err = r.list(repo, referrerNames)
		}
		if err != nil {
			yield(ociregistry.Descriptor{}, err)
			return
		}
		for _, n := range names {
			key, ok := strings.CutPrefix(n, fileKey(imx.Digest(digest))+".")
			if !ok {
				continue
			}
			desc, err := r.referrer(repo, keyDigest(key))
			if imx.KindOf(err) == imx.NotFound {
				continue // its push was cut off before it was confirmed
			}
			if err == nil && artifactType != "" && desc.ArtifactType != artifactType {
				continue
			}
			if !yield(desc, err) || err != nil {
				return
			}
		}
	}
}

func (r *Registry) referrer(repo string, d imx.Digest) (ociregistry.Descriptor, error) {
	says, kept, err := r.manifestMark(repo, d)
	if err != nil {
		return ociregistry.Descriptor{}, err
	}
	b, err := r.readManifest(d, kept)
	if err != nil {
		return ociregistry.Descriptor{}, damageError(err)
	}
	m, err := parseManifest(b, says.mediaType)
	if err != nil {
		return ociregistry.Descriptor{}, err
	}
	desc := m.descriptor()
	desc.Digest = ociregistry.Digest(d)
	return desc, nil
}

// getReferrers answers with the manifests that say something about a digest.
func (r *Registry) getReferrers(w http.ResponseWriter, req *http.Request) error {
	where, digest := path.Split(strings.TrimPrefix(req.URL.Path, "/v2/"))
	artifactType := req.URL.Query().Get("artifactType")
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	for desc, err := range r.listReferrers(req.Context(), strings.TrimSuffix(where, "/referrers/"), ociregistry.Digest(digest), artifactType) {
		if err != nil {
			return err
		}
		index.Manifests = append(index.Manifests, desc)
	}
	if artifactType != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	w.Header().Set("Content-Type", index.MediaType)
	return json.NewEncoder(w).Encode(index)
}

// getNoTags answers who asks for no tag of a repository.
func (r *Registry) getNoTags(w http.ResponseWriter, req *http.Request) error {
	repo := strings.TrimSuffix(strings.TrimPrefix(req.URL.Path, "/v2/"), "/tags/list")
	for _, err := range r.listTags(req.Context(), repo, "") {
		if err != nil {
			return err
		}
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(map[string]any{"name": repo, "tags": []string{}})
}
