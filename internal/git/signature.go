package git

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"imx"
)

// namespace is what Git has SSH signatures made for (gpg.format=ssh).
const namespace = "git"

// Signer says whose key signed an object, and which: one of a person who may, which counts at a moment.
// Errors: Refused with why no signature of it counts.
func Signer(o Object, keys map[string]imx.Key, people map[imx.Principal]imx.Person, now time.Time) (imx.Key, error) {
	var k imx.Key
	var err error
	switch {
	case o.Signature == "":
		return imx.Key{}, imx.Errorf(imx.Refused, "it isn't signed")
	case strings.HasPrefix(o.Signature, "-----BEGIN SSH SIGNATURE-----"):
		k, err = sshSigner(o, keys)
	case strings.HasPrefix(o.Signature, "-----BEGIN PGP SIGNATURE-----"):
		k, err = pgpSigner(o, keys, now)
	default:
		return imx.Key{}, imx.Errorf(imx.Refused, "its signature is neither SSH's nor OpenPGP's")
	}
	if err != nil {
		return imx.Key{}, err
	}
	return k, counts(k, people, now)
}

func counts(k imx.Key, people map[imx.Principal]imx.Person, now time.Time) error {
	switch p, ok := people[k.Owner]; {
	case k.Compromised:
		return imx.Errorf(imx.Refused, "its signer's key %s is compromised: %s", k.ID, k.Reason)
	case !k.Until.IsZero() && !now.Before(k.Until):
		return imx.Errorf(imx.Refused, "its signer's key %s ended at %s: %s", k.ID, k.Until.Format(time.RFC3339), k.Reason)
	case !ok:
		return imx.Errorf(imx.Refused, "the key %s that signed it is nobody's whom imx knows", k.ID)
	case !p.Has(imx.RoleAuthor):
		return imx.Errorf(imx.Refused, "%s, who signed it, hasn't the role %s", k.Owner, imx.RoleAuthor).
			WithHint("imx person add %s --role author gives it", k.Owner)
	}
	return nil
}

func sshSigner(o Object, keys map[string]imx.Key) (imx.Key, error) {
	s, err := sshsig.Unarmor([]byte(o.Signature))
	if err != nil {
		return imx.Key{}, imx.Errorf(imx.Refused, "its SSH signature can't be read: %w", err)
	}
	id := ssh.FingerprintSHA256(s.PublicKey)
	k, ok := keys[id]
	if !ok || k.Role != "" {
		return imx.Key{}, imx.Errorf(imx.Refused, "the key %s that signed it is nobody's whom imx knows", id).
			WithHint("imx person add NAME --key FILE --role author makes it known")
	}
	// The signature brings its key along, and the fingerprint has shown that it is the one that is known.
	if err := sshsig.Verify(bytes.NewReader(o.Payload), s, s.PublicKey, s.HashAlgorithm, namespace); err != nil {
		return imx.Key{}, imx.Errorf(imx.Refused, "its signature by %s is wrong: %w", id, err)
	}
	return k, nil
}

func pgpSigner(o Object, keys map[string]imx.Key, now time.Time) (imx.Key, error) {
	var ring openpgp.EntityList
	for _, k := range keys {
		if !strings.HasPrefix(k.Public, "-----BEGIN PGP PUBLIC KEY BLOCK-----") {
			continue
		}
		entities, err := openpgp.ReadArmoredKeyRing(strings.NewReader(k.Public))
		if err != nil {
			return imx.Key{}, imx.Errorf(imx.Internal, "the key %s can't be read: %w", k.ID, err)
		}
		ring = append(ring, entities...)
	}
	signer, err := openpgp.CheckArmoredDetachedSignature(ring, bytes.NewReader(o.Payload), strings.NewReader(o.Signature), &packet.Config{Time: func() time.Time { return now }})
	if errors.Is(err, pgperrors.ErrUnknownIssuer) {
		return imx.Key{}, imx.Errorf(imx.Refused, "the OpenPGP key that signed it is nobody's whom imx knows").
			WithHint("imx person add NAME --key FILE --role author makes it known")
	}
	if err != nil {
		return imx.Key{}, imx.Errorf(imx.Refused, "its OpenPGP signature is wrong: %w", err)
	}
	id := PGPFingerprint(signer)
	k, ok := keys[id]
	if !ok {
		return imx.Key{}, imx.Errorf(imx.Internal, "the key %s is kept under another name", id)
	}
	return k, nil
}

// PGPFingerprint is the ID of an OpenPGP key as imx.Key has it.
func PGPFingerprint(e *openpgp.Entity) string {
	return strings.ToUpper(hex.EncodeToString(e.PrimaryKey.Fingerprint))
}
