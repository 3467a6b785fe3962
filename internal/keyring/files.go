package keyring

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"

	"imx"
	"imx/internal/disk"
)

// sealedName is the ending of the files with sealed keys, and maxFile the most that one may have in bytes.
const (
	sealedName = ".age"
	maxFile    = 64 << 10
)

// lost tells what to do about keys that can't be opened.
const lost = "put back the identity and the folder %s from a backup. If they are lost, move both away: the next start makes new keys, " +
	"and what the old ones signed still counts"

// Files keeps one key of each role in a file of a folder, sealed with age to an identity in another file.
type Files struct {
	dir      string
	path     string // of the identity
	identity age.Identity
	seal     age.Recipient
}

// OpenFiles opens the folder with sealed keys, and the identity in the file at a path. Both are made where neither is there.
// Errors: Refused for an identity that is lost, damaged, or that others may read.
func OpenFiles(dir, identity string) (*Files, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, imx.Errorf(imx.Invalid, "the folder for keys can't be made: %w", err)
	}
	f := &Files{dir: dir, path: identity}
	if err := f.tidy(); err != nil {
		return nil, err
	}
	raw, err := readSmall(identity)
	if errors.Is(err, fs.ErrNotExist) {
		raw, err = f.begin()
	}
	if err != nil {
		return nil, err
	}
	if st, err := os.Stat(identity); err != nil || st.Mode().Perm()&0o077 != 0 {
		return nil, imx.Errorf(imx.Refused, "the identity %s may be read by others than its owner", identity).
			WithHint("whoever has it can open this server's keys: chmod 600 %s, and imx key rotate if somebody else could read it", identity)
	}
	return f, f.use(raw)
}

// tidy removes what a dead process left.
func (f *Files) tidy() error {
	left, err := filepath.Glob(filepath.Join(f.dir, disk.Staged))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// begin makes an identity, unless there are keys that another one sealed.
func (f *Files) begin() ([]byte, error) {
	sealed, err := filepath.Glob(filepath.Join(f.dir, "*"+sealedName))
	if err != nil {
		return nil, err
	}
	if len(sealed) > 0 {
		return nil, imx.Errorf(imx.Refused, "the identity %s, which this server's keys are sealed to, isn't there", f.path).
			WithHint(lost+"; or name where it is with --identity", f.dir)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	raw := []byte("# opens the keys in " + f.dir + ": keep it secret, and a copy of it elsewhere\n" + identity.String() + "\n")
	return raw, disk.Error(disk.WriteWhole(f.path, raw, 0o600), "keeping the identity "+f.path)
}

// use takes the identity that a file's bytes are.
func (f *Files) use(raw []byte) error {
	damaged := imx.Errorf(imx.Refused, "the file %s holds no age identity: it is damaged, or another file", f.path).WithHint(lost, f.dir)
	all, err := age.ParseIdentities(bytes.NewReader(raw))
	if err != nil || len(all) != 1 {
		return damaged
	}
	switch id := all[0].(type) {
	case *age.X25519Identity:
		f.identity, f.seal = id, id.Recipient()
	case *age.HybridIdentity:
		f.identity, f.seal = id, id.Recipient()
	default:
		return damaged
	}
	return nil
}

func (f *Files) file(role imx.Role) string { return filepath.Join(f.dir, string(role)+sealedName) }

// Keys implements Store: there is one key of a role, or none.
func (f *Files) Keys(role imx.Role) ([]crypto.Signer, error) {
	sealed, err := readSmall(f.file(role))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	key, err := f.open(sealed)
	if err != nil {
		return nil, imx.Errorf(imx.Refused, "the %s's key in %s can't be opened with the identity %s: %w", role, f.file(role), f.path, err).WithHint(lost, f.dir)
	}
	return []crypto.Signer{key}, nil
}

func (f *Files) open(sealed []byte) (crypto.Signer, error) {
	plain, err := age.Decrypt(bytes.NewReader(sealed), f.identity)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(plain, maxFile))
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	if block == nil || len(rest) > 0 || block.Type != "PRIVATE KEY" {
		return nil, errors.New("there is no private key in it")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T doesn't sign", key)
	}
	return signer, nil
}

// Make implements Store. The role's key before it is gone then: nothing needs it any more.
func (f *Files) Make(role imx.Role) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, f.seal)
	if err == nil {
		err = pem.Encode(w, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, imx.Errorf(imx.Internal, "the %s's new key can't be sealed: %w", role, err)
	}
	return key, disk.Error(disk.WriteWhole(f.file(role), sealed.Bytes(), 0o600), "keeping the "+string(role)+"'s new key")
}

// Close implements Store.
func (f *Files) Close() error { return nil }

// readSmall reads a file, if it isn't larger than any that is kept here.
func readSmall(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read from
	raw, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(raw) > maxFile {
		return nil, imx.Errorf(imx.Refused, "the file %s is larger than any with a key", path).WithHint("it isn't one that imx wrote")
	}
	return raw, err
}
