package sign_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"imx"
	"imx/internal/sign"
)

func TestKeysAreNamedAsSSHNamesThem(t *testing.T) {
	for name, key := range signers(t) {
		p := public(t, key)
		file := filepath.Join(t.TempDir(), name+".pub")
		if err := os.WriteFile(file, []byte(p.Line+" ada@laptop\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-l", "-f", file).Output()
		if err != nil || strings.Fields(string(out))[1] != p.ID {
			t.Errorf("%s: ssh-keygen says %q, %v; the ID is %s", name, out, err, p.ID)
		}
		again, err := sign.ParsePublic("# a comment\n\n" + p.Line + " ada@laptop\n")
		if err != nil || again.ID != p.ID || again.Line != p.Line {
			t.Errorf("%s: read back %+v, %v", name, again, err)
		}
		block, rest := pem.Decode([]byte(p.PEM()))
		if len(rest) > 0 {
			t.Fatalf("%s: after the PEM: %q", name, rest)
		}
		other, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if read, err := sign.PublicOf(other); err != nil || read.ID != p.ID {
			t.Errorf("%s: PEM of another key, %+v, %v", name, read, err)
		}
	}
}

func TestKeysThatDoNotCountAreRefused(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sign.PublicOf(short.Public()); imx.KindOf(err) != imx.Refused {
		t.Errorf("a short key: err = %v", err)
	}
	if _, err := sign.PublicOf(&ecdsa.PublicKey{}); imx.KindOf(err) != imx.Refused {
		t.Errorf("a key without a curve: err = %v", err)
	}
	good := public(t, p256(t)).Line
	for what, c := range map[string]struct {
		line string
		kind imx.Kind
		says string
	}{
		"a hardware token": {"sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnASAAAABHNzaDo=", imx.Refused, "is in a hardware token"},
		"two keys":         {good + "\n" + good, imx.Invalid, "more than one"},
		"options":          {`command="x" ` + good, imx.Invalid, "more than one"},
		"a private key":    {"-----BEGIN OPENSSH PRIVATE KEY-----\n", imx.Invalid, "no SSH public key"},
		"nothing":          {"", imx.Invalid, "no SSH public key"},
		"too much":         {strings.Repeat("#\n", 5000), imx.Invalid, "10000 bytes"},
	} {
		if _, err := sign.ParsePublic(c.line); imx.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: err = %v", what, err)
		}
	}
}

func FuzzParsePublic(f *testing.F) {
	f.Add("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS ada")
	f.Fuzz(func(t *testing.T, line string) {
		p, err := sign.ParsePublic(line)
		if err != nil {
			return
		}
		if again, err := sign.ParsePublic(p.Line); err != nil || again.ID != p.ID || again.Line != p.Line {
			t.Errorf("read %+v, and of its line %+v, %v", p, again, err)
		}
		p.PEM()
	})
}
