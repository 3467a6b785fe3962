package template_test

// What is too large, too deep or too clever must be refused with one clear message and before it
// costs anything: the HCL parser recurses, and a Go program can't survive a full stack.

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"imx"
	"imx/internal/template"
)

func parseText(text string) imx.Diagnostics {
	_, ds := template.Parse(fstest.MapFS{"main.imx.hcl": {Data: []byte(text)}})
	return ds
}

// only fails the test unless ds is one error whose summary has all the words.
func only(t *testing.T, ds imx.Diagnostics, words ...string) {
	t.Helper()
	if len(ds) != 1 || ds[0].Severity != imx.SeverityError {
		t.Fatalf("want one error, got %d: %.500s", len(ds), show(ds))
	}
	for _, w := range words {
		if !strings.Contains(ds[0].Summary, w) {
			t.Errorf("%q lacks %q", ds[0].Summary, w)
		}
	}
}

func TestATemplateOf10MBIsRefusedUnread(t *testing.T) {
	folder := counting{FS: fstest.MapFS{"main.imx.hcl": {Data: []byte(strings.Repeat("a = 1\n", 10<<20/6))}}}
	_, ds := template.Parse(&folder)
	only(t, ds, "too large", "1.0 MiB", "main.imx.hcl")
	if folder.bytes > 2<<20 {
		t.Errorf("read %d bytes of it", folder.bytes)
	}
}

func TestManyFilesCountTogether(t *testing.T) {
	folder := fstest.MapFS{}
	for i := range 20 {
		folder[fmt.Sprintf("f%02d.imx.hcl", i)] = &fstest.MapFile{Data: []byte("#" + strings.Repeat("x", 60<<10) + "\n")}
	}
	_, ds := template.Parse(folder)
	only(t, ds, "too large")
}

func TestAFileThatGrowsWhileItIsReadIsRefused(t *testing.T) {
	folder := lying{fstest.MapFS{"main.imx.hcl": {Data: []byte(strings.Repeat("#", 2<<20))}}}
	_, ds := template.Parse(folder)
	only(t, ds, "too large")
}

func TestContentsCountTogetherAndEachFileOnce(t *testing.T) {
	folder := fstest.MapFS{"a": {Data: make([]byte, 5<<20)}, "b": {Data: make([]byte, 5<<20)}}
	text := `image "web" {
  command = ["/x"]
  file "/1" {
    content = file("a")
  }
  file "/2" {
    content = file("a")
  }
`
	folder["main.imx.hcl"] = &fstest.MapFile{Data: []byte(text + "}\n")}
	if _, ds := template.Parse(folder); ds.Err() != nil {
		t.Fatal(show(ds))
	}
	folder["main.imx.hcl"] = &fstest.MapFile{Data: []byte(text + "  file \"/3\" {\n    content = file(\"b\")\n  }\n}\n")}
	_, ds := template.Parse(folder)
	only(t, ds, "too large", "8.0 MiB", `"b"`)
}

func TestDeepNestingIsRefusedBeforeItIsParsed(t *testing.T) {
	const n = 40_000
	for name, text := range map[string]string{
		"parentheses":   "a = " + strings.Repeat("(", n) + "1" + strings.Repeat(")", n),
		"lists":         "a = " + strings.Repeat("[", n),
		"maps":          "a = " + strings.Repeat("{a=", n),
		"mismatched":    "a = " + strings.Repeat("(]", n),
		"blocks":        strings.Repeat("a {\n", n) + strings.Repeat("}\n", n),
		"calls":         "a = " + strings.Repeat("f(", n),
		"quotes":        "a = " + strings.Repeat(`"${`, n),
		"directives":    `a = "` + strings.Repeat("%{if true}", n) + strings.Repeat("%{endif}", n) + `"`,
		"not":           "a = " + strings.Repeat("!", n) + "true",
		"minus":         "a = " + strings.Repeat("-", n) + "1",
		"sum":           "a = 1" + strings.Repeat("+1", n),
		"sum, in lines": "a = (1" + strings.Repeat("+\n1", n) + ")",
		"conditions":    "a = " + strings.Repeat("true?1:", n) + "1",
		"indices":       "a = b" + strings.Repeat("[0]", n),
		"splats":        "a = b" + strings.Repeat("[*]", n),
		"attributes":    "a = b" + strings.Repeat(".c", n),
	} {
		t.Run(name, func(t *testing.T) {
			ds := parseText(text + "\n")
			if len(ds) != 1 || !strings.Contains(ds[0].Summary, "nested more than 100") && !strings.Contains(ds[0].Summary, "more than 1000 operators") {
				t.Errorf("%.500s", show(ds))
			}
			_, ds = template.Parse(fstest.MapFS{
				"main.imx.hcl": {Data: []byte("locals {\n  a = templatefile(\"t\", {})\n}\n")},
				"t":            {Data: []byte("${" + strings.TrimPrefix(text, "a = ") + "}")},
			})
			if ds.Err() == nil {
				t.Error("templatefile() takes it")
			}
		})
	}
}

