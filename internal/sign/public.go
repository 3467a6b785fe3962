package sign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"

	"golang.org/x/crypto/ssh"

	"imx"
)

// The bounds of RSA keys, in bits: shorter ones are weak, and longer ones only cost whoever verifies.
const (
	minRSA = 2048
	maxRSA = 8192
)

// maxLine is the most that a line with a public key may have, in bytes: one of RSA with 16,384 bits has 3,000.
const maxLine = 8 << 10

// Public is a public key of a kind whose signatures count.
type Public struct {
	ID   string           // imx.Key.ID
	Line string           // imx.Key.Public
	Key  crypto.PublicKey // ed25519.PublicKey, *ecdsa.PublicKey or *rsa.PublicKey

	hash crypto.Hash // what a message is hashed with before the key signs it; 0 if the key signs the message itself
}

// ParsePublic reads a public key from a line as in authorized_keys or a .pub file. A comment is left out.
// Errors: Invalid for what is no such line, or for several; Refused for a key of a kind that doesn't count.
func ParsePublic(line string) (Public, error) {
	if len(line) > maxLine {
		return Public{}, imx.Errorf(imx.Invalid, "this is no SSH public key: it has %d bytes", len(line))
	}
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return Public{}, imx.Errorf(imx.Invalid, "this is no SSH public key: %w", err).
			WithHint("it is one line, as in ~/.ssh/id_ed25519.pub; the file without .pub is the private key, which imx must not have")
	}
	if len(options) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return Public{}, imx.Errorf(imx.Invalid, "this is more than one SSH public key").WithHint("give one line, without options")
	}
	if strings.HasPrefix(key.Type(), "sk-") {
		return Public{}, imx.Errorf(imx.Refused, "the key %s is in a hardware token (%s)", ssh.FingerprintSHA256(key), key.Type()).
			WithHint("what such a token signs isn't the statement but a message of its own around it, which no other verifier reads: take a plain key, ssh-keygen -t ed25519")
	}
	other, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return Public{}, badKind(ssh.FingerprintSHA256(key), key.Type())
	}
	return PublicOf(other.CryptoPublicKey())
}

// PublicOf returns a key as a Public. Errors: Refused for a key of a kind that doesn't count.
func PublicOf(key crypto.PublicKey) (Public, error) {
	other, err := ssh.NewPublicKey(key)
	if err != nil {
		return Public{}, imx.Errorf(imx.Refused, "a key of this kind doesn't count: %w", err).WithHint("%s", kinds)
	}
	p := Public{ID: ssh.FingerprintSHA256(other), Line: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(other))), Key: key}
	hash, ok := hashFor(key)
	if !ok {
		return Public{}, badKind(p.ID, other.Type())
	}
	p.hash = hash
	return p, nil
}

const kinds = "Ed25519, ECDSA on P-256, P-384 or P-521, and RSA of 2048 to 8192 bits do: ssh-keygen -t ed25519"

func badKind(id, kind string) error {
	return imx.Errorf(imx.Refused, "the key %s is of a kind or length that doesn't count: %s", id, kind).WithHint("%s", kinds)
}

// hashFor returns the hash that goes with a key, as SSH has it for each kind, which is as sigstore has it too; false for
// a key of a kind that doesn't count.
func hashFor(key crypto.PublicKey) (crypto.Hash, bool) {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return 0, true
	case *rsa.PublicKey:
		return crypto.SHA256, k.N.BitLen() >= minRSA && k.N.BitLen() <= maxRSA
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return crypto.SHA256, true
		case elliptic.P384():
			return crypto.SHA384, true
		case elliptic.P521():
			return crypto.SHA512, true
		}
	}
	return 0, false
}

// fits reports whether a signature is the key's, of a message.
func (p Public) fits(message, signature []byte) bool {
	if k, ok := p.Key.(ed25519.PublicKey); ok {
		return ed25519.Verify(k, message, signature)
	}
	if p.hash == 0 {
		return false
	}
	h := p.hash.New()
	h.Write(message)
	switch k := p.Key.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, h.Sum(nil), signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, p.hash, h.Sum(nil), signature) == nil
	}
	return false
}

// inMemory reports whether a key is one of the standard library's, whose signatures leave nothing to chance.
func inMemory(key crypto.Signer) bool {
	switch key.(type) {
	case ed25519.PrivateKey, *ecdsa.PrivateKey, *rsa.PrivateKey:
		return true
	}
	return false
}

// PEM returns the key in the form that cosign and openssl read.
func (p Public) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: p.der()}))
}

// Hint names the key in a bundle as cosign does, by the hash of its DER form.
func (p Public) Hint() string {
	sum := sha256.Sum256(p.der())
	return base64.StdEncoding.EncodeToString(sum[:])
}

func (p Public) der() []byte {
	der, err := x509.MarshalPKIXPublicKey(p.Key)
	if err != nil { // PublicOf lets no key through that has no such form
		panic("sign: " + err.Error())
	}
	return der
}
