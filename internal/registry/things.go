package registry

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"imx"
	"imx/internal/disk"
	"imx/internal/gc"
)

// nameKind is a name in a repository, which the key tells as it is on the disk: "team+app/tags/v1".
const nameKind gc.Kind = "name"

// Things shows the registry to a collection of what nothing needs. A tag that somebody pushed stays, and so
// does its image; that of a build stays as long as the image does. What refers to an image, a signature for
// example, stays with it.
func (r *Registry) Things() gc.Store { return &things{r: r} }

type things struct {
	r     *Registry
	names map[gc.Thing]text // all names, read once
	// having are, by a manifest's digest, its names in the repositories that have it.
	having map[imx.Digest][]gc.Thing
	// bytes are, by SHA-512, the SHA-256 of blobs and manifests that have such a name.
	bytes  map[imx.Digest]imx.Digest
	tagged map[imx.Digest][]gc.Thing // the builds' tags of a manifest
	refers map[imx.Digest][]gc.Thing // the names of what refers to it
}

// text is what a name's file holds, as far as it is read.
type text string

// sorts are the sorts of names, in the order in which they go.
func sorts() []string { return []string{tagNames, referrerNames, manifestNames, blobNames} }

// read reads all names.
func (t *things) read() error {
	if t.names != nil {
		return nil
	}
	t.names, t.having, t.bytes = map[gc.Thing]text{}, map[imx.Digest][]gc.Thing{}, map[imx.Digest]imx.Digest{}
	t.tagged, t.refers = map[imx.Digest][]gc.Thing{}, map[imx.Digest][]gc.Thing{}
	repositories, err := listDir(t.r.repositoryDir())
	if err != nil {
		return err
	}
	for _, repo := range repositories {
		for _, sort := range sorts() {
			files, err := listDir(filepath.Join(t.r.repositoryDir(), repo, sort))
			if err != nil {
				return err
			}
			for _, file := range files {
				if err := t.note(repo, sort, file); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// note takes one name in.
func (t *things) note(repo, sort, file string) error {
	name := gc.Thing{Kind: nameKind, Key: repo + "/" + sort + "/" + file}
	t.names[name] = ""
	switch sort {
	case tagNames:
		b, err := os.ReadFile(t.path(name))
		if err != nil {
			return disk.Error(err, "reading a tag")
		}
		d, _, err := parseTag(string(b))
		if err != nil {
			return imx.Errorf(imx.Internal, "the tag %s is damaged on disk: it names %.80q", name.Key, b).
				WithHint("remove the file, and push the tag again")
		}
		t.names[name] = text(d)
		if isBuilt(file) {
			t.tagged[d] = append(t.tagged[d], name)
		}
	case manifestNames:
		return t.noteDigest(name, file, func(d imx.Digest) { t.having[d] = append(t.having[d], name) })
	case blobNames:
		return t.noteDigest(name, file, func(imx.Digest) {})
	case referrerNames:
		subject, _, _ := strings.Cut(file, ".")
		d := keyDigest(subject)
		t.refers[d] = append(t.refers[d], name)
	}
	return nil
}

// noteDigest takes a name in by its digest, and, where that is a SHA-512, by that of the bytes too.
func (t *things) noteDigest(name gc.Thing, file string, note func(imx.Digest)) error {
	d := keyDigest(file)
	note(d)
	if !isSHA512(d) {
		return nil
	}
	text, err := os.ReadFile(t.path(name))
	if err != nil {
		return disk.Error(err, "reading a name in the registry")
	}
	bytes, err := parseMark(string(text)).bytesOf(d)
	if err != nil {
		return err
	}
	t.bytes[d] = bytes
	note(bytes)
	return nil
}

// blob is what keeps the bytes that a digest of either sort stands for.
func (t *things) blob(d imx.Digest) gc.Thing { return gc.Of(gc.Blob, cmp.Or(t.bytes[d], d)) }

func isBuilt(tag string) bool { return strings.HasPrefix(tag, BuiltTag) }

func (t *things) path(name gc.Thing) string {
	return filepath.Join(t.r.repositoryDir(), filepath.FromSlash(name.Key))
}

// parts are a name's repository, sort and file.
func parts(name gc.Thing) (repo, sort, file string) {
	repo, rest, _ := strings.Cut(name.Key, "/")
	sort, file, _ = strings.Cut(rest, "/")
	return repo, sort, file
}

// Roots implements gc.Store.
func (t *things) Roots() ([]gc.Thing, error) {
	if err := t.read(); err != nil {
		return nil, err
	}
	var all []gc.Thing
	for name := range t.names {
		if _, sort, file := parts(name); sort == tagNames && !isBuilt(file) {
			all = append(all, name)
		}
	}
	return all, nil
}

// Items implements gc.Store.
func (t *things) Items() iter.Seq2[gc.Item, error] {
	return func(yield func(gc.Item, error) bool) {
		if err := t.read(); err != nil {
			yield(gc.Item{}, err)
			return
		}
		for _, name := range t.inOrder() {
			st, err := os.Stat(t.path(name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				yield(gc.Item{}, disk.Error(err, "listing the registry"))
				return
			}
			if !yield(gc.Item{Thing: name, Made: st.ModTime()}, nil) {
				return
			}
		}
	}
}

// inOrder returns all names, in the order of sorts and then of their own.
func (t *things) inOrder() []gc.Thing {
	return slices.SortedFunc(maps.Keys(t.names), func(a, b gc.Thing) int {
		_, sortOfA, _ := parts(a)
		_, sortOfB, _ := parts(b)
		return cmp.Or(slices.Index(sorts(), sortOfA)-slices.Index(sorts(), sortOfB), strings.Compare(a.Key, b.Key))
	})
}

// Needs implements gc.Store.
func (t *things) Needs(thing gc.Thing) ([]gc.Thing, error) {
	if err := t.read(); err != nil {
		return nil, err
	}
	if thing.Kind == gc.Image {
		return t.ofImage(thing.Digest())
	}
	if thing.Kind == nameKind {
		return t.ofName(thing), nil
	}
	return nil, nil
}

func (t *things) ofName(name gc.Thing) []gc.Thing {
	switch _, sort, file := parts(name); sort {
	case tagNames:
		return []gc.Thing{gc.Of(gc.Image, imx.Digest(t.names[name]))}
	case manifestNames:
		return []gc.Thing{gc.Of(gc.Image, keyDigest(file))}
	case blobNames:
		return []gc.Thing{t.blob(keyDigest(file))}
	case referrerNames:
		_, refers, _ := strings.Cut(file, ".")
		return []gc.Thing{gc.Of(gc.Image, keyDigest(refers))}
	}
	return nil
}

// ofImage is what pulling an image takes: its bytes, and its names in each repository that has it. A name by SHA-512 is one of
// the image by SHA-256 too, and what refers to either stays with both.
func (t *things) ofImage(d imx.Digest) ([]gc.Thing, error) {
	bytes := t.blob(d)
	all := append([]gc.Thing{bytes}, t.tagged[d]...)
	for _, name := range t.having[d] {
		_, _, file := parts(name)
		all = append(all, name)
		all = append(all, t.refers[keyDigest(file)]...)
	}
	all = append(all, t.refers[d]...)
	raw, err := t.r.blobs.ReadAll(bytes.Digest(), MaxManifest)
	if imx.KindOf(err) == imx.NotFound {
		return all, nil
	}
	var m manifest
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil {
		return nil, imx.Errorf(imx.KindOf(err), "reading what image %s needs: %w", d.Short(), err)
	}
	for _, child := range m.Manifests {
		all = append(all, gc.Of(gc.Image, imx.Digest(child.Digest)))
	}
	for _, b := range m.blobs() {
		part := imx.Digest(b.Digest)
		all = append(all, t.blob(part))
		for _, name := range t.having[d] {
			repo, _, _ := parts(name)
			all = append(all, gc.Thing{Kind: nameKind, Key: repo + "/" + blobNames + "/" + fileKey(part)})
		}
	}
	return all, nil
}

// Size implements gc.Store: the bytes are the blob store's.
func (*things) Size(gc.Thing) (imx.Size, error) { return 0, nil }

// Remove implements gc.Store.
func (t *things) Remove(name gc.Thing) error {
	t.r.usage.naming.RLock()
	defer t.r.usage.naming.RUnlock()
	defer t.r.usage.forget()
	if err := os.Remove(t.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return disk.Error(err, "removing a name from the registry")
	}
	return nil
}
