//go:build pkcs11

package keyring_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"imx"
	"imx/internal/keyring"
	"imx/internal/sign"
	"imx/internal/statement"
)

const module = "/usr/lib/softhsm/libsofthsm2.so"

// token makes a token of SoftHSM in a folder of its own, and returns what names it.
func token(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat(module); err != nil {
		t.Skipf("this test needs SoftHSM, Debian's softhsm2: %v", err)
	}
	dir := t.TempDir()
	conf, pin := filepath.Join(dir, "softhsm2.conf"), filepath.Join(dir, "pin")
	for path, text := range map[string]string{conf: "directories.tokendir = " + dir + "\nobjectstore.backend = file\n", pin: "1234\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	out, err := exec.CommandContext(t.Context(), "softhsm2-util", "--init-token", "--free", "--label", "imx", "--pin", "1234", "--so-pin", "5678").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return module + ":imx:" + pin
}

func openToken(t *testing.T, where string) keyring.Store {
	t.Helper()
	s, err := keyring.OpenToken(where)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestATokensKeysSignAndStayInIt(t *testing.T) {
	where := token(t)
	s := openToken(t, where)
	if got := stored(t, s, imx.RoleBuilder); len(got) != 0 {
		t.Errorf("at first there are %d keys", len(got))
	}
	key := made(t, s, imx.RoleBuilder)
	made(t, s, imx.RoleTester)
	raw := []byte(`{"_type":"` + imx.StatementType + `","subject":[{"digest":{"sha256":"` + strings.Repeat("ab", 32) + `"}}],"predicateType":"` + imx.PredicateProvenance + `","predicate":{}}`)
	if _, err := statement.Parse(raw); err != nil {
		t.Fatal(err)
	}
	bundle, err := sign.Seal(raw, key)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := sign.Open(bundle)
	if err != nil {
		t.Fatal(err)
	}
	p, err := sign.PublicOf(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.Verify(p); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := openToken(t, where)
	if got := stored(t, again, imx.RoleBuilder); len(got) != 1 || !same(got[0], key) {
		t.Errorf("after a start there are %d keys, or another", len(got))
	}
	made(t, again, imx.RoleBuilder)
	if got := stored(t, again, imx.RoleBuilder); len(got) != 2 {
		t.Errorf("after a new one there are %d keys", len(got))
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestATokenThatDoesNotOpenIsRefused(t *testing.T) {
	where := token(t)
	if _, err := keyring.OpenToken("imx"); imx.KindOf(err) != imx.Invalid {
		t.Errorf("no token: err = %v", err)
	}
	if _, err := keyring.OpenToken(strings.Replace(where, ":imx:", ":other:", 1)); imx.KindOf(err) != imx.Refused {
		t.Errorf("another label: err = %v", err)
	}
	if _, err := keyring.OpenToken(where + "-none"); imx.KindOf(err) != imx.Refused {
		t.Errorf("no PIN: err = %v", err)
	}
}
