package keeper

import (
	"bytes"
	"crypto/tls"
	"io"
	"os"

	"imx"
	"imx/internal/ingress"
)

// files are the certificates on the machine, as they were read last.
type files map[imx.CertificateFiles]pair

// pair is a certificate with its key.
type pair struct {
	as         [2]os.FileInfo // what was looked at last
	chain, key []byte         // the last that fitted together
	fault      string
}

// maxPEM is more than any chain of certificates has.
const maxPEM = 1 << 20

// read returns the certificate of files: of those that can't be read, or that don't fit together, as when they are just being
// replaced, the one of before, and why.
func (fs files) read(f imx.CertificateFiles) ingress.Certificate {
	f.At = imx.Pos{}
	p := fs[f]
	if now, ok := looks(f); !ok || !same(now, p.as) {
		p = p.renew(f, now)
		fs[f] = p
	}
	return ingress.Certificate{Host: f.Host, Chain: p.chain, Key: p.key, Fault: p.fault}
}

func looks(f imx.CertificateFiles) (now [2]os.FileInfo, ok bool) {
	for i, path := range []string{f.Certificate, f.Key} {
		info, err := os.Stat(path)
		if err != nil {
			return now, false
		}
		now[i] = info
	}
	return now, true
}

func same(a, b [2]os.FileInfo) bool {
	for i := range a {
		if a[i] == nil || b[i] == nil || !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}

func (p pair) renew(f imx.CertificateFiles, now [2]os.FileInfo) pair {
	chain, err := small(f.Certificate)
	var key []byte
	if err == nil {
		key, err = small(f.Key)
	}
	if err == nil {
		_, err = tls.X509KeyPair(chain, key)
	}
	if err != nil {
		p.as, p.fault = [2]os.FileInfo{}, err.Error() // looked at again, until they fit
		return p
	}
	if bytes.Equal(chain, p.chain) && bytes.Equal(key, p.key) {
		p.as, p.fault = now, ""
		return p
	}
	return pair{as: now, chain: chain, key: key}
}

func small(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read-only
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(b) > maxPEM {
		err = imx.Errorf(imx.Invalid, "%s has more than %v", path, imx.Size(maxPEM))
	}
	return b, err
}
