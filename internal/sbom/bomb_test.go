package sbom_test

// An image that somebody pushes has files made to cost its reader more than their size: each costs no more than its
// part of a budget here, the rest of the image is described as ever, and the documents say what they don't know.

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/zlib"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync/atomic"
	"testing"

	"imx/internal/sbom"
)

// repeated is an archive of one entry, which stands in its directory many times.
func repeated(tb testing.TB, name string, content []byte, times uint16) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(name)
	if err == nil {
		_, err = f.Write(content)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		tb.Fatal(err)
	}
	const end = 22
	whole := b.Bytes()
	tail := bytes.Clone(whole[len(whole)-end:])
	size, at := binary.LittleEndian.Uint32(tail[12:]), binary.LittleEndian.Uint32(tail[16:])
	entry := whole[at : at+size]
	binary.LittleEndian.PutUint16(tail[8:], times)
	binary.LittleEndian.PutUint16(tail[10:], times)
	binary.LittleEndian.PutUint32(tail[12:], size*uint32(times))
	return append(append(bytes.Clone(whole[:at]), bytes.Repeat(entry, int(times))...), tail...)
}

// sectioned is an ELF file of many sections, which all have one long name.
func sectioned(tb testing.TB, number uint16) []byte {
	tb.Helper()
	name := "\x00.dep-v0" + strings.Repeat("x", 1<<20) + "\x00"
	header := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}, Type: uint16(elf.ET_EXEC),
		Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Ehsize: 64, Shoff: 64, Shentsize: 64, Shnum: number,
	}
	all := make([]elf.Section64, number)
	for i := range all {
		all[i] = elf.Section64{Name: 1, Type: uint32(elf.SHT_STRTAB), Off: 64 + 64*uint64(number), Size: uint64(len(name))}
	}
	var b bytes.Buffer
	for _, part := range []any{header, all, []byte(name)} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			tb.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestAFileMadeToCostMuchIsLeftAndNamed(t *testing.T) {
	var crates bytes.Buffer
	z := zlib.NewWriter(&crates)
	_, _ = io.WriteString(z, `{"packages":[`+strings.Repeat(`{},`, 4<<20)+`{}]}`)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	deep := zipped(t, "a.jar", string(zipped(t, "b.jar", string(zipped(t, "c.jar", string(zipped(t, "d.jar", "x")))))))
	for name, c := range map[string]struct {
		file file
		why  string
	}{
		"one large library, 65,535 times": {file{"/a.jar", repeated(t, "lib.jar", make([]byte, 60<<20), 65535)}, "more than is looked at: 256.0 MiB in a file"},
		"one manifest, 65,535 times":      {file{"/a.jar", repeated(t, "META-INF/MANIFEST.MF", make([]byte, 1<<20), 65535)}, "more than is looked at: 256.0 MiB in a file"},
		"an entry that isn't a text":      {file{"/a.jar", zipped(t, "META-INF/MANIFEST.MF", strings.Repeat("x", 2<<20))}, `"META-INF/MANIFEST.MF" in it has more than 1.0 MiB`},
		"more entries than there can be":  {file{"/a.jar", append([]byte("PK\x03\x04"), bytes.Repeat([]byte("PK\x01\x02"), 400_000)...)}, "more entries than are looked at: 300000 in a file"},
		"archives in archives":            {file{"/a.jar", deep}, `"c.jar" in it lies within more than 3 archives`},
		"sections with long names":        {file{"/a", sectioned(t, 60_000)}, "the names of its 60000 sections can have more than 64.0 MiB"},
		"a list of modules without end":   {file{"/a", append(program(t, "x", nil), "\xff Go buildinf:"+strings.Repeat("\ndep\ta\tb", 400_000)...)}, "more entries than are looked at"},
		"a list of crates without end":    {file{"/a", program(t, ".dep-v0", crates.Bytes())}, "its list of crates has more than 8.0 MiB"},
		"a long name":                     {file{"/package.json", fmt.Appendf(nil, `{"name":%q,"version":"1"}`, strings.Repeat("x", 1000))}, "more than 512 bytes"},
		"a long text":                     {file{"/usr/share/doc/x/copyright", make([]byte, 2<<20)}, "it has more than 1.0 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, found := examine(t, []file{c.file, {"/srv/package.json", []byte(`{"name":"x","version":"1"}`)}})
			if len(found.Missed) != 1 || found.Missed[0].Path != c.file.name || !strings.Contains(found.Missed[0].Why, c.why) || found.More != 0 {
				t.Errorf("missed: %+v and %d more", found.Missed, found.More)
			}
			if got := urls(found); len(got) != 1 || got[0] != "pkg:npm/x@1" {
				t.Errorf("found: %q", got)
			}
		})
	}
}

// generated is a layer of many files of one content, which nobody has in memory at once.
func generated(name func(i int) string, content []byte, number int) iter.Seq2[io.Reader, error] {
	return func(yield func(io.Reader, error) bool) {
		r, w := io.Pipe()
		defer r.Close()
		go func() {
			out := tar.NewWriter(w)
			for i := range number {
				err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name(i), Mode: 0o644, Size: int64(len(content))})
				if err == nil {
					_, err = out.Write(content)
				}
				if err != nil {
					return // its reader has gone
				}
			}
			_ = w.CloseWithError(out.Close())
		}()
		yield(r, nil)
	}
}

func TestWhatIsKeptOfAnImageHasABound(t *testing.T) {
	kept := 0
	_, found, err := sbom.Examine(t.Context(), generated(func(i int) string { return fmt.Sprintf("usr/share/doc/x/%03d/copyright", i) }, make([]byte, 1<<20), 300))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range found.Copyrights {
		kept += len(text)
	}
	if kept != 128<<20 || len(found.Missed) != 100 || found.More != 300-128-100 || !strings.Contains(found.Missed[0].Why, "more text than the 128.0 MiB") {
		t.Errorf("kept %d bytes, missed %d and %d more", kept, len(found.Missed), found.More)
	}
	jar := repeated(t, "lib.jar", make([]byte, 60<<20), 10)
	_, found, err = sbom.Examine(t.Context(), generated(func(i int) string { return fmt.Sprintf("%03d.jar", i) }, jar, 100))
	if err != nil || len(found.Missed) != 100 || !strings.Contains(found.Missed[99].Why, "1.0 GiB in an image") {
		t.Errorf("%v, missed %d", err, len(found.Missed))
	}
}

func TestWhoeverGoesAwayIsNotWorkedFor(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var files atomic.Int64
	_, _, err := sbom.Examine(ctx, generated(func(i int) string {
		if files.Add(1) == 3 {
			cancel()
		}
		return fmt.Sprint(i)
	}, make([]byte, 1<<20), 1000))
	if !errors.Is(err, context.Canceled) || files.Load() > 6 {
		t.Errorf("%v after %d files", err, files.Load())
	}
}
