// Package replicate copies images from one registry to another, with what refers to them, and follows rules that say which. It
// trusts no registry: what comes is compared with the digest that it was asked for by, before its last byte goes on.
// It keeps nothing and knows no folder: both sides speak the distribution API.
package replicate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ociauth"
	"cuelabs.dev/go/oci/ociregistry/ociclient"

	"imx"
)

// maxManifest is the most that a manifest may have, in bytes, as in the server's registry.
const maxManifest = 4 << 20

// Side is a registry with a name for people.
type Side struct {
	ociregistry.Interface

	Name string
}

// Open returns the registry at an address: https://HOST or http://HOST:PORT; without a scheme it is https, and http on this machine. The
// secret is a token, NAME:PASSWORD, or "". It asks for nothing yet. Errors: Invalid.
func Open(address, secret string, transport http.RoundTripper) (Side, error) {
	if !strings.Contains(address, "://") {
		scheme := "https://"
		if host, _, _ := strings.Cut(address, ":"); host == "localhost" || strings.HasPrefix(host, "127.") {
			scheme = "http://"
		}
		address = scheme + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return Side{}, imx.Errorf(imx.Invalid, "%q is no address of a registry", address).WithHint("https://HOST or http://HOST:PORT")
	}
	name, password, ok := strings.Cut(strings.TrimSpace(secret), ":")
	if !ok {
		name, password = "imx", name
	}
	login := ociauth.ConfigEntry{Username: name, Password: password}
	if password == "" {
		login = ociauth.ConfigEntry{}
	}
	remote, err := ociclient.New(u.Host, &ociclient.Options{
		Insecure:  u.Scheme == "http",
		Transport: ociauth.NewStdTransport(ociauth.StdTransportParams{Config: account{u.Host, login}, Transport: transport}),
	})
	if err != nil {
		return Side{}, imx.Errorf(imx.Invalid, "%q is no address of a registry: %w", address, err)
	}
	return Side{remote, u.Host}, nil
}

// account is what one host is told; no other one gets it.
type account struct {
	host  string
	entry ociauth.ConfigEntry
}

// EntryForRegistry implements ociauth.Config.
func (a account) EntryForRegistry(host string) (ociauth.ConfigEntry, error) {
	if host != a.host {
		return ociauth.ConfigEntry{}, nil
	}
	return a.entry, nil
}

// Place names an image in a registry: by its digest or, without one, by its tag. As a destination its tag may be "".
type Place struct {
	Repository string
	Tag        string
	Digest     imx.Digest
}

// Copied is what a copy came to. What was there already isn't counted.
type Copied struct {
	Digest    imx.Digest `json:"digest"`
	Manifests int        `json:"manifests"`
	Blobs     int        `json:"blobs"`
	Bytes     imx.Size   `json:"bytes"`
}

// Copier copies from one side to the other.
type Copier struct {
	From, To Side
	Report   imx.Report // gets each blob when it begins; nil means that nobody waits
	// Alone leaves what refers to an image where it is: who knows by digest what belongs to it copies that by itself.
	Alone bool
}

// Copy copies an image: its blobs, its manifest, what refers to it, and the tag last, so that a copy which was cut off is
// none and the next goes on with what is missing. Errors: NotFound; Refused where a registry serves other bytes than asked for, or
// says no; Conflict where the tag names something else; Unavailable.
func (c Copier) Copy(ctx context.Context, src, dst Place) (Copied, error) {
	run := &run{Copier: c, src: src.Repository, dst: dst.Repository, seen: map[imx.Digest]bool{}}
	m, err := run.find(ctx, src)
	if err != nil {
		return Copied{}, err
	}
	run.done.Digest = m.digest
	if err := run.tagFree(ctx, dst.Tag, m.digest); err != nil {
		return run.done, err
	}
	if err := run.tree(ctx, m); err != nil {
		return run.done, err
	}
	if dst.Tag == "" {
		return run.done, nil
	}
	if _, err := c.To.PushManifest(ctx, dst.Repository, dst.Tag, m.raw, m.mediaType); err != nil {
		return run.done, wrap(c.To, err, "tagging %s:%s", dst.Repository, dst.Tag)
	}
	return run.done, nil
}

// run is one copy.
type run struct {
	Copier

	src, dst string
	seen     map[imx.Digest]bool
	done     Copied
}

// document is a manifest that was compared with its digest.
type document struct {
	raw       []byte
	mediaType string
	digest    imx.Digest
}

// find reads the manifest at a place.
func (r *run) find(ctx context.Context, p Place) (document, error) {
	if p.Digest != "" {
		return r.manifest(ctx, p.Digest)
	}
	body, err := r.From.GetTag(ctx, r.src, p.Tag)
	if err != nil {
		return document{}, wrap(r.From, err, "reading %s:%s", r.src, p.Tag)
	}
	m, err := r.read(body, p.Tag)
	if said := imx.Digest(body.Descriptor().Digest); err == nil && said != m.digest {
		return m, lies(r.From, fmt.Sprintf("the manifest of %s:%s, which it calls %s,", r.src, p.Tag, said), m.digest)
	}
	return m, err
}

