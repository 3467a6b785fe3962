package archive_test

// A mirror, and the network before it, may say anything. Here is what they can say, each tried with a real
// signed archive, over HTTP and from files: what is refused, in which words, and what is taken all the same.
// What a mirror can do to a transfer is in transport_test.go, and what it can put into a package in package build.

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"imx"
	"imx/internal/archive"
	"imx/internal/archive/archivetest"
)

// lie is something wrong with an index: how it comes about, and what is said then.
type lie struct {
	name string
	harm func(*archivetest.Archive)
	kind imx.Kind
	says []string
}

const (
	inRelease   = `archive "own", suite "bookworm": dists/bookworm/InRelease: `
	ownPackages = `archive "own", suite "bookworm": dists/bookworm/main/binary-amd64/Packages: `
	zeros       = "0000000000000000000000000000000000000000000000000000000000000000"
)

// tell tries each lie over HTTP and from files.
func tell(t *testing.T, lies []lie) {
	t.Helper()
	for _, l := range lies {
		t.Run(l.name, func(t *testing.T) {
			made := archivetest.New(t, hello(), base())
			remote, local := made.Serve("own", nil), made.Declare("own")
			l.harm(made)
			_, err := newFetcher(t).fetch(t, remote)
			wantError(t, err, l.kind, l.says...)
			_, err = newFetcher(t).fetch(t, local)
			wantError(t, err, l.kind, l.says...)
		})
	}
}

// edited changes the signed file after it was signed.
func edited(change func([]byte) []byte) func(*archivetest.Archive) {
	return func(a *archivetest.Archive) { a.Change("dists/*/InRelease", change) }
}

func TestASignatureThatIsWrongIsRefused(t *testing.T) {
	tell(t, []lie{
		{"none", func(a *archivetest.Archive) { a.Keys = nil; a.Publish() }, imx.Refused, []string{inRelease + "isn't signed"}},
		{"by another key", func(a *archivetest.Archive) {
			a.Keys = []*openpgp.Entity{archivetest.NewKey(t, "other")}
			a.Publish()
		}, imx.Refused, []string{inRelease + "is signed by key ", "which the archive's keyring doesn't have"}},
		{"the text was changed", edited(func(b []byte) []byte {
			return bytes.Replace(b, []byte("Origin: Test"), []byte("Origin: Tent"), 1)
		}), imx.Refused, []string{inRelease + "has a wrong signature by key "}},
		{
			"text after it", edited(func(b []byte) []byte { return append(b, "Codename: evil\n"...) }),
			imx.Refused,
			[]string{inRelease + "has text outside its signature"},
		},
		{
			"text before it", edited(func(b []byte) []byte { return append([]byte("Codename: evil\n\n"), b...) }),
			imx.Refused,
			[]string{inRelease + "has text outside its signature"},
		},
		{
			"two signed texts", edited(func(b []byte) []byte { return append(b, b...) }),
			imx.Refused,
			[]string{inRelease + "has text outside its signature"},
		},
		{"cut in the text", edited(func(b []byte) []byte { return b[:100] }), imx.Refused, []string{inRelease + "isn't signed"}},
		{"nothing at all", edited(func([]byte) []byte { return []byte{} }), imx.Refused, []string{inRelease + "isn't signed"}},
		{"the file is missing", edited(func([]byte) []byte { return nil }), imx.NotFound, []string{inRelease + "the mirror doesn't have it"}},
	})
}

// Who has got hold of an old key must not be able to sign with it.
func TestAKeyThatIsOutOfUseSignsNothing(t *testing.T) {
	for name, spoil := range map[string]func(*openpgp.Entity) error{
		"key expired": func(*openpgp.Entity) error { return nil },
		"revoked":     func(e *openpgp.Entity) error { return e.RevokeKey(packet.KeyCompromised, "stolen", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			lifetime := uint32(0)
			if name == "key expired" {
				lifetime = 24 * 60 * 60
			}
			key, err := openpgp.NewEntity("archive", "test", "archive@example.org", &packet.Config{
				Algorithm: packet.PubKeyAlgoEdDSA, DefaultHash: crypto.SHA256, KeyLifetimeSecs: lifetime,
				Time: func() time.Time { return time.Now().AddDate(0, 0, -7) },
			})
			if err != nil {
				t.Fatal(err)
			}
			made := archivetest.New(t, hello())
			made.Keys = []*openpgp.Entity{key}
			made.Publish()
			if err := spoil(key); err != nil {
				t.Fatal(err)
			}
			_, err = newFetcher(t).fetch(t, made.Declare("own"))
			wantError(t, err, imx.Refused, inRelease+"has a wrong signature by key ", name)
		})
	}
}

