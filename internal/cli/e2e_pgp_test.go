package cli_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/rogpeppe/go-internal/testscript"
)

// pgpkey NAME makes an OpenPGP key: NAME has its private half, and NAME.asc the public one as GnuPG exports it.
func pgpkey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: pgpkey NAME")
	}
	entity, err := openpgp.NewEntity(args[0], "", args[0]+"@example.org", nil)
	ts.Check(err)
	var private, public bytes.Buffer
	ts.Check(entity.SerializePrivate(&private, nil))
	w, err := armor.Encode(&public, openpgp.PublicKeyType, nil)
	ts.Check(err)
	ts.Check(entity.Serialize(w))
	ts.Check(w.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), private.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".asc"), public.Bytes(), 0o600))
}

// pgpsign TREE KEY signs the newest commit of a working tree, as git commit -S does with GnuPG: the signature becomes a header of it.
func pgpsign(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: pgpsign TREE KEY")
	}
	git := func(in string, words ...string) string {
		cmd := exec.Command("git", append([]string{"-C", ts.MkAbs(args[0])}, words...)...)
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.Output()
		ts.Check(err)
		return string(out)
	}
	keys, err := openpgp.ReadKeyRing(strings.NewReader(ts.ReadFile(args[1])))
	ts.Check(err)
	unsigned := git("", "cat-file", "commit", "HEAD")
	var signature bytes.Buffer
	ts.Check(openpgp.ArmoredDetachSign(&signature, keys[0], strings.NewReader(unsigned), nil))
	head, message, _ := strings.Cut(unsigned, "\n\n")
	header := "\ngpgsig " + strings.ReplaceAll(strings.TrimSpace(signature.String()), "\n", "\n ")
	signed := git(head+header+"\n\n"+message, "hash-object", "-t", "commit", "-w", "--stdin")
	git("", "update-ref", "HEAD", strings.TrimSpace(signed))
}
