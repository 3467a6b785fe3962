package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cuelabs.dev/go/oci/ociregistry"

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

// blobSize returns the size of a blob that the repository has. Being in the blob store isn't
// enough: much is in there that was never pushed.
func (r *Registry) blobSize(repo string, d imx.Digest) (int64, error) {
	if err := errors.Join(checkRepository(repo), checkDigest(d)); err != nil {
		return 0, err
	}
	if _, err := r.read(repo, blobNames, d.Hex(), codeBlobUnknown); err != nil {
		return 0, err
	}
	size, err := r.blobs.Size(d)
	if imx.KindOf(err) == imx.NotFound {
		return 0, faultf(codeBlobUnknown, "blob %s is gone from the disk", d)
	}
	return size, err
}

// Blob returns a blob of at most limit bytes that the repository has, after checking it. Errors: NotFound;
// Refused for a longer or a damaged one.
func (r *Registry) Blob(repo string, d imx.Digest, limit int64) ([]byte, error) {
	if _, err := r.blobSize(repo, d); err != nil {
		return nil, err
	}
	return r.blobs.ReadAll(d, limit)
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
	size, err := r.blobSize(repo, imx.Digest(digest))
	return ociregistry.Descriptor{MediaType: octetStream, Digest: digest, Size: size}, err
}

func (r *Registry) getBlob(ctx context.Context, repo string, digest ociregistry.Digest) (ociregistry.BlobReader, error) {
	desc, err := r.resolveBlob(ctx, repo, digest)
	if err != nil {
		return nil, err
	}
	if desc.Size <= checkedFirst {
		b, err := r.blobs.ReadAll(imx.Digest(digest), checkedFirst)
		if err != nil {
			return nil, damageError(err)
		}
		return inMemory(b, desc), nil
	}
	reader, err := r.blobs.Reader(imx.Digest(digest))
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

// getBlobRange checks the whole blob before it gives out a part.
func (r *Registry) getBlobRange(ctx context.Context, repo string, digest ociregistry.Digest, from, to int64) (ociregistry.BlobReader, error) {
	desc, err := r.resolveBlob(ctx, repo, digest)
	if err != nil {
		return nil, err
	}
	if to < 0 || to > desc.Size {
		to = desc.Size
	}
	if from < 0 || from >= to {
		return nil, faultf(codeRangeInvalid, "the blob has %d bytes, none of them from %d to %d", desc.Size, from, to)
	}
	whole, err := r.blobs.Reader(imx.Digest(digest))
	if err != nil {
		return nil, err
	}
	defer whole.Close()
	if _, err := io.Copy(io.Discard, whole); err != nil {
		return nil, damageError(err)
	}
	f, err := r.blobs.Open(imx.Digest(digest))
	if err != nil {
		return nil, err
	}
	return &content{Reader: io.NewSectionReader(f, from, to-from), Closer: f, desc: desc}, nil
}

func (r *Registry) resolveManifest(_ context.Context, repo string, digest ociregistry.Digest) (ociregistry.Descriptor, error) {
	mediaType, err := r.manifestType(repo, imx.Digest(digest))
	if err != nil {
		return ociregistry.Descriptor{}, err
	}
	size, err := r.blobs.Size(imx.Digest(digest))
	if imx.KindOf(err) == imx.NotFound {
		err = faultf(codeManifestUnknown, "manifest %s is gone from the disk", digest)
	}
	return ociregistry.Descriptor{MediaType: mediaType, Digest: digest, Size: size}, err
}

func (r *Registry) getManifest(ctx context.Context, repo string, digest ociregistry.Digest) (ociregistry.BlobReader, error) {
	desc, err := r.resolveManifest(ctx, repo, digest)
	if err != nil {
		return nil, err
	}
	b, err := r.blobs.ReadAll(imx.Digest(digest), MaxManifest)
	if err != nil {
		return nil, damageError(err)
	}
	desc.Size = int64(len(b))
	return inMemory(b, desc), nil
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

func (r *Registry) listRepositories(_ context.Context, after string) iter.Seq2[string, error] {
	names, err := r.repositories()
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
			hex, ok := strings.CutPrefix(n, imx.Digest(digest).Hex()+".")
			if !ok {
				continue
			}
			desc, err := r.referrer(repo, imx.Digest("sha256:"+hex))
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
	kind, err := r.manifestType(repo, d)
	if err != nil {
		return ociregistry.Descriptor{}, err
	}
	b, err := r.blobs.ReadAll(d, MaxManifest)
	if err != nil {
		return ociregistry.Descriptor{}, damageError(err)
	}
	m, err := parseManifest(b, kind)
	if err != nil {
		return ociregistry.Descriptor{}, err
	}
	return m.descriptor(), nil
}