func TestOrdinaryNestingIsFine(t *testing.T) {
	ds := parseText("locals {\n  a = " + strings.Repeat("[", 90) + strings.Repeat("]", 90) + "\n" +
		"  b = [\n" + strings.Repeat("    (1 + 2) * -3,\n", 5000) + "  ]\n}\n")
	if len(ds) > 0 {
		t.Errorf("%.500s", show(ds))
	}
}

func TestLocalsThatDoubleEachOtherAreStopped(t *testing.T) {
	var b strings.Builder
	b.WriteString("locals {\n  l0 = \"0123456789\"\n")
	for i := range 60 {
		fmt.Fprintf(&b, "  l%d = \"${local.l%d}${local.l%d}\"\n", i+1, i, i)
	}
	b.WriteString("}\n")
	only(t, parseText(b.String()), "larger than 8.0 MiB")
}

func TestManyDeclarationsAreRefused(t *testing.T) {
	only(t, parseText(strings.Repeat("archive \"a\" {\n}\n", 2000)), "more than 1000 blocks")
	only(t, parseText("image \"web\" {\n"+strings.Repeat("  directory \"/a\" {\n  }\n", 2000)+"}\n"), "more than 1000 blocks")
	ds := template.Check(imx.Template{Services: []imx.Spec{{Name: "web", Tmpfs: make([]imx.Tmpfs, 2000)}}})
	if err := ds.Err(); err == nil || !strings.Contains(err.Error(), "more than 1000 tmpfs blocks") {
		t.Error(show(ds))
	}
	var b strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&b, "  l%d = 1\n", i)
	}
	only(t, parseText("locals {\n"+b.String()+"}\n"), "more than 1000 locals")
}

func TestMistakesAreCountedNotListedWithoutEnd(t *testing.T) {
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, "  x%d = 1\n", i)
	}
	ds := parseText("image \"web\" {\n" + b.String() + "}\n")
	if last := ds[len(ds)-1]; len(ds) != 1001 || !strings.Contains(last.Summary, "2000 more mistakes") {
		t.Errorf("%d: %+v", len(ds), last)
	}
}

func TestAVeryLongLineIsNotQuoted(t *testing.T) {
	ds := parseText("images = \"" + strings.Repeat("x", 10_000) + "\"\n")
	if len(ds) != 1 || ds[0].Source != "" || ds[0].At.Column != 1 {
		t.Errorf("%+v", ds)
	}
}

func TestAFolderThatCannotBeReadIsReported(t *testing.T) {
	_, ds := template.Parse(broken{})
	only(t, ds, "can't be read", "input/output error")
	_, ds = template.Parse(halfBroken{fstest.MapFS{"main.imx.hcl": {Data: []byte("x")}}})
	only(t, ds, "main.imx.hcl can't be read", "input/output error")
}

func TestCheckCountsContents(t *testing.T) {
	content := make([]byte, 9<<20)
	v := imx.Template{Images: []imx.ImageSpec{{Name: "web", Files: []imx.File{
		{Path: "/x", Content: content, Digest: imx.DigestBytes(content), Size: int64(len(content))},
	}}}}
	ds := template.Check(v)
	if err := ds.Err(); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Error(show(ds))
	}
}

// counting counts the bytes that are read.
type counting struct {
	fs.FS
	bytes int
}

func (c *counting) Open(name string) (fs.File, error) {
	f, err := c.FS.Open(name)
	return &countingFile{f, c}, err
}

func (c *counting) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(c.FS, name) }

type countingFile struct {
	fs.File
	c *counting
}

func (f *countingFile) Read(b []byte) (int, error) {
	n, err := f.File.Read(b)
	f.c.bytes += n
	return n, err
}

// lying says that every file is empty.
type lying struct{ fstest.MapFS }

func (l lying) Open(name string) (fs.File, error) {
	f, err := l.MapFS.Open(name)
	if name == "." {
		return f, err
	}
	return lyingFile{f}, err
}

type lyingFile struct{ fs.File }

func (f lyingFile) Stat() (fs.FileInfo, error) {
	info, err := f.File.Stat()
	return lyingInfo{info}, err
}

type lyingInfo struct{ fs.FileInfo }

func (lyingInfo) Size() int64 { return 0 }

var errDisk = errors.New("input/output error")

type broken struct{}

func (broken) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: errDisk}
}

// halfBroken lists its files and can't read them.
type halfBroken struct{ fstest.MapFS }

func (h halfBroken) Open(name string) (fs.File, error) {
	if name == "." {
		return h.MapFS.Open(name)
	}
	return broken{}.Open(name)
}
