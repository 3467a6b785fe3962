package deb_test

// A .deb is unpacked as root. Whatever could write outside of the folder, or fill the disk by
// a header alone, has to be refused before anything is written.

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"imx"
	"imx/internal/deb"
)

// member writes an ar member; size is what the header says, whatever body has.
func member(name, size, body string) string {
	return fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10s`\n%s", name, 0, 0, 0, "100644", size, body)
}

// members reads all members as "name: content".
func members(r io.Reader) ([]string, error) {
	var all []string
	a := deb.ReadAr(r)
	for {
		h, err := a.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		body, err := io.ReadAll(a)
		if err != nil {
			return all, err
		}
		all = append(all, h.Name+": "+string(body))
	}
}

func TestArMembersAreRead(t *testing.T) {
	text := "!<arch>\n" + member("debian-binary", "4", "2.0\n") + member("control.tar.xz/", "3", "abc\n") + member("data.tar", "1", "x")
	for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text)), strings.NewReader(text + "\n")} {
		got, err := members(r)
		if err != nil || !slices.Equal(got, []string{"debian-binary: 2.0\n", "control.tar.xz: abc", "data.tar: x"}) {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func TestArMembersCanBeSkipped(t *testing.T) {
	a := deb.ReadAr(strings.NewReader("!<arch>\n" + member("a", "3", "abc\n") + member("b", "1", "x")))
	for _, want := range []string{"a", "b"} {
		if h, err := a.Next(); err != nil || h.Name != want {
			t.Fatalf("got %v, %v", h, err)
		}
	}
}

func TestWhatDpkgBuildsIsRead(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("needs dpkg-deb")
	}
	dir := t.TempDir()
	control := "Package: tiny\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: tiny\n"
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "DEBIAN"), 0o755),
		os.WriteFile(filepath.Join(dir, "DEBIAN", "control"), []byte(control), 0o644)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("dpkg-deb", "-Zgzip", "--build", dir, dir+".deb").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	built, err := os.ReadFile(dir + ".deb")
	if err != nil {
		t.Fatal(err)
	}
	got, err := members(bytes.NewReader(built))
	if err != nil || len(got) != 3 || got[0] != "debian-binary: 2.0\n" || !strings.HasPrefix(got[2], "data.tar.gz: ") {
		t.Errorf("got %.40q, %v", got, err)
	}
}

func TestHostileArIsRefused(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "ar archive ends too early: unexpected EOF"},
		{"no ar", "PK\x03\x04.............", `not an ar archive: it begins with "PK\x03\x04....", not "!<arch>\n"`},
		{"half a header", "!<arch>\nhalf", "ar header ends too early: unexpected EOF"},
		{"a cut member", "!<arch>\n" + member("data.tar", "100", "x"), "ar member ends too early: unexpected EOF"},
		{"a path", "!<arch>\n" + member("../etc/passwd", "1", "x"), `ar member has the name "../etc/passwd", which no .deb has`},
		{"a long name", "!<arch>\n" + member("//", "4", "abc\n"), `ar member has the name "/", which no .deb has`},
		{"a BSD name", "!<arch>\n" + member("#1/4", "4", "abc\n"), `ar member has the name "#1/4", which no .deb has`},
		{"no name", "!<arch>\n" + member("", "1", "x"), `ar member has the name "", which no .deb has`},
		{"a negative size", "!<arch>\n" + member("data.tar", "-1", ""), `ar member data.tar has the size "-1", which isn't a number`},
		{"an octal size", "!<arch>\n" + member("data.tar", "010", ""), `ar member data.tar has the size "010", which isn't a number`},
		{"an absurd size", "!<arch>\n" + member("data.tar", "9999999999", ""), "ar member data.tar has the size 9.3 GiB, more than 4.0 GiB"},
		{"members without end", "!<arch>\n" + strings.Repeat(member("a", "0", ""), 99), "ar archive has more than 16 members"},
		{"no end mark", "!<arch>\n" + strings.Repeat("x", 60), fmt.Sprintf("ar header %q doesn't end as ar headers do", strings.Repeat("x", 60))},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := members(strings.NewReader(c.text))
			if err == nil || err.Error() != c.want || imx.KindOf(err) != imx.Refused {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestAnArReaderThatBrokeStaysBroken(t *testing.T) {
	broken := errors.New("the disk is gone")
	a := deb.ReadAr(io.MultiReader(strings.NewReader("!<arch>\n"+member("data.tar", "100", "x")), iotest.ErrReader(broken)))
	if _, err := a.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(a); !errors.Is(err, broken) || imx.KindOf(err) != imx.Unavailable {
		t.Errorf("Read says %v", err)
	}
	if _, err := a.Next(); !errors.Is(err, broken) {
		t.Errorf("Next says %v", err)
	}
}

func TestPathsAreCanonicalForUsrMerge(t *testing.T) {
	for in, want := range map[string]string{
		"./": ".", ".": ".", "./bin/sh": "usr/bin/sh", "bin": "usr/bin", "./lib/": "usr/lib", "./lib64/ld.so": "usr/lib64/ld.so",
		"./sbin/x": "usr/sbin/x", "./lib32/x": "usr/lib32/x", "./usr/bin//x": "usr/bin/x", "./etc/./x": "etc/x",
		"./library/x": "library/x", "./opt/bin/x": "opt/bin/x", `./lib/systemd/a\x2db.slice`: `usr/lib/systemd/a\x2db.slice`,
		"./usr/share/Főtanúsítvány.crt": "usr/share/Főtanúsítvány.crt", "./a..b": "a..b",
	} {
		if got, err := deb.CleanPath(in); got != want || err != nil {
			t.Errorf("CleanPath(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestHostileEntriesAreRefused(t *testing.T) {
	link := func(kind byte, name, target string) tar.Header {
		return tar.Header{Typeflag: kind, Name: name, Linkname: target}
	}
	for _, c := range []struct {
		name string
		h    tar.Header
		want string
	}{
		{"upwards", tar.Header{Typeflag: tar.TypeReg, Name: "./../etc/passwd"}, `entry "./../etc/passwd" leads out of its directory`},
		{"up and down", tar.Header{Typeflag: tar.TypeReg, Name: "./a/../b"}, `entry "./a/../b" leads out of its directory`},
		{"absolute", tar.Header{Typeflag: tar.TypeReg, Name: "/etc/passwd"}, `entry "/etc/passwd" is absolute`},
		{"nameless", tar.Header{Typeflag: tar.TypeReg}, "an entry has an empty name"},
		{"a newline", tar.Header{Typeflag: tar.TypeReg, Name: "./a\nb"}, `entry "./a\nb" has a control character in its name`},
		{"a long name", tar.Header{Typeflag: tar.TypeReg, Name: "./" + strings.Repeat("a", 300)}, "has a name of 300 bytes, more than 255"},
		{"a long path", tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("a/", 3000)}, "has 6000 bytes, more than 4096"},
		{"an absurd size", tar.Header{Typeflag: tar.TypeReg, Name: "./a", Size: 1 << 40}, `entry "./a" has the size 1.0 TiB, more than 4.0 GiB`},
		{"a negative owner", tar.Header{Typeflag: tar.TypeReg, Name: "./a", Uid: -1}, `entry "./a" has the owner -1:0`},
		{"a device", tar.Header{Typeflag: tar.TypeBlock, Name: "./dev/sda"}, `entry "./dev/sda" is of type '4'; only files, directories and links are allowed`},
		{"a terminal", tar.Header{Typeflag: tar.TypeChar, Name: "./dev/tty"}, "is of type '3'"},
		{"a FIFO", tar.Header{Typeflag: tar.TypeFifo, Name: "./f"}, "is of type '6'"},
		{"a link out of the root", link(tar.TypeSymlink, "./usr/bin/x", "../../../etc/passwd"), `entry "usr/bin/x" links to "../../../etc/passwd", out of the root`},
		{"a link down and out", link(tar.TypeSymlink, "./x", "a/../../b"), `links to "a/../../b", out of the root`},
		{"an absolute link out of the root", link(tar.TypeSymlink, "./x", "/a/../../b"), `links to "/a/../../b", out of the root`},
		{"an empty link", link(tar.TypeSymlink, "./x", ""), `links to "", which isn't a usable name`},
		{"a hard link out of the root", link(tar.TypeLink, "./x", "../../etc/shadow"), `entry "./x" is a hard link: entry "../../etc/shadow" leads out`},
		{"an absolute hard link", link(tar.TypeLink, "./x", "/etc/shadow"), `entry "./x" is a hard link: entry "/etc/shadow" is absolute`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := deb.CheckTarEntry(&c.h)
			if err == nil || !strings.Contains(err.Error(), c.want) || imx.KindOf(err) != imx.Refused {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestOrdinaryEntriesPass(t *testing.T) {
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "./"},
		{Typeflag: tar.TypeReg, Name: "./bin/sh", Mode: 0o4755},
		{Typeflag: tar.TypeSymlink, Name: "./bin/x", Linkname: "../../etc/alternatives/x"}, // below usr/bin, where it will stand
		{Typeflag: tar.TypeSymlink, Name: "./usr/lib/x", Linkname: "/etc/x"},
		{Typeflag: tar.TypeSymlink, Name: "./x", Linkname: "./y/../z"},
		{Typeflag: tar.TypeLink, Name: "./usr/bin/x", Linkname: "./bin/y"},
	} {
		if err := deb.CheckTarEntry(&h); err != nil {
			t.Error(err)
		}
	}
}

func TestMergeLinksAreKnown(t *testing.T) {
	for _, c := range []struct {
		name, target string
		want         bool
	}{
		{"./bin", "usr/bin", true},
		{"./lib64", "usr/lib64", true},
		{"./bin", "usr/sbin", false},
		{"./bin/x", "usr/bin/x", false},
		{"./etc", "etc", false},
		{"./lib", "/usr/lib", false},
	} {
		h := tar.Header{Typeflag: tar.TypeSymlink, Name: c.name, Linkname: c.target}
		if got := deb.IsMergeLink(&h); got != c.want {
			t.Errorf("%s -> %s: %v", c.name, c.target, got)
		}
	}
}

func FuzzAr(f *testing.F) {
	f.Add([]byte("!<arch>\n" + member("debian-binary", "4", "2.0\n") + member("data.tar", "1", "x")))
	f.Add([]byte("!<arch>\n" + member("//", "9", "")))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := members(bytes.NewReader(b))
		if err != nil && imx.KindOf(err) != imx.Refused {
			t.Errorf("kind %s: %v", imx.KindOf(err), err)
		}
		if size := len(strings.Join(got, "")); size > len(b) {
			t.Errorf("%d bytes come out of %d", size, len(b))
		}
	})
}

func FuzzTarEntry(f *testing.F) {
	f.Add("./usr/bin/x", "../lib/x", byte(tar.TypeSymlink), int64(0))
	f.Add("./../x", "/", byte(tar.TypeLink), int64(-1))
	f.Fuzz(func(t *testing.T, name, link string, kind byte, size int64) {
		h := tar.Header{Name: name, Linkname: link, Typeflag: kind, Size: size}
		if deb.CheckTarEntry(&h) != nil {
			return
		}
		p, err := deb.CleanPath(name)
		if err != nil || !filepath.IsLocal(p) {
			t.Fatalf("%q passes and becomes %q, %v", name, p, err)
		}
		if again, err := deb.CleanPath(p); again != p || err != nil {
			t.Errorf("%q becomes %q, then %q, %v", name, p, again, err)
		}
		if kind == tar.TypeSymlink && !strings.HasPrefix(link, "/") && !filepath.IsLocal(filepath.Join(filepath.Dir(p), link)) {
			t.Errorf("%q links to %q, out of the root", p, link)
		}
	})
}
