package sshsign

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"os"
	"runtime"

	"golang.org/x/crypto/ssh"

	"imx"
	"imx/internal/sign"
)

// fromFile opens the private key in a file's text.
func fromFile(ctx context.Context, c Choice, text []byte) (*Key, error) {
	if st, err := os.Stat(c.Key); runtime.GOOS != "windows" && (err != nil || st.Mode().Perm()&0o077 != 0) {
		return nil, imx.Errorf(imx.Refused, "the private key %s may be read by others than its owner", c.Key).
			WithHint("chmod 600 %s; and if somebody else could read it, make another key", c.Key)
	}
	raw, err := ssh.ParseRawPrivateKey(text)
	if _, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok {
		raw, err = withPassphrase(ctx, c, text)
	}
	if _, ok := errors.AsType[*imx.Error](err); ok {
		return nil, err
	}
	if err != nil {
		return nil, imx.Errorf(imx.Invalid, "the file %s has no private key that can be read: %w", c.Key, err)
	}
	if k, ok := raw.(*ed25519.PrivateKey); ok {
		raw = *k
	}
	signer, ok := raw.(crypto.Signer)
	if !ok {
		return nil, imx.Errorf(imx.Refused, "the key in %s is of a kind that doesn't sign: %T", c.Key, raw)
	}
	p, err := sign.PublicOf(signer.Public())
	if err != nil {
		return nil, err
	}
	return &Key{ID: p.ID, signer: signer}, nil
}

func withPassphrase(ctx context.Context, c Choice, text []byte) (any, error) {
	if c.Passphrase == nil {
		return nil, imx.Errorf(imx.Invalid, "the key %s has a passphrase, and nobody can be asked for it here", c.Key).
			WithHint("add the key to an agent: ssh-add %s", c.Key)
	}
	phrase, err := c.Passphrase(ctx, c.Key)
	if err != nil {
		return nil, err
	}
	raw, err := ssh.ParseRawPrivateKeyWithPassphrase(text, phrase)
	if errors.Is(err, x509.IncorrectPasswordError) {
		return nil, imx.Errorf(imx.Refused, "that isn't the passphrase of %s", c.Key)
	}
	return raw, err
}
