package archive

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"imx"
)

// errUnsigned is no foreignError: whoever stands between can take every signature off.
var errUnsigned = errors.New("isn't signed")

// foreignError says that only keys signed that aren't in the keyring: the file may be another vendor's and good.
type foreignError struct{ keys []string }

func (e *foreignError) Error() string {
	return "is signed by " + strings.Join(e.keys, " and ") + ", which the archive's keyring doesn't have"
}

func isForeign(err error) bool {
	var e *foreignError
	return errors.As(err, &e)
}

// keyrings remembers keyrings by their bytes: reading Debian's checks 100 signatures of its keys on
// themselves. Its methods may be called from several goroutines at once.
type keyrings struct {
	mu   sync.Mutex
	read map[imx.Digest]openpgp.EntityList
}

// maxKeyrings is how many keyrings are remembered; a machine has a handful.
const maxKeyrings = 32

// parse reads OpenPGP public keys, armoured or not.
func (k *keyrings) parse(b []byte) (openpgp.EntityList, error) {
	d := imx.DigestBytes(b)
	k.mu.Lock()
	defer k.mu.Unlock()
	if ring, ok := k.read[d]; ok {
		return ring, nil
	}
	ring, err := readKeyring(b)
	if err != nil {
		return nil, err
	}
	if k.read == nil || len(k.read) >= maxKeyrings {
		k.read = map[imx.Digest]openpgp.EntityList{}
	}
	k.read[d] = ring
	return ring, nil
}

func readKeyring(b []byte) (openpgp.EntityList, error) {
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("-----BEGIN")) {
		return openpgp.ReadArmoredKeyRing(bytes.NewReader(b))
	}
	return openpgp.ReadKeyRing(bytes.NewReader(b))
}

// openSigned returns the text that a clear-signed file signs. One good signature by a key of the
// ring is enough, as for apt: archives sign with the old and the new key while they change it.
// Text outside the signature is refused, because a reader could take it for signed.
func openSigned(raw []byte, ring openpgp.EntityList, now time.Time) ([]byte, error) {
	block, rest := clearsign.Decode(raw)
	if block == nil {
		return nil, errUnsigned
	}
	if !bytes.HasPrefix(raw, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("has text outside its signature")
	}
	signatures, err := readSignatures(block.ArmoredSignature.Body)
	if err != nil {
		return nil, err
	}
	foreign := &foreignError{}
	var worst error
	for _, sig := range signatures {
		switch err := checkSignature(sig, block.Bytes, ring, now); {
		case err == nil:
			return block.Plaintext, nil
		case errors.Is(err, pgperrors.ErrUnknownIssuer):
			foreign.keys = append(foreign.keys, keyName(sig))
		default:
			worst = fmt.Errorf("has a wrong signature by %s: %w", keyName(sig), err)
		}
	}
	switch {
	case worst != nil:
		return nil, worst
	case len(foreign.keys) == 0:
		return nil, errUnsigned
	}
	return nil, foreign
}

func readSignatures(r io.Reader) ([]*packet.Signature, error) {
	var list []*packet.Signature
	packets := packet.NewReader(r)
	for len(list) < 16 { // archives have one to three
		p, err := packets.Next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("has an unreadable signature: %w", err)
		}
		sig, ok := p.(*packet.Signature)
		if !ok || sig.IssuerKeyId == nil {
			return nil, errors.New("has a signature that isn't one, or names no key")
		}
		list = append(list, sig)
	}
	return nil, errors.New("has too many signatures")
}

// checkSignature verifies one signature, and that neither its hash nor its key is out of use.
func checkSignature(sig *packet.Signature, signed []byte, ring openpgp.EntityList, now time.Time) error {
	if len(ring.KeysById(*sig.IssuerKeyId)) == 0 {
		return pgperrors.ErrUnknownIssuer
	}
	strong := []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}
	if !slices.Contains(strong, sig.Hash) {
		return fmt.Errorf("its hash %s is too weak, SHA-256 or better is needed", sig.Hash)
	}
	if sig.SigType != packet.SigTypeText && sig.SigType != packet.SigTypeBinary {
		return errors.New("it signs something else than a text")
	}
	var one bytes.Buffer
	if err := sig.Serialize(&one); err != nil {
		return err
	}
	config := &packet.Config{Time: func() time.Time { return now }}
	_, _, err := openpgp.VerifyDetachedSignature(ring, bytes.NewReader(signed), &one, config)
	return err
}

func keyName(sig *packet.Signature) string {
	return fmt.Sprintf("key %016X", *sig.IssuerKeyId)
}

// onlySigners returns those keys of the ring that a Signed-By value (sources.list(5)) allows:
// fingerprints, key files, or a key itself. None is left where it names other keys, and then the
// source isn't the ring's archive.
func (k *keyrings) onlySigners(ring openpgp.EntityList, signedBy string, read func(path string) ([]byte, error)) openpgp.EntityList {
	var allowed []string
	if strings.Contains(signedBy, "-----BEGIN") {
		allowed = k.fingerprints(embeddedKey(signedBy))
	} else {
		for _, word := range strings.FieldsFunc(signedBy, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' }) {
			if !strings.HasPrefix(word, "/") {
				allowed = append(allowed, strings.ToLower(strings.TrimSuffix(word, "!")))
				continue
			}
			if b, err := read(word); err == nil {
				allowed = append(allowed, k.fingerprints(b)...)
			}
		}
	}
	var only openpgp.EntityList
	for _, e := range ring {
		if slices.ContainsFunc(entityFingerprints(e), func(f string) bool { return slices.Contains(allowed, f) }) {
			only = append(only, e)
		}
	}
	return only
}

// embeddedKey undoes the folding of a deb822 value: a line's first blank, and "." for an empty one.
func embeddedKey(value string) []byte {
	var b strings.Builder
	for line := range strings.Lines(value) {
		line = strings.TrimSpace(line)
		if line == "." {
			line = ""
		}
		b.WriteString(line + "\n")
	}
	return []byte(b.String())
}

func (k *keyrings) fingerprints(keyring []byte) []string {
	ring, err := k.parse(keyring)
	if err != nil {
		return nil // an unreadable keyring allows nobody
	}
	var all []string
	for _, e := range ring {
		all = append(all, entityFingerprints(e)...)
	}
	return all
}

func entityFingerprints(e *openpgp.Entity) []string {
	all := []string{hex.EncodeToString(e.PrimaryKey.Fingerprint)}
	for _, sub := range e.Subkeys {
		all = append(all, hex.EncodeToString(sub.PublicKey.Fingerprint))
	}
	return all
}