func TestOneGoodSignatureOfSeveralIsEnough(t *testing.T) {
	made := archivetest.New(t, hello())
	decl := made.Declare("own")
	made.Keys = []*openpgp.Entity{archivetest.NewKey(t, "next"), made.Keys[0]}
	made.Publish()
	if _, err := newFetcher(t).fetch(t, decl); err != nil {
		t.Error(err)
	}
}

func TestAWeakHashIsRefusedThoughTheSignatureIsRight(t *testing.T) {
	made := archivetest.New(t, hello())
	key := made.Keys[0].PrivateKey
	var signed bytes.Buffer
	text := []byte("Codename: bookworm\n")
	// The library signs with no weak hash, so the armour is made by hand around such a signature.
	sig := &packet.Signature{
		Version: key.Version, SigType: packet.SigTypeText, PubKeyAlgo: key.PubKeyAlgo,
		Hash: crypto.SHA1, CreationTime: time.Now(), IssuerKeyId: &key.KeyId,
	}
	h := crypto.SHA1.New()
	h.Write(bytes.ReplaceAll(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"), []byte("\r\n")))
	if err := sig.Sign(h, key, &packet.Config{NonDeterministicSignaturesViaNotation: new(false)}); err != nil {
		t.Fatal(err)
	}
	w, err := clearsign.Encode(&signed, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(text)
	_ = w.Close()
	var raw bytes.Buffer
	if err := sig.Serialize(&raw); err != nil {
		t.Fatal(err)
	}
	forged := rearm(t, signed.Bytes(), raw.Bytes())
	_, err = archive.OpenSigned(forged, made.Keys, time.Now())
	if err == nil || !strings.Contains(err.Error(), "SHA-1 is too weak") {
		t.Errorf("err = %v, want that SHA-1 is too weak", err)
	}
}

// dated publishes an index of another day.
func dated(day time.Time, days int) func(*archivetest.Archive) {
	return func(a *archivetest.Archive) {
		a.Date = day
		if days > 0 {
			a.ValidUntil = day.AddDate(0, 0, days)
		}
		a.Publish()
	}
}

func TestAnIndexOfTheWrongDayOrSuiteIsRefused(t *testing.T) {
	january := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tell(t, []lie{
		{"expired", dated(january, 7), imx.Refused, []string{inRelease + "has expired: it was valid until 2026-01-08T00:00:00Z, now is "}},
		{
			"from the future", dated(time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC), 0), imx.Refused,
			[]string{inRelease + "has the date 2999-01-01T00:00:00Z, which is in the future: now is "},
		},
		{"of another suite", func(a *archivetest.Archive) {
			a.Fields = map[string]string{"Codename": "trixie"}
			a.Publish()
		}, imx.Refused, []string{inRelease + `is of the suite "stable" (codename "trixie"), wanted "bookworm"`}},
	})
}

func TestAnOlderIndexThanOneSeenIsRefusedAsRolledBack(t *testing.T) {
	made := archivetest.New(t, hello())
	seen := imx.LockedSuite{Archive: "own", Suite: "bookworm", Date: made.Date.Add(time.Hour)}
	_, err := newFetcher(t).fetch(t, made.Declare("own"), seen)
	wantError(t, err, imx.Refused, "InRelease: is rolled back: its date is "+made.Date.Add(-time.Minute).Format(time.RFC3339), "but one of "+seen.Date.Format(time.RFC3339)+" was seen before")
	seen.Suite = "bookworm-security"
	if _, err := newFetcher(t).fetch(t, made.Declare("own"), seen); err != nil {
		t.Errorf("another suite's date counted: %v", err)
	}
}

func TestAnExpiredIndexIsTakenWhereTheArchiveSaysSo(t *testing.T) {
	made := archivetest.New(t, hello())
	dated(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), 7)(made)
	decl := made.Declare("own")
	_, err := newFetcher(t).fetch(t, decl)
	if !strings.Contains(imx.AsError(err).Hint, "expired = true") {
		t.Errorf("the hint doesn't tell the way out: %q", imx.AsError(err).Hint)
	}
	decl.Expired = true
	f := newFetcher(t)
	for range 2 { // the second time it comes from the cache
		snapshot, err := f.fetch(t, decl)
		if err != nil {
			t.Fatal(err)
		}
		if len(snapshot.Notices) != 1 || !strings.Contains(snapshot.Notices[0].Summary, "valid until 2026-01-08T00:00:00Z") {
			t.Errorf("notices: %+v", snapshot.Notices)
		}
	}
	seen := imx.LockedSuite{Archive: "own", Suite: "bookworm", Date: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)}
	_, err = f.fetch(t, decl, seen)
	wantError(t, err, imx.Refused, "is rolled back")
}

