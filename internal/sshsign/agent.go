package sshsign

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"imx"
	"imx/internal/sign"
)

// fromAgent opens the one key of the agent that is wanted.
func fromAgent(ctx context.Context, c Choice, wanted func(sign.Public) bool) (*Key, error) {
	if c.Socket == "" {
		return nil, imx.Errorf(imx.NotFound, "there is no SSH agent%s", named(c)).
			WithHint("start one and add a key, eval $(ssh-agent) && ssh-add; or name a file with a private key: --key ~/.ssh/id_ed25519")
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.Socket)
	if err != nil {
		return nil, imx.Errorf(imx.Unavailable, "the SSH agent doesn't answer: %w", err).WithHint("SSH_AUTH_SOCK names its socket; ssh-add -l asks it too")
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	end := func() error { stop(); return conn.Close() }
	k, err := pick(agent.NewClient(conn), wanted)
	if err != nil {
		return nil, errors.Join(err, end())
	}
	k.close = end
	return k, nil
}

// named is what a person called the key that is looked for.
func named(c Choice) string {
	if c.Key == "" {
		return ""
	}
	return fmt.Sprintf(", and %s isn't a file with a private key", c.Key)
}

func pick(a agent.ExtendedAgent, wanted func(sign.Public) bool) (*Key, error) {
	list, err := a.List()
	if err != nil {
		return nil, imx.Errorf(imx.Unavailable, "the SSH agent doesn't tell its keys: %w", err)
	}
	var found []*Key
	var there []string
	for _, one := range list {
		line := one.Type() + " " + ssh.FingerprintSHA256(one)
		if p, err := sign.ParsePublic(one.String()); err != nil {
			line += " (doesn't count)"
		} else if wanted(p) {
			found = append(found, &Key{ID: p.ID, signer: &agentKey{a, one, p}})
		}
		there = append(there, line)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		err := imx.Errorf(imx.NotFound, "the SSH agent has no key that is wanted")
		if len(there) == 0 {
			return nil, err.WithHint("it has none at all: ssh-add adds one")
		}
		return nil, err.WithHint("it has %s; imx key list shows those that count", strings.Join(there, ", "))
	}
	ids := make([]string, 0, len(found))
	for _, k := range found {
		ids = append(ids, k.ID)
	}
	return nil, imx.Errorf(imx.Invalid, "the SSH agent has %d keys that could be meant", len(found)).
		WithHint("name one with --key: %s", strings.Join(ids, ", "))
}

// agentKey is a key in an agent. It signs messages, not hashes of them.
type agentKey struct {
	agent  agent.ExtendedAgent
	key    *agent.Key
	public sign.Public
}

// Public implements crypto.Signer.
func (k *agentKey) Public() crypto.PublicKey { return k.public.Key }

// Sign implements crypto.Signer, and refuses: an agent hashes what it signs itself.
func (k *agentKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("an SSH agent signs no hashes")
}

// SignMessage implements crypto.MessageSigner, with the hash that goes with the key, whatever opts say.
func (k *agentKey) SignMessage(_ io.Reader, message []byte, _ crypto.SignerOpts) ([]byte, error) {
	var flags agent.SignatureFlags
	if k.key.Type() == ssh.KeyAlgoRSA {
		flags = agent.SignatureFlagRsaSha256
	}
	s, err := k.agent.SignWithFlags(k.key, message, flags)
	if err != nil {
		return nil, imx.Errorf(imx.Refused, "the SSH agent doesn't sign with %s: %w", k.public.ID, err).WithHint("it may have asked you, or be locked: ssh-add -l")
	}
	if _, ok := k.public.Key.(*ecdsa.PublicKey); ok {
		return plainECDSA(s.Blob)
	}
	return s.Blob, nil
}

// plainECDSA turns an ECDSA signature from SSH's form (RFC 5656) to the one that all others read (RFC 3279).
func plainECDSA(blob []byte) ([]byte, error) {
	var s struct{ R, S *big.Int }
	if err := ssh.Unmarshal(blob, &s); err != nil {
		return nil, fmt.Errorf("the SSH agent's signature can't be read: %w", err)
	}
	return asn1.Marshal(s)
}
