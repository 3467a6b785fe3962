// Package sign makes signed statements and says which of them count: DSSE envelopes in sigstore's bundles, and the
// keys that sign them. It keeps no key, reads no clock and no file; who may say yes to what is a policy's matter.
package sign

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"imx"
	"imx/internal/statement"
)

// Media is the media type of a bundle, https://docs.sigstore.dev/about/bundle.
const Media = "application/vnd.dev.sigstore.bundle.v0.3+json"

// PayloadType is the type of what is signed: an in-toto statement.
const PayloadType = "application/vnd.in-toto+json"

// MaxBundle bounds the bytes of a bundle: the largest statement in base64, and what is around it.
const MaxBundle = statement.Max/3*4 + 64<<10

// Bundle is a statement and one signature of it.
type Bundle struct {
	Hint      string // Public.Hint of the key that is said to have signed
	Payload   []byte // the statement's JSON
	Signature []byte // of PAE(PayloadType, Payload)
}

// The parts of a bundle that imx writes and reads; a certificate, a time stamp or a transparency log's entry isn't one.
type (
	bundleJSON struct {
		MediaType            string       `json:"mediaType"`
		VerificationMaterial materialJSON `json:"verificationMaterial"`
		Envelope             envelopeJSON `json:"dsseEnvelope"`
	}
	materialJSON struct {
		PublicKey hintJSON `json:"publicKey"`
	}
	hintJSON struct {
		Hint string `json:"hint"`
	}
	envelopeJSON struct {
		Payload     []byte          `json:"payload"`
		PayloadType string          `json:"payloadType"`
		Signatures  []signatureJSON `json:"signatures"`
	}
	signatureJSON struct {
		Sig []byte `json:"sig"`
	}
)

// PAE is what is signed in place of a payload, so that its type is signed too:
// https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md.
func PAE(payloadType string, payload []byte) []byte {
	b := make([]byte, 0, len(payload)+len(payloadType)+48)
	b = append(b, "DSSEv1 "...)
	b = strconv.AppendInt(b, int64(len(payloadType)), 10)
	b = append(b, ' ')
	b = append(b, payloadType...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(payload)), 10)
	b = append(b, ' ')
	return append(b, payload...)
}

// Seal signs a statement, in the form that statement.Parse reads, and returns the bundle. A key whose signatures leave
// nothing to chance, as keys in memory are, gives the same bundle each time.
// Errors: Refused for a statement of another form or a key of a kind that doesn't count; and those of the key.
func Seal(payload []byte, key crypto.Signer) ([]byte, error) {
	if _, err := statement.Parse(payload); err != nil {
		return nil, err
	}
	public, err := PublicOf(key.Public())
	if err != nil {
		return nil, err
	}
	signature, err := crypto.SignMessage(key, nonce(key), PAE(PayloadType, payload), public.hash)
	if err != nil {
		return nil, fmt.Errorf("the key %s doesn't sign: %w", public.ID, err)
	}
	b := Bundle{Hint: public.Hint(), Payload: payload, Signature: signature}
	if err := b.Verify(public); err != nil {
		return nil, fmt.Errorf("what the key %s just signed doesn't hold: %w", public.ID, err)
	}
	return b.JSON()
}

// nonce returns no source of chance for keys that need none, else the system's.
func nonce(key crypto.Signer) io.Reader {
	if inMemory(key) {
		return nil
	}
	return rand.Reader
}

// JSON returns the bundle's bytes, the only form in which Open reads it.
func (b Bundle) JSON() ([]byte, error) {
	raw, err := json.Marshal(bundleJSON{
		MediaType: Media, VerificationMaterial: materialJSON{hintJSON{b.Hint}},
		Envelope: envelopeJSON{b.Payload, PayloadType, []signatureJSON{{b.Signature}}},
	})
	if err != nil {
		return nil, imx.Errorf(imx.Internal, "a bundle can't be written as JSON: %w", err)
	}
	return raw, nil
}

// Open reads a bundle in the one form in which imx writes them: with one signature, no key twice or unknown and no
// bytes around it, no two readers can take it for two things. It verifies nothing. Errors: Refused.
func Open(raw []byte) (Bundle, error) {
	if len(raw) > MaxBundle {
		return Bundle{}, imx.Errorf(imx.Refused, "the bundle has %d bytes, more than %d", len(raw), MaxBundle)
	}
	var j bundleJSON
	if err := json.Unmarshal(raw, &j); err != nil {
		return Bundle{}, imx.Errorf(imx.Refused, "this is no signed statement: %w", err)
	}
	switch {
	case j.MediaType != Media:
		return Bundle{}, imx.Errorf(imx.Refused, "the bundle is of type %.80q, and not %s", j.MediaType, Media)
	case j.Envelope.PayloadType != PayloadType:
		return Bundle{}, imx.Errorf(imx.Refused, "the bundle signs something of type %.80q, and not %s", j.Envelope.PayloadType, PayloadType)
	case len(j.Envelope.Signatures) != 1:
		return Bundle{}, imx.Errorf(imx.Refused, "the bundle has %d signatures, and not one", len(j.Envelope.Signatures))
	}
	b := Bundle{Hint: j.VerificationMaterial.PublicKey.Hint, Payload: j.Envelope.Payload, Signature: j.Envelope.Signatures[0].Sig}
	if again, err := b.JSON(); err != nil || !bytes.Equal(again, raw) {
		return Bundle{}, imx.Errorf(imx.Refused, "the bundle isn't in the form that imx writes: it has keys that aren't known, keys twice, or bytes around it")
	}
	return b, nil
}

// Verify reports, as an error of kind Refused, whether the bundle isn't signed with a key.
func (b Bundle) Verify(p Public) error {
	if b.Hint != p.Hint() {
		return imx.Errorf(imx.Refused, "it says that it was signed with another key than %s", p.ID)
	}
	if !p.fits(PAE(PayloadType, b.Payload), b.Signature) {
		return imx.Errorf(imx.Refused, "the signature doesn't fit: it was changed, or signed with another key than %s", p.ID)
	}
	return nil
}