// sums publishes a Release that says this of its files.
func sums(lines ...string) func(*archivetest.Archive) {
	return func(a *archivetest.Archive) {
		a.Fields = map[string]string{"SHA256": "\n " + strings.Join(lines, "\n ")}
		a.Publish()
	}
}

// packed publishes bytes as the gzip form of a list that is said to have size bytes.
func packed(b []byte, size int) func(*archivetest.Archive) {
	return func(a *archivetest.Archive) {
		const file = "main/binary-amd64/Packages"
		a.Write("dists/bookworm/"+file+".gz", b)
		sums(fmt.Sprintf("%s %d %s", zeros, size, file), fmt.Sprintf("%s %d %s.gz", imx.DigestBytes(b).Hex(), len(b), file))(a)
	}
}

func gz(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAListThatIsNotAsSignedIsRefused(t *testing.T) {
	changed := func(change func([]byte) []byte) func(*archivetest.Archive) {
		return func(a *archivetest.Archive) { a.Change("dists/*/main/*/by-hash/SHA256/*", change) }
	}
	broken := gz(t, "\n")
	broken[len(broken)-8] ^= 1 // the checksum of what is inside
	bomb := gz(t, strings.Repeat("A: 1\n\n", 1<<20))
	tell(t, []lie{
		{
			"another hash", changed(func(b []byte) []byte { b[len(b)/2] ^= 1; return b }), imx.Refused,
			[]string{ownPackages + "the bytes have digest sha256:", ", wanted sha256:"},
		},
		{"cut", changed(func(b []byte) []byte { return b[:10] }), imx.Refused, []string{ownPackages + "has 10 bytes, wanted "}},
		{"too long", changed(func(b []byte) []byte { return append(b, b...) }), imx.Refused, []string{ownPackages + "has more than the "}},
		{"not there", sums(zeros + " 1 main/binary-s390x/Packages"), imx.NotFound, []string{inRelease + "it lists no main/binary-amd64/Packages"}},
		{"a path out of the suite", sums(zeros + " 1 ../../../etc/passwd"), imx.Refused, []string{inRelease, "../../../etc/passwd"}},
		{"an absolute path", sums(zeros + " 1 /etc/passwd"), imx.Refused, []string{inRelease, "/etc/passwd"}},
		{
			"a size beyond all reason", sums(zeros+" 2000000000 main/binary-amd64/Packages", zeros+" 9 main/binary-amd64/Packages.xz"), imx.Refused,
			[]string{ownPackages + "has 2000000000 bytes, more than the 1073741824"},
		},
		{"more inside than it says", packed(bomb, 100), imx.Refused, []string{ownPackages + "decompressed from .gz: ", "has more than the 100 bytes"}},
		{"less inside than it says", packed(gz(t, "A: 1\n"), 100), imx.Refused, []string{ownPackages + "decompressed from .gz: "}},
		{"no gzip inside", packed([]byte("no gzip"), 100), imx.Refused, []string{ownPackages + "decompressed from .gz: ", "it can't be decompressed"}},
		{"broken inside", packed(broken, 1), imx.Refused, []string{ownPackages + "decompressed from .gz: ", "it can't be decompressed"}},
	})
}

// listed publishes a signed list with one more stanza, with some of its fields changed.
func listed(fields ...string) func(*archivetest.Archive) {
	stanza := "Package: evil\nVersion: 1\nArchitecture: amd64\nFilename: pool/evil.deb\nSize: 3\nSHA256: " + zeros + "\n"
	for _, f := range fields {
		name, _, _ := strings.Cut(f, ": ")
		for line := range strings.Lines(stanza) {
			if strings.HasPrefix(line, name+": ") {
				stanza = strings.Replace(stanza, line, "", 1)
			}
		}
		stanza += f + "\n"
	}
	return func(a *archivetest.Archive) { a.PublishList(stanza + "\n") }
}

// The archive itself signed these: whoever has its key still can't write outside of a build.
func TestAListWithStrangeEntriesIsRefusedAsAWhole(t *testing.T) {
	tell(t, []lie{
		{"a path out of the mirror", listed("Filename: ../../etc/passwd"), imx.Refused, []string{ownPackages, `package evil: the file name "../../etc/passwd"`}},
		{"a path out of it in the middle", listed("Filename: pool/../../x.deb"), imx.Refused, []string{ownPackages, "pool/../../x.deb"}},
		{"an absolute path", listed("Filename: /etc/passwd"), imx.Refused, []string{ownPackages, `"/etc/passwd" does not stay below the mirror's root`}},
		{"a newline in a path", listed("Filename: pool/a\n b.deb"), imx.Refused, []string{ownPackages, "is not usable"}},
		{"a control character", listed("Filename: pool/\x1b[2Jx.deb"), imx.Refused, []string{ownPackages, "line 6 has a control character"}},
		{"a carriage return", listed("Version: 1\r"), imx.Refused, []string{ownPackages, "has a control character"}},
		{"a name with a slash", listed("Package: ../evil"), imx.Refused, []string{ownPackages, `"../evil" is not the name of a package`}},
		{"a version with a slash", listed("Version: 1/../../2"), imx.Refused, []string{ownPackages, `version "1/../../2"`}},
		{"no size", listed("Size: "), imx.Refused, []string{ownPackages, `the Size "" is not a number of bytes`}},
		{"a negative size", listed("Size: -1"), imx.Refused, []string{ownPackages, `the Size "-1"`}},
		{"a size beyond all reason", listed("Size: 9999999999"), imx.Refused, []string{ownPackages, "is more than 4.0 GiB"}},
		{"a digest that is none", listed("SHA256: 00"), imx.Refused, []string{ownPackages, `has the SHA256 "00"`}},
		{"a field that stands twice", listed("Size: 3\nsize: 4"), imx.Refused, []string{ownPackages, `repeats the field "size"`}},
		{"an endless line", listed("Description: " + strings.Repeat("x", 2<<20)), imx.Refused, []string{ownPackages, "is longer than 1048576 bytes"}},
	})
}

// Two stanzas of one version in one list: whichever comes first, the same one is chosen.
func TestOfDuplicateStanzasTheSameOneIsChosenInAnyOrder(t *testing.T) {
	one := "Package: twin\nVersion: 1\nArchitecture: amd64\nFilename: pool/a.deb\nSize: 3\nSHA256: " + zeros + "\n\n"
	two := strings.Replace(one, "pool/a.deb", "pool/b.deb", 1)
	for _, text := range []string{one + two, two + one, one + one + two} {
		made := archivetest.New(t)
		made.PublishList(text)
		snapshot, err := newFetcher(t).fetch(t, made.Declare("own"))
		if err != nil {
			t.Fatal(err)
		}
		all := snapshot.Index.Versions("twin")
		if len(all) != 1 || all[0].Path != "pool/a.deb" {
			t.Errorf("%d versions, the first from %s", len(all), all[0].Path)
		}
	}
}

func TestPackagesThatDifferAreRefusedAndNotStored(t *testing.T) {
	pool := "pool/main/h/hello/hello_1.0_amd64.deb"
	file := `archive "own", suite "bookworm": ` + pool + ": "
	for name, test := range map[string]struct {
		harm func([]byte) []byte
		kind imx.Kind
		want string
	}{
		"another hash": {func(b []byte) []byte { b[100] ^= 1; return b }, imx.Refused, "the bytes have digest sha256:"},
		"cut":          {func(b []byte) []byte { return b[:100] }, imx.Refused, "has 100 bytes, wanted "},
		"too long":     {func(b []byte) []byte { return append(b, b...) }, imx.Refused, "has more than the "},
		"empty":        {func([]byte) []byte { return []byte{} }, imx.Refused, "has 0 bytes, wanted "},
		"gone":         {func([]byte) []byte { return nil }, imx.NotFound, "the mirror doesn't have it"},
	} {
		t.Run(name, func(t *testing.T) {
			made := archivetest.New(t, hello())
			pin := made.Pin("own", "hello")
			made.Change(pool, test.harm)
			for _, decl := range []imx.Archive{made.Declare("own"), made.Serve("own", nil)} {
				f := newFetcher(t)
				wantError(t, f.packages(t, decl, pin), test.kind, file+test.want)
				if f.blobs.Has(pin.Digest) {
					t.Error("it is in the blob store")
				}
			}
		})
	}
}

func TestAPinThatLeadsOutOfTheMirrorIsRefusedWithoutAsking(t *testing.T) {
	made := archivetest.New(t, hello())
	pin := made.Pin("own", "hello")
	pin.Path = "../../../etc/passwd"
	err := newFetcher(t).packages(t, made.Declare("own"), pin)
	wantError(t, err, imx.Refused, "../../../etc/passwd")
}
