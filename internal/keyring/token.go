//go:build pkcs11

package keyring

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"os"
	"strings"

	"github.com/ThalesGroup/crypto11"

	"imx"
)

// Token keeps keys in a token behind PKCS#11, where nobody can read them, and neither can imx.
type Token struct {
	ctx *crypto11.Context
}

// OpenToken opens the token that a configuration names: FILE:LABEL:PINFILE, the module's shared object, the token's
// label and a file with the PIN. Errors: Invalid for another form; Refused for a token that doesn't open.
func OpenToken(where string) (Store, error) {
	parts := strings.Split(where, ":")
	if len(parts) != 3 {
		return nil, imx.Errorf(imx.Invalid, "%q names no PKCS#11 token", where).WithHint("write MODULE.so:LABEL:PINFILE")
	}
	pin, err := os.ReadFile(parts[2])
	if err != nil {
		return nil, imx.Errorf(imx.Refused, "the token's PIN can't be read: %w", err)
	}
	ctx, err := crypto11.Configure(&crypto11.Config{Path: parts[0], TokenLabel: parts[1], Pin: strings.TrimSpace(string(pin))})
	if err != nil {
		return nil, imx.Errorf(imx.Refused, "the token %q of %s doesn't open: %w", parts[1], parts[0], err).
			WithHint("look at its label and PIN: pkcs11-tool --module %s --list-slots", parts[0])
	}
	return &Token{ctx}, nil
}

func label(role imx.Role) []byte { return []byte("imx-" + string(role)) }

// Keys implements Store.
func (t *Token) Keys(role imx.Role) ([]crypto.Signer, error) {
	found, err := t.ctx.FindKeyPairs(nil, label(role))
	if err != nil {
		return nil, imx.Errorf(imx.Refused, "the token's keys of the %s can't be found: %w", role, err)
	}
	keys := make([]crypto.Signer, 0, len(found))
	for _, k := range found {
		keys = append(keys, k)
	}
	return keys, nil
}

// Make implements Store. The keys before it stay in the token.
func (t *Token) Make(role imx.Role) (crypto.Signer, error) {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails: crypto/rand ends the program instead
	key, err := t.ctx.GenerateECDSAKeyPairWithLabel(id, label(role), elliptic.P256())
	if err != nil {
		return nil, fmt.Errorf("the token makes no key for the %s: %w", role, err)
	}
	return key, nil
}

// Close implements Store.
func (t *Token) Close() error { return t.ctx.Close() }