func (r *run) manifest(ctx context.Context, d imx.Digest) (document, error) {
	body, err := r.From.GetManifest(ctx, r.src, ociregistry.Digest(d))
	if err != nil {
		return document{}, wrap(r.From, err, "reading %s@%s", r.src, d)
	}
	m, err := r.read(body, d.Short())
	if err == nil && m.digest != d {
		err = lies(r.From, fmt.Sprintf("manifest %s of %s", d, r.src), m.digest)
	}
	return m, err
}

func (r *run) read(body ociregistry.BlobReader, what string) (document, error) {
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, maxManifest+1))
	switch {
	case len(raw) > maxManifest:
		return document{}, imx.Errorf(imx.Refused, "registry %s has a manifest %s of %s of more than %d bytes", r.From.Name, what, r.src, maxManifest)
	case err != nil && int64(len(raw)) != body.Descriptor().Size: // else all came, and what they are is found out here
		return document{}, wrap(r.From, err, "reading manifest %s of %s", what, r.src)
	}
	return document{raw, body.Descriptor().MediaType, imx.DigestBytes(raw)}, nil
}

// parts are what a manifest names.
type parts struct {
	Config    *ociregistry.Descriptor  `json:"config"`
	Layers    []ociregistry.Descriptor `json:"layers"`
	Manifests []ociregistry.Descriptor `json:"manifests"`
}

// tree copies a manifest with all below it and all that refers to it.
func (r *run) tree(ctx context.Context, m document) error {
	if r.seen[m.digest] {
		return nil
	}
	r.seen[m.digest] = true
	if len(r.seen) > maxManifests {
		return imx.Errorf(imx.Refused, "more than %d manifests belong to what is copied from %s", maxManifests, r.From.Name)
	}
	if _, err := r.To.ResolveManifest(ctx, r.dst, ociregistry.Digest(m.digest)); err != nil {
		if kind(err) != imx.NotFound {
			return wrap(r.To, err, "asking for %s@%s", r.dst, m.digest)
		}
		if err := r.push(ctx, m); err != nil {
			return err
		}
	}
	if r.Alone {
		return nil
	}
	for desc, err := range r.From.Referrers(ctx, r.src, ociregistry.Digest(m.digest), "") {
		if err != nil {
			return wrap(r.From, err, "asking what refers to %s@%s", r.src, m.digest)
		}
		if err := r.referrer(ctx, desc, m.digest); err != nil {
			return err
		}
	}
	return nil
}

// maxManifests is how many manifests one copy takes along: a registry could invent referrers for ever.
const maxManifests = 10_000

// referrer copies a manifest that says of itself that it is about another. Errors: Refused if it doesn't.
func (r *run) referrer(ctx context.Context, desc ociregistry.Descriptor, about imx.Digest) error {
	m, err := r.manifest(ctx, imx.Digest(desc.Digest))
	if err != nil {
		return err
	}
	var p struct {
		Subject ociregistry.Descriptor `json:"subject"`
	}
	if err := json.Unmarshal(m.raw, &p); err != nil || imx.Digest(p.Subject.Digest) != about {
		return imx.Errorf(imx.Refused, "registry %s lists %s as one that refers to %s, and it doesn't", r.From.Name, m.digest, about)
	}
	return r.tree(ctx, m)
}

func (r *run) treeOf(ctx context.Context, desc ociregistry.Descriptor) error {
	m, err := r.manifest(ctx, imx.Digest(desc.Digest))
	if err != nil {
		return err
	}
	return r.tree(ctx, m)
}

func (r *run) push(ctx context.Context, m document) error {
	var p parts
	if err := json.Unmarshal(m.raw, &p); err != nil {
		return imx.Errorf(imx.Refused, "manifest %s of registry %s is no JSON object of a manifest: %w", m.digest, r.From.Name, err)
	}
	for _, child := range p.Manifests {
		if err := r.treeOf(ctx, child); err != nil {
			return err
		}
	}
	if p.Config != nil {
		p.Layers = append([]ociregistry.Descriptor{*p.Config}, p.Layers...)
	}
	for _, b := range p.Layers {
		if err := r.blob(ctx, b); err != nil {
			return err
		}
	}
	if _, err := r.To.PushManifest(ctx, r.dst, "", m.raw, m.mediaType); err != nil {
		return wrap(r.To, err, "pushing %s@%s", r.dst, m.digest)
	}
	r.done.Manifests++
	return nil
}

