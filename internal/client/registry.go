package client

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"

	"imx"
)

// maxManifest is the most that a manifest may have, in bytes, as in the server's registry.
const maxManifest = 4 << 20

// Manifest returns the bytes of a manifest of the server's registry, by tag or digest. For a digest they are checked.
func (c *Client) Manifest(ctx context.Context, repository, reference string) ([]byte, error) {
	body, err := c.registry(ctx, http.MethodGet, "/v2/"+repository+"/manifests/"+reference, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }() // everything worth knowing was read
	b, err := io.ReadAll(io.LimitReader(body, maxManifest+1))
	switch d, isDigest := imx.ParseDigest(reference); {
	case err != nil:
		return nil, c.broken(ctx, err)
	case len(b) > maxManifest:
		return nil, imx.Errorf(imx.Refused, "the manifest %s of %s has more than %d bytes", reference, repository, maxManifest)
	case isDigest == nil && imx.DigestBytes(b) != d:
		return nil, imx.Errorf(imx.Refused, "the manifest %s of %s came with the digest %s", reference, repository, imx.DigestBytes(b))
	}
	return b, nil
}

// Blob returns the bytes of a blob of the server's registry. What the server gives out has the digest, or breaks
// off before its end. The caller closes it.
func (c *Client) Blob(ctx context.Context, repository string, d imx.Digest) (io.ReadCloser, error) {
	return c.registry(ctx, http.MethodGet, "/v2/"+repository+"/blobs/"+string(d), nil)
}

// HasBlob reports whether a repository of the server's registry has a blob.
func (c *Client) HasBlob(ctx context.Context, repository string, d imx.Digest) (bool, error) {
	body, err := c.registry(ctx, http.MethodHead, "/v2/"+repository+"/blobs/"+string(d), nil)
	if imx.KindOf(err) == imx.NotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, body.Close()
}

// PushBlob pushes size bytes to a repository of the server's registry; the server refuses bytes of another digest.
func (c *Client) PushBlob(ctx context.Context, repository string, d imx.Digest, size int64, r io.Reader) error {
	query := url.Values{"digest": {string(d)}}
	body, err := c.registry(ctx, http.MethodPost, "/v2/"+repository+"/blobs/uploads/?"+query.Encode(),
		&upload{"application/octet-stream", size, io.LimitReader(r, size)})
	if err != nil {
		return err
	}
	return body.Close()
}

// PushManifest pushes a manifest whose blobs the repository has.
func (c *Client) PushManifest(ctx context.Context, repository, tag, mediaType string, manifest []byte) error {
	body, err := c.registry(ctx, http.MethodPut, "/v2/"+repository+"/manifests/"+url.PathEscape(tag),
		&upload{mediaType, int64(len(manifest)), bytes.NewReader(manifest)})
	if err != nil {
		return err
	}
	return body.Close()
}

// upload is the body of a push.
type upload struct {
	mediaType string
	size      int64
	bytes     io.Reader
}

// registry makes a request of the distribution API and returns the answer's body if it isn't an error. The
// caller closes it.
func (c *Client) registry(ctx context.Context, method, path string, up *upload) (io.ReadCloser, error) {
	var body io.Reader
	if up != nil {
		body = up.bytes
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://imx"+path, body)
	if err != nil {
		return nil, imx.Errorf(imx.Internal, "a request can't be made: %w", err)
	}
	if up != nil {
		r.ContentLength = up.size
		r.Header.Set("Content-Type", up.mediaType)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode < http.StatusBadRequest {
		return resp.Body, nil
	}
	defer func() { _ = resp.Body.Close() }() // everything worth knowing was read
	return nil, refusal(resp)
}

// refusal turns an answer of the distribution API into the error that it stands for.
func refusal(resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var wire struct {
		Errors []struct {
			Message string `json:"message"`
			Detail  struct {
				Hint string `json:"hint"`
			} `json:"detail"`
		} `json:"errors"`
	}
	e := imx.Errorf(kindOf(resp.StatusCode), "the server's registry answers %s", resp.Status)
	if err == nil && json.Unmarshal(text, &wire) == nil && len(wire.Errors) > 0 {
		e.Message, e.Hint = wire.Errors[0].Message, wire.Errors[0].Detail.Hint
	}
	return e
}

// kindOf is the kind that a status of the distribution API stands for; the server makes the one of the other.
func kindOf(status int) imx.Kind {
	for _, k := range []imx.Kind{imx.Invalid, imx.NotFound, imx.Conflict, imx.Refused, imx.Unavailable, imx.Exhausted} {
		if k.HTTPStatus() == status {
			return k
		}
	}
	switch status {
	case http.StatusRequestEntityTooLarge, http.StatusRequestedRangeNotSatisfiable:
		return imx.Invalid
	case http.StatusMethodNotAllowed:
		return imx.Refused
	case http.StatusTooManyRequests:
		return imx.Unavailable
	}
	return imx.Internal
}
