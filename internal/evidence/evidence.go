// Package evidence keeps signed statements about images: each one's bundle as a blob, named by an OCI artifact manifest
// whose subject is the image's, so that a registry lists it as the image's referrer and cosign finds it. It doesn't judge
// what a statement says, has no keys, and doesn't remember which statements there are: the log does.
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
	"imx/internal/sign"
	"imx/internal/statement"
)

// PredicateNote is the annotation of the manifest that has the statement's predicate type, as in-toto has it; the others
// are what cosign goes by.
const (
	PredicateNote         = "in-toto.io/predicate-type"
	sigstorePredicateNote = "dev.sigstore.bundle.predicateType"
	sigstoreContentNote   = "dev.sigstore.bundle.content"
	sigstoreContent       = "dsse-envelope"
)

// maxManifest is the most that an image's manifest may have, in bytes; as the registry has it.
const maxManifest = 4 << 20

// Config is what a Store needs.
type Config struct {
	Blobs *blob.Store
	// Refer puts a manifest whose blobs are in Blobs into a repository of the registry. What is there stays.
	Refer func(ctx context.Context, repository string, manifest []byte) error
	// Sign signs a statement of a type, and returns the bundle and the ID of the key.
	Sign func(predicateType string, payload []byte) (bundle []byte, signer string, err error)
	// Keys returns all keys that are or were known, by ID.
	Keys func() map[string]imx.Key
}

// Store keeps statements. Its methods may be called from several goroutines at once.
type Store struct {
	cfg Config
}

// New returns a Store.
func New(cfg Config) *Store { return &Store{cfg} }

// Keep signs a statement about an image that is in a repository and keeps it, and returns what names it, as KeepSigned.
// Errors: as KeepSigned, and those of Config.Sign.
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
	bundle, signer, err := s.cfg.Sign(st.PredicateType, raw)
	if err != nil {
		return imx.Evidence{}, err
	}
	return s.KeepSigned(ctx, repository, image, Signed{bundle, signer})
}

// Signed is a bundle, and the ID of the key that is said to have signed it.
type Signed struct {
	Bundle []byte
	Signer string
}

// KeepSigned keeps a statement about an image that is in a repository, signed by somebody, and returns what names it: the
// fields Image, PredicateType, Statement, Manifest, Bundle and Signer. Whether it counts is judged when it is read. When it
// returns without an error, all of it survives a power cut; cut off before, it leaves blobs that nothing names. The same
// bundle again is the same evidence.
// Errors: Refused for a bundle or statement that isn't well formed, of an unknown type, too large, or about something else;
// NotFound if the image isn't there.
func (s *Store) KeepSigned(ctx context.Context, repository string, image imx.Digest, by Signed) (imx.Evidence, error) {
	opened, err := sign.Open(by.Bundle)
	if err != nil {
		return imx.Evidence{}, err
	}
	st, err := statement.Parse(opened.Payload)
	if err != nil {
		return imx.Evidence{}, err
	}
	if imx.PredicateNames()[st.PredicateType] == "" {
		return imx.Evidence{}, imx.Errorf(imx.Refused, "statements of type %s aren't kept about images", st.PredicateType)
	}
	if !statement.About(st, image) {
		return imx.Evidence{}, aboutAnother(imx.DigestBytes(opened.Payload), image)
	}
	manifest, err := s.manifest(image, st.PredicateType, by.Bundle)
	if err != nil {
		return imx.Evidence{}, err
	}
	for _, b := range [][]byte{by.Bundle, ocispec.DescriptorEmptyJSON.Data} {
		if err := s.put(b); err != nil {
			return imx.Evidence{}, err
		}
	}
	e := imx.Evidence{
		Image: image, PredicateType: st.PredicateType, Statement: imx.DigestBytes(opened.Payload), Manifest: imx.DigestBytes(manifest),
		Bundle: imx.DigestBytes(by.Bundle), Signer: by.Signer,
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

// manifest makes the artifact's manifest: the same for the same image and bundle.
func (s *Store) manifest(image imx.Digest, predicateType string, bundle []byte) ([]byte, error) {
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
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: sign.Media,
		Config: config, Layers: []ocispec.Descriptor{describe(sign.Media, bundle)}, Subject: &subject,
		Annotations: map[string]string{
			PredicateNote: predicateType, sigstorePredicateNote: predicateType, sigstoreContentNote: sigstoreContent,
		},
	})
}

func describe(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.Digest(imx.DigestBytes(b)), Size: int64(len(b))}
}

// Read returns the statement of an evidence, if it counts, as sign.Counts has it. One that was kept before statements were
// signed is returned if its bytes are those that were kept, of that type, about that image: Counts tells it apart.
// Errors: Refused if it isn't; NotFound for bytes that are gone.
func (s *Store) Read(e imx.Evidence) (imx.Statement, error) {
	if e.Bundle == "" {
		return s.readUnsigned(e)
	}
	bundle, err := s.Bundle(e)
	if err != nil {
		return imx.Statement{}, err
	}
	return sign.Counts(e, bundle, s.cfg.Keys())
}

// Bundle returns the signed form of an evidence's statement, without judging it.
// Errors: Refused for bytes that were changed; NotFound for bytes that are gone, or that nobody signed.
func (s *Store) Bundle(e imx.Evidence) ([]byte, error) {
	if e.Bundle == "" {
		return nil, imx.Errorf(imx.NotFound, "the statement %s has no bundle: it was kept before statements were signed", e.Statement.Short()).
			WithHint("a new build, test or scan makes it anew")
	}
	return s.cfg.Blobs.ReadAll(e.Bundle, sign.MaxBundle)
}

// Counts reports, as an error of kind Refused, whether an evidence can't count: nobody signed it, or its key didn't count
// for it. It doesn't look at the bytes.
func (s *Store) Counts(e imx.Evidence) error { return sign.Signer(e, s.cfg.Keys()) }

func (s *Store) readUnsigned(e imx.Evidence) (imx.Statement, error) {
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

// Check reports whether an evidence may count, and its bytes are those that were kept. Errors: Refused if not; NotFound for
// bytes that are gone.
func (s *Store) Check(e imx.Evidence) error {
	if err := s.Counts(e); err != nil {
		return err
	}
	_, err := s.Bundle(e)
	if err == nil {
		_, err = s.cfg.Blobs.ReadAll(e.Manifest, maxManifest)
	}
	return err
}

// content is the blob that an evidence's statement is in.
func content(e imx.Evidence) imx.Digest {
	if e.Bundle != "" {
		return e.Bundle
	}
	return e.Statement
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
			found[v.Image] = append(found[v.Image], v.Manifest, content(v), imx.Digest(ocispec.DescriptorEmptyJSON.Digest))
		}
	}
	return found, nil
}