func (r *run) blob(ctx context.Context, desc ociregistry.Descriptor) error {
	d := imx.Digest(desc.Digest)
	_, err := r.To.ResolveBlob(ctx, r.dst, desc.Digest)
	if err == nil {
		return nil
	}
	if kind(err) != imx.NotFound {
		return wrap(r.To, err, "asking for blob %s of %s", d, r.dst)
	}
	if r.Report != nil {
		r.Report(imx.Progress{Step: "copy " + r.dst, Status: imx.StepRunning, Message: d.Short() + ", " + imx.Size(desc.Size).String(), Done: int64(r.done.Blobs), Unit: "blobs"})
	}
	body, err := newSource(ctx, r.From, r.src, desc)
	if err != nil {
		return err
	}
	defer body.Close()
	var content io.Reader = body
	if desc.Size == 0 {
		content = bytes.NewReader(nil)
	}
	if _, err := r.To.PushBlob(ctx, r.dst, desc, content); err != nil {
		if body.failed != nil && !errors.Is(body.failed, io.EOF) {
			return body.failed
		}
		return wrap(r.To, err, "pushing blob %s to %s", d, r.dst)
	}
	r.done.Blobs++
	r.done.Bytes += imx.Size(desc.Size)
	return nil
}

// tagFree refuses a tag that names something else.
func (r *run) tagFree(ctx context.Context, tag string, d imx.Digest) error {
	if tag == "" {
		return nil
	}
	old, err := r.To.ResolveTag(ctx, r.dst, tag)
	switch {
	case err != nil && kind(err) == imx.NotFound, err == nil && imx.Digest(old.Digest) == d:
		return nil
	case err != nil:
		return wrap(r.To, err, "asking for %s:%s", r.dst, tag)
	}
	return imx.Errorf(imx.Conflict, "tag %s:%s of registry %s is %s and won't be moved to %s", r.dst, tag, r.To.Name, old.Digest, d).
		WithHint("copy to another tag")
}

// lies names a registry that gives out what wasn't asked for.
func lies(s Side, what string, got imx.Digest) error {
	return imx.Errorf(imx.Refused, "registry %s serves other bytes than asked for: %s came with the digest %s", s.Name, what, got).
		WithHint("nothing of it was kept; tell who runs that registry, and copy from another")
}

// kind is what sort of failure a registry's answer is.
func kind(err error) imx.Kind {
	var own *imx.Error
	var status ociregistry.HTTPError
	switch {
	case errors.As(err, &own):
		return own.Kind
	case errors.Is(err, ociregistry.ErrBlobUnknown), errors.Is(err, ociregistry.ErrManifestUnknown), errors.Is(err, ociregistry.ErrNameUnknown):
		return imx.NotFound
	case errors.As(err, &status):
		return kindOfStatus(status.StatusCode())
	case errors.Is(err, ociregistry.ErrDenied), errors.Is(err, ociregistry.ErrUnauthorized):
		return imx.Refused
	}
	return imx.Unavailable
}

func kindOfStatus(code int) imx.Kind {
	for _, k := range []imx.Kind{imx.Invalid, imx.NotFound, imx.Conflict, imx.Refused, imx.Exhausted} {
		if k.HTTPStatus() == code {
			return k
		}
	}
	switch code {
	case http.StatusUnauthorized, http.StatusMethodNotAllowed:
		return imx.Refused
	case http.StatusRequestEntityTooLarge:
		return imx.Invalid
	}
	return imx.Unavailable
}

// wrap says which registry said what to what.
func wrap(s Side, err error, format string, args ...any) error {
	if _, own := errors.AsType[*imx.Error](err); own {
		return fmt.Errorf("registry %s: "+format+": %w", append(append([]any{s.Name}, args...), err)...)
	}
	e := imx.Errorf(kind(err), "registry %s: "+format+": %w", append(append([]any{s.Name}, args...), err)...)
	if e.Kind == imx.Refused {
		return e.WithHint("name a file with a token that may: --token-file FILE; imx registry token create makes one on an imx server")
	}
	if e.Kind == imx.Unavailable {
		return e.WithHint("run it again: it goes on with what is missing")
	}
	return e
}

// Resolve returns the digest of an image on the side that is copied from, by the bytes of its manifest. Errors: as Copy.
func (c Copier) Resolve(ctx context.Context, src Place) (imx.Digest, error) {
	m, err := (&run{Copier: c, src: src.Repository}).find(ctx, src)
	return m.digest, err
}

// Manifest reads a manifest of the side that is copied from, by its digest. Errors: as Copy.
func (c Copier) Manifest(ctx context.Context, repository string, d imx.Digest) ([]byte, error) {
	m, err := (&run{Copier: c, src: repository}).manifest(ctx, d)
	return m.raw, err
}

// Blob reads a blob of the side that is copied from, whole. The caller has seen to its size. Errors: as Copy.
func (c Copier) Blob(ctx context.Context, repository string, desc ociregistry.Descriptor) ([]byte, error) {
	body, err := newSource(ctx, c.From, repository, desc)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}
