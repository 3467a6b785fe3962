// Package evidence keeps statements about images: each one's bytes as a blob, named by an OCI artifact manifest
// whose subject is the image's, so that a registry lists it as the image's referrer. It doesn't judge what a
// statement says, signs nothing, and doesn't remember which statements there are: the log does.
package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/blob"
	"imx/internal/statement"
)

// StatementMedia is the media type of a statement that nobody signed, and the artifact type of its manifest.
const StatementMedia = "application/vnd.in-toto+json"

// PredicateNote is the annotation of the manifest that has the statement's predicate type.
const PredicateNote = "in-toto.io/predicate-type"

// maxManifest is the most that an image's manifest may have, in bytes; as the registry has it.
const maxManifest = 4 << 20

// Config is what a Store needs.
type Config struct {
	Blobs *blob.Store
	// Refer puts a manifest whose blobs are in Blobs into a repository of the registry. What is there stays.
	Refer func(ctx context.Context, repository string, manifest []byte) error
}

// Store keeps statements. Its methods may be called from several goroutines at once.
type Store struct {
	cfg Config
}

// New returns a Store.
func New(cfg Config) *Store { return &Store{cfg} }

// Keep keeps a statement about an image that is in a repository, and returns what names it: the fields Image,
// PredicateType, Statement and Manifest. When it returns without an error, all of it survives a power cut; cut
// off before, it leaves blobs that nothing names. The same statement again is the same evidence.
// Errors: Refused for a statement that isn't well formed, of an unknown type, too large, or about something else;
// NotFound if the image isn't there.
func (s *Store) Keep(ctx context.Context, repository string, image imx.Digest, st imx.Statement) (imx.Evidence, error) {
	raw, err := json.Marshal(st)
	if err != nil {
		return imx.Evidence{}, imx.Errorf(imx.Refused, "the statement can't be written as JSON: %w", err)
	}
	if st, err = statement.Parse(raw); err != nil {
		return imx.Evidence{}, err
	}
	if !statement.About(st, image) {
		return imx.Evidence{}, aboutAnother(imx.DigestBytes(raw), image)
	}
	manifest, err := s.manifest(image, st.PredicateType, raw)
	if err != nil {
		return imx.Evidence{}, err
	}
	for _, b := range [][]byte{raw, ocispec.DescriptorEmptyJSON.Data} {
		if err := s.put(b); err != nil {
			return imx.Evidence{}, err
		}
	}
	e := imx.Evidence{
		Image: image, PredicateType: st.PredicateType, Statement: imx.DigestBytes(raw), Manifest: imx.DigestBytes(manifest),
	}
	return e, s.cfg.Refer(ctx, repository, manifest)
}

// put keeps bytes, unless they are there and right.
func (s *Store) put(b []byte) error {
	if _, err := s.cfg.Blobs.ReadAll(imx.DigestBytes(b), int64(len(b))); err == nil {
		return nil
	}
	_, _, err := s.cfg.Blobs.Put(bytes.NewReader(b), imx.DigestBytes(b))
	return err
}

// manifest makes the artifact's manifest: the same for the same image and statement.
func (s *Store) manifest(image imx.Digest, predicateType string, layer []byte) ([]byte, error) {
	raw, err := s.cfg.Blobs.ReadAll(image, maxManifest)
	if err != nil {
		return nil, err
	}
	subject := describe("", raw)
	var m struct {
		MediaType string `json:"mediaType"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, imx.Errorf(imx.Invalid, "%s is not the manifest of an image: %w", image, err)
	}
	if subject.MediaType = m.MediaType; m.MediaType == "" {
		subject.MediaType = ocispec.MediaTypeImageManifest
	}
	config := ocispec.DescriptorEmptyJSON
	config.Data = nil
	return json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: StatementMedia,
		Config: config, Layers: []ocispec.Descriptor{describe(StatementMedia, layer)}, Subject: &subject,
		Annotations: map[string]string{PredicateNote: predicateType},
	})
}

func describe(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.Digest(imx.DigestBytes(b)), Size: int64(len(b))}
}

// Read returns the statement of an evidence, if it is what the evidence says: its bytes are those that were
// kept, of that type, about that image. Errors: Refused if it isn't; NotFound for bytes that are gone.
func (s *Store) Read(e imx.Evidence) (imx.Statement, error) {
	raw, err := s.cfg.Blobs.ReadAll(e.Statement, statement.Max)
	if err != nil {
		return imx.Statement{}, err
	}
	st, err := statement.Parse(raw)
	switch {
	case err != nil:
		return imx.Statement{}, err
	case !statement.About(st, e.Image):
		return imx.Statement{}, aboutAnother(e.Statement, e.Image)
	case st.PredicateType != e.PredicateType:
		return imx.Statement{}, imx.Errorf(imx.Refused, "the statement %s is of type %s, and not %s", e.Statement.Short(), st.PredicateType, e.PredicateType)
	}
	return st, nil
}

// Check reports whether the bytes of an evidence are those that were kept. Errors: Refused if they aren't; NotFound for
// bytes that are gone.
func (s *Store) Check(e imx.Evidence) error {
	_, err := s.cfg.Blobs.ReadAll(e.Statement, statement.Max)
	if err == nil {
		_, err = s.cfg.Blobs.ReadAll(e.Manifest, maxManifest)
	}
	return err
}

func aboutAnother(named, image imx.Digest) error {
	return imx.Errorf(imx.Refused, "the statement %s is not about the image %s", named.Short(), image)
}

// Digests returns what must stay for images to keep all their evidence, the older too: by image, the blobs and
// manifests of its statements, as the log tells of them.
func Digests(events iter.Seq2[imx.Event, error]) (map[imx.Digest][]imx.Digest, error) {
	found := map[imx.Digest][]imx.Digest{}
	for e, err := range events {
		if err != nil {
			return nil, err
		}
		if added, ok := e.Body.(imx.EvidenceAdded); ok {
			v := added.Evidence
			found[v.Image] = append(found[v.Image], v.Manifest, v.Statement, imx.Digest(ocispec.DescriptorEmptyJSON.Digest))
		}
	}
	return found, nil
}
