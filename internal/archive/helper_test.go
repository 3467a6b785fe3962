package archive_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"imx"
)

// rearm puts another signature under a clear-signed text.
func rearm(t *testing.T, signed, signature []byte) []byte {
	t.Helper()
	head, _, ok := bytes.Cut(signed, []byte("-----BEGIN PGP SIGNATURE-----"))
	if !ok {
		t.Fatal("no signature")
	}
	out := bytes.NewBuffer(bytes.ReplaceAll(bytes.Clone(head), []byte("Hash: SHA256"), []byte("Hash: SHA1")))
	w, err := armor.Encode(out, "PGP SIGNATURE", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(signature); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return append(out.Bytes(), '\n')
}

// contextEndingAfterRequest puts a server before the archive that ends the context when it is asked.
func contextEndingAfterRequest(t *testing.T, decl *imx.Archive) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	proxy := httputil.NewSingleHostReverseProxy(mustParse(t, decl.Mirror))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cancel()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	decl.Mirror = server.URL
	return ctx, cancel
}

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
