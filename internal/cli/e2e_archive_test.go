package cli_test

// Scripts that need an archive of their own get a real one, signed by a key that nobody else has.

import (
	"bytes"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"imx/internal/archive/archivetest"
)

// ownArchive returns the command `ownarchive DIR`, which makes a signed archive of the suite "stable" and sets
// $MIRROR to its URL. Its one package is our-shop, which brings the program at $HELLO as /usr/bin/our-shop and depends
// on libc6 and zlib1g of somebody else's archive. DIR/own.asc has the key, and DIR/other.asc another one. With a second
// argument, the package gets that version, in a newer index.
func ownArchive(t *testing.T) func(*testscript.TestScript, bool, []string) {
	t.Helper()
	var made *archivetest.Archive // of the one script that uses it
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) == 0 || len(args) > 2 {
			ts.Fatalf("usage: ownarchive DIR [VERSION]")
		}
		shop := archivetest.Package{Name: "our-shop", Depends: "libc6 (>= 2.30), zlib1g", Files: []archivetest.File{
			{Path: "/usr/bin/our-shop", Content: ts.ReadFile(ts.Getenv("HELLO")), Mode: 0o755},
		}}
		if len(args) == 2 {
			shop.Version = args[1]
			made.Packages = []archivetest.Package{shop}
			made.Publish()
			return
		}
		made = archivetest.New(t)
		made.Suite, made.Packages = "stable", []archivetest.Package{shop}
		made.Publish()
		ts.Setenv("MIRROR", "file://"+made.Dir)
		ts.Check(os.WriteFile(ts.MkAbs(args[0]+"/own.asc"), made.Keyring(), 0o600))
		var other bytes.Buffer
		ts.Check(archivetest.NewKey(t, "other").Serialize(&other))
		ts.Check(os.WriteFile(ts.MkAbs(args[0]+"/other.asc"), other.Bytes(), 0o600))
	}
}
