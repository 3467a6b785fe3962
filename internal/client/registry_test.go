package client_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"imx"
)

// The distribution API has errors of its own form: a person gets the same kinds and hints from them.
func TestErrorsOfTheRegistryAreOfOurKinds(t *testing.T) {
	for status, kind := range map[int]imx.Kind{
		400: imx.Invalid, 413: imx.Invalid, 403: imx.Refused, 405: imx.Refused, 404: imx.NotFound, 409: imx.Conflict,
		429: imx.Unavailable, 503: imx.Unavailable, 507: imx.Exhausted, 500: imx.Internal, 418: imx.Internal,
	} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"errors":[{"code":"X","message":"what went wrong","detail":{"hint":"what to do"}}]}`)
		})
		err := c.PushBlob(t.Context(), "frozen/shop", imx.DigestBytes(nil), 1, strings.NewReader("x"))
		wants(t, err, kind, "what went wrong", "what to do")
	}
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	_, err := c.Blob(t.Context(), "frozen/shop", imx.DigestBytes(nil))
	wants(t, err, imx.NotFound, "404 Not Found", "")
	if has, err := c.HasBlob(t.Context(), "frozen/shop", imx.DigestBytes(nil)); has || err != nil {
		t.Errorf("has a blob that isn't there: %t, %v", has, err)
	}
}

func TestAManifestOfAnotherDigestOrWithoutEndIsRefused(t *testing.T) {
	long := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("x"), 5<<20)) })
	_, err := long.Manifest(t.Context(), "frozen/shop", "lock-1")
	wants(t, err, imx.Refused, "more than 4194304 bytes", "")
	other := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "other") })
	_, err = other.Manifest(t.Context(), "frozen/shop", string(imx.DigestBytes([]byte("wanted"))))
	wants(t, err, imx.Refused, "came with the digest "+string(imx.DigestBytes([]byte("other"))), "")
}
