// Package sshsign signs with the SSH keys that people have: those in an agent, or in a file. It runs where the person is,
// and keeps no key; which keys count, the server knows.
package sshsign

import (
	"context"
	"crypto"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"imx"
	"imx/internal/sign"
)

// Choice says with which key a person wants to sign.
type Choice struct {
	Socket string // of the agent: $SSH_AUTH_SOCK; "" means that there is none
	// Key is a file with a private key, a file with a public key whose private one the agent has, or a key's ID or the
	// beginning of it. "" means the agent's one key that is known.
	Key string
	// Known are the IDs of keys whose signatures would count; nil means all.
	Known []string
	// Passphrase asks the person for the passphrase of a file; nil means that nobody can be asked.
	Passphrase func(ctx context.Context, file string) ([]byte, error)
}

// Key is a key that a person chose, open to sign. It is a crypto.Signer for sign.Seal. It must be closed.
type Key struct {
	ID string // imx.Key.ID

	signer crypto.Signer
	close  func() error
}

// Public implements crypto.Signer.
func (k *Key) Public() crypto.PublicKey { return k.signer.Public() }

// Sign implements crypto.Signer. A key in an agent refuses: it signs messages alone.
func (k *Key) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.signer.Sign(r, digest, opts)
}

// Close ends the connection to the agent, if there is one.
func (k *Key) Close() error {
	if k.close == nil {
		return nil
	}
	return k.close()
}

// SignMessage implements crypto.MessageSigner: an agent hashes what it signs itself.
func (k *Key) SignMessage(r io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return crypto.SignMessage(k.signer, r, message, opts)
}

// Open opens the key that a person chose; of a public one's file that no agent has the private key of, the private one beside it. It ends, also in the middle of a signature, with ctx.
// Errors: NotFound for a key or file that isn't there; Invalid for a file without a key, or where several keys could be
// meant; Refused for a key of a kind that doesn't count, a wrong passphrase, or a file that others may read; Unavailable
// for an agent that doesn't answer.
func Open(ctx context.Context, c Choice) (*Key, error) {
	if c.Key == "" || isID(c.Key) {
		return fromAgent(ctx, c, func(p sign.Public) bool { return meant(c, p) })
	}
	text, err := os.ReadFile(c.Key)
	if errors.Is(err, os.ErrNotExist) {
		k, err := fromAgent(ctx, c, func(p sign.Public) bool { return meant(c, p) })
		if imx.KindOf(err) == imx.NotFound {
			err = imx.Errorf(imx.NotFound, "there is no file %s, and no key by that ID: %w", c.Key, err).WithHint("%s", imx.AsError(err).Hint)
		}
		return k, err
	}
	if err != nil {
		return nil, imx.Errorf(imx.NotFound, "the key can't be read: %w", err)
	}
	if isPrivate(text) {
		return fromFile(ctx, c, text)
	}
	wanted, err := sign.ParsePublic(string(text))
	if err != nil {
		return nil, err
	}
	k, err := fromAgent(ctx, c, func(p sign.Public) bool { return p.ID == wanted.ID })
	if err == nil {
		return k, nil
	}
	if private, ok := strings.CutSuffix(c.Key, ".pub"); ok {
		if text, missing := os.ReadFile(private); missing == nil && isPrivate(text) {
			c.Key = private
			return fromFile(ctx, c, text)
		}
	}
	return nil, err
}

func isPrivate(text []byte) bool { return strings.Contains(string(text), "PRIVATE KEY-----") }

const idPrefix = "SHA256:"

func isID(key string) bool { return strings.HasPrefix(key, idPrefix) }

// meant reports whether a choice that names no file means a key.
func meant(c Choice, p sign.Public) bool {
	if c.Key != "" {
		return strings.HasPrefix(strings.TrimPrefix(p.ID, idPrefix), strings.TrimPrefix(c.Key, idPrefix))
	}
	if c.Known == nil {
		return true
	}
	return slices.Contains(c.Known, p.ID)
}
