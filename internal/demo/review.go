package demo

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"imx"
)

// review sells something else; page is what the template sells. It shows that nothing is released that nobody else has looked at, where the policy asks for that.
func (s *stage) review(ctx context.Context, page string) error {
	s.say("From now on a second person must have looked at what is released: Ada, with an SSH key of hers.")
	key := filepath.Join(s.dir, "ada")
	if err := writeKey(key); err != nil {
		return err
	}
	if err := s.imx(ctx, "", 0, "person", "add", "ada", "--key", key+".pub", "--role", "reviewer"); err != nil {
		return err
	}
	if err := s.imx(ctx, "", 0, "policy", "set", "--reviews", "1"); err != nil {
		return err
	}
	const next = "Today: cocoa."
	if err := s.edit(ctx, "index.html", page, next, "Sell cocoa"); err != nil {
		return err
	}
	if err := s.imx(ctx, "refuse it without a review", exitWaits, "apply", "--yes", s.shop); err != nil {
		return err
	}
	id, err := s.waiting(ctx)
	if err != nil {
		return err
	}
	s.say("Ada sees what would change, and signs her approval of exactly that.")
	for _, c := range []struct {
		name string
		args []string
	}{
		{"", []string{"review", id}},
		{"", []string{"approve", id, "--key", key}},
		{"release what was approved", []string{"release", id}},
		{"", []string{"verify", "web"}},
	} {
		if err := s.imx(ctx, c.name, 0, c.args...); err != nil {
			return err
		}
	}
	return s.expectPage(ctx, next)
}

// waiting returns the one candidate that is open.
func (s *stage) waiting(ctx context.Context) (string, error) {
	status, err := s.client.Status(ctx, time.Time{})
	if err != nil {
		return "", err
	}
	for id, c := range status.State.Candidates {
		if c.State == imx.CandidateOpen {
			return id, nil
		}
	}
	return "", imx.Errorf(imx.Internal, "no candidate waits for an approval")
}

// writeKey makes a key as ssh-keygen does, and writes it and its public half.
func writeKey(path string) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, "ada")
	if err != nil {
		return err
	}
	line, err := ssh.NewPublicKey(public)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	return os.WriteFile(path+".pub", ssh.MarshalAuthorizedKey(line), 0o600)
}
