package eventlog

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"imx"
)

// The files of the key, below the log's folder.
func privateKeyPath(dir string) string { return filepath.Join(dir, "keys", "log.key") }
func publicKeyPath(dir string) string  { return filepath.Join(dir, "keys", "log.pub") }

// origin is a log's name: the first line of its checkpoints and the name of its key. It is unique,
// so that a checkpoint can't be taken for another log's.
func newOrigin() (string, error) {
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		return "", err
	}
	return "imx/log/" + hex.EncodeToString(id), nil
}

// makeKey makes the key of a new log. The public half comes last: a key without it is one whose
// making was interrupted, and is made anew.
func makeKey(d disk, dir string) error {
	origin, err := newOrigin()
	if err != nil {
		return err
	}
	private, public, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return err
	}
	if err := d.mkdir(filepath.Join(dir, "keys")); err != nil {
		return err
	}
	if err := d.replace(privateKeyPath(dir), []byte(private+"\n"), 0o600); err != nil {
		return err
	}
	if err := d.replace(publicKeyPath(dir), []byte(public+"\n"), 0o644); err != nil {
		return err
	}
	return errors.Join(d.syncDir(dir), d.syncDir(filepath.Dir(dir)))
}

// publicKey reads the key that a log's checkpoints are verified with.
func publicKey(dir string) (string, note.Verifier, error) {
	text, err := line(os.ReadFile(publicKeyPath(dir)))
	if err != nil {
		return "", nil, err
	}
	v, err := verifier(text)
	if err != nil {
		return "", nil, fmt.Errorf("keys/log.pub: %w", err)
	}
	return text, v, nil
}

// verifier is note.NewVerifier, but takes a key in one form only: a changed bit that note would
// read over (an upper-case digit, an unused bit of base64) is a changed key.
func verifier(text string) (note.Verifier, error) {
	v, err := note.NewVerifier(text)
	if err != nil {
		return nil, err
	}
	if !canonical(text, fmt.Sprintf("%s+%08x+", v.Name(), v.KeyHash())) {
		return nil, errors.New("malformed verifier key")
	}
	return v, nil
}

// signer reads the private key, which must belong to the public one.
func signer(dir string, public note.Verifier) (note.Signer, error) {
	text, err := line(os.ReadFile(privateKeyPath(dir)))
	if err != nil {
		return nil, err
	}
	s, err := note.NewSigner(text)
	if err != nil {
		return nil, fmt.Errorf("keys/log.key: %w", err)
	}
	if !canonical(text, fmt.Sprintf("PRIVATE+KEY+%s+%08x+", s.Name(), s.KeyHash())) {
		return nil, errors.New("keys/log.key: malformed signer key")
	}
	if s.Name() != public.Name() || s.KeyHash() != public.KeyHash() {
		return nil, errors.New("keys/log.key doesn't belong to keys/log.pub")
	}
	return s, nil
}

// canonical reports whether text is prefix and then base64 as it is written.
func canonical(text, prefix string) bool {
	encoded, ok := strings.CutPrefix(text, prefix)
	return ok && canonicalBase64(encoded)
}

func canonicalBase64(encoded string) bool {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	return err == nil && base64.StdEncoding.EncodeToString(raw) == encoded
}

// line takes the one line out of a file that was read.
func line(b []byte, err error) (string, error) {
	if err != nil {
		return "", err
	}
	text, ok := strings.CutSuffix(string(b), "\n")
	if !ok {
		return "", errors.New("the key is cut short")
	}
	return text, nil
}

// keys reads both halves, and makes them for a log that is new.
func keys(d disk, dir string, fresh func() (bool, error)) (string, note.Signer, error) {
	_, err := os.Stat(publicKeyPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		isNew, err := fresh()
		if err != nil {
			return "", nil, err
		}
		if !isNew {
			return "", nil, damaged(0, errors.New("its key, keys/log.pub, is missing"))
		}
		if err := makeKey(d, dir); err != nil {
			return "", nil, trouble("making the log's key", err)
		}
	}
	text, public, err := publicKey(dir)
	if err != nil {
		return "", nil, damaged(0, err)
	}
	s, err := signer(dir, public)
	if err != nil {
		return "", nil, imx.Errorf(imx.Refused, "the log can't be signed with its key: %w", err).
			WithHint("put keys/log.key back from a backup; the log itself may be whole: imx log verify")
	}
	return text, s, nil
}
