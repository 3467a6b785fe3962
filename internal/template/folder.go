package template

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"imx"
)

const (
	suffix = ".imx.hcl"
	// maxText bounds all *.imx.hcl files together, and each file that templatefile() parses: HCL
	// takes some hundred times a text's size in memory.
	maxText imx.Size = 1 << 20
	// maxTotal bounds the texts with the contents that they take in through file(): a template
	// travels as one JSON document.
	maxTotal imx.Size = 8 << 20
	// maxLooked is how many names are looked at to find one near to that of a missing file.
	maxLooked = 2000
)

// folder is a template's folder, as far as it was read. It isn't safe for concurrent use.
type folder struct {
	root  fs.FS
	read  map[string][]byte
	total imx.Size
}

func newFolder(root fs.FS) *folder { return &folder{root: root, read: map[string][]byte{}} }

// source is one *.imx.hcl file.
type source struct {
	name string
	text []byte
}

// templates reads the *.imx.hcl files. Nothing of what is too large is parsed, nor read further
// than the limit.
func (f *folder) templates() ([]source, *flaw) {
	entries, err := fs.ReadDir(f.root, ".")
	if err != nil {
		return nil, &flaw{summary: "the folder can't be read: " + reason(err)}
	}
	var texts []source
	other := ""
	left := maxText
	for _, e := range entries {
		switch name := e.Name(); {
		case e.IsDir() || strings.HasPrefix(name, "."):
		case strings.HasSuffix(name, suffix):
			text, err := f.take(name, left)
			if err != nil {
				return nil, err
			}
			left -= imx.Size(len(text))
			texts = append(texts, source{name, text})
		case strings.HasSuffix(name, ".hcl"):
			other = name
		}
	}
	switch {
	case len(texts) > 0:
		return texts, nil
	case other != "":
		return nil, &flaw{
			summary: "there is no template: no file's name ends in " + suffix,
			hint:    "rename " + other + " to " + strings.TrimSuffix(other, ".hcl") + suffix,
		}
	}
	return nil, &flaw{
		summary: "there is no template: no file's name ends in " + suffix,
		hint:    "`imx init` writes a first one; or name the folder that holds yours",
	}
}

// take reads one *.imx.hcl file of at most left bytes.
func (f *folder) take(name string, left imx.Size) ([]byte, *flaw) {
	text, err := f.load(name, left)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, &flaw{
			summary: "the template is too large: its " + suffix + " files may have " + maxText.String() + " together, and " + name + " exceeds it",
			hint:    "move data into files of its own and take it in with file(), or into a package or a volume",
		}
	case err != nil:
		return nil, &flaw{summary: name + " can't be read: " + reason(err)}
	}
	return text, nil
}

// errTooLarge says that a file is over the limit that load was given.
var errTooLarge = errors.New("too large")

// errNoFile says that what has a file's name is a pipe, a socket or a device.
var errNoFile = errors.New("it is no regular file")

// load reads a file once, of at most limit bytes, and counts it.
func (f *folder) load(name string, limit imx.Size) ([]byte, error) {
	if b, ok := f.read[name]; ok {
		return b, nil
	}
	if info, err := fs.Stat(f.root, name); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil, errNoFile // opening a pipe would wait for whoever writes into it
	}
	file, err := f.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errors.New("it is a folder")
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	case imx.Size(info.Size()) > limit:
		return nil, errTooLarge
	}
	b, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	switch {
	case err != nil:
		return nil, err
	case imx.Size(len(b)) > limit:
		return nil, errTooLarge
	}
	f.read[name] = b
	f.total += imx.Size(len(b))
	return b, nil
}

// content returns the bytes of a file that the template names. The error is an *imx.Error, whose
// message follows the name of the function that asked.
func (f *folder) content(name string) ([]byte, error) {
	clean, err := inside(name)
	if err != nil {
		return nil, err
	}
	b, err := f.load(clean, maxTotal-f.total)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, imx.Errorf(imx.Invalid, "the template is too large: with the files that it names it may have %v, and %q exceeds it", maxTotal, name).
			WithHint("put large files into a package or a volume")
	case errors.Is(err, fs.ErrNotExist):
		e := imx.Errorf(imx.Invalid, "there is no file %q", name)
		if near, ok := nearest(clean, f.names()); ok {
			return nil, e.WithHint("did you mean %q?", near)
		}
		return nil, e.WithHint("paths are relative to the template's folder")
	case err != nil:
		return nil, imx.Errorf(imx.Invalid, "%q can't be read: %s", name, reason(err))
	}
	return b, nil
}

// text returns a file as a string. HCL brings every string into Unicode's normal form C, so a
// file that this would change is refused: what arrives in an instance is what was written.
func (f *folder) text(name string) (string, error) {
	b, err := f.content(name)
	switch {
	case err != nil:
		return "", err
	case !utf8.Valid(b):
		return "", imx.Errorf(imx.Invalid, "%q is not UTF-8 text", name).
			WithHint("take bytes in unchanged with content = file(%q), and nothing around it", name)
	case !norm.NFC.IsNormal(b):
		return "", imx.Errorf(imx.Invalid, "%q is not in Unicode's normal form C", name).
			WithHint("take it in unchanged with content = file(%q), and nothing around it", name)
	}
	return string(b), nil
}

// inside returns the clean form of a path that doesn't leave the folder.
func inside(name string) (string, error) {
	clean := path.Clean(name)
	if path.IsAbs(name) || !fs.ValidPath(clean) || strings.ContainsRune(name, 0) {
		return "", imx.Errorf(imx.Invalid, "%q is outside of the template's folder", name).
			WithHint("copy the file into the folder: a template is everything at one commit")
	}
	return clean, nil
}

// names returns the paths of the folder's files, hidden ones left out.
func (f *folder) names() []string {
	var names []string
	stop := errors.New("enough")
	err := fs.WalkDir(f.root, ".", func(p string, e fs.DirEntry, err error) error {
		switch {
		case len(names) >= maxLooked:
			return stop
		case err != nil:
			return fs.SkipDir // a folder that can't be read has no name to suggest
		case p != "." && strings.HasPrefix(e.Name(), ".") && e.IsDir():
			return fs.SkipDir
		case !e.IsDir():
			names = append(names, p)
		}
		return nil
	})
	if err != nil && !errors.Is(err, stop) {
		return nil
	}
	slices.Sort(names)
	return names
}

// reason returns what an error says without the path, which the message has already.
func reason(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	if err.Error() == "path escapes from parent" { // os.Root has no name for it
		return "it leads out of the template's folder"
	}
	return err.Error()
}
