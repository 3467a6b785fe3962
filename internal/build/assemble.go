package build

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/build/pack"
	"imx/internal/build/tree"
)

// LabelPlan is the label, and the manifest's annotation, with the digest of the image's plan.
const LabelPlan = "io.imx.plan"

// assemble lays the template's files over the packages' layers and stores the image's
// configuration, manifest and inventory.
func (b *Builder) assemble(ctx context.Context, p imx.ImagePlan, packed *packed) (Result, error) {
	t := tree.Tree{}
	for _, it := range packed.Items {
		t[it.Path] = it
	}
	who := tree.Accounts{Passwd: packed.Passwd, Group: packed.Group}
	if err := b.lay(t, p, who); err != nil {
		return Result{}, err
	}
	user, err := who.User(p.Spec.User)
	if err != nil {
		return Result{}, trouble(err, "user of image."+p.Spec.Name)
	}
	top, err := b.packer.Pack(ctx, []pack.Group{{Says: "files of the template", Items: t.WithParents(t.From(imx.OriginTemplate))}}, p.Spec.Compression)
	if err != nil {
		return Result{}, err
	}
	layers := slices.Concat(packed.Layers, top)
	manifest, err := b.describe(p, user, layers)
	if err != nil {
		return Result{}, err
	}
	d, _, err := b.cfg.Blobs.Put(bytes.NewReader(manifest), "")
	if err != nil {
		return Result{}, err
	}
	image := imx.Image{Name: p.Spec.Name, Digest: d, Plan: p.Digest(), Files: t.Files(), Packages: len(p.Ship)}
	for _, l := range layers {
		image.Size += imx.Size(l.Descriptor.Size)
	}
	if image.Inventory, err = b.takeStock(t, packed, layers); err != nil {
		return Result{}, err
	}
	return Result{Image: image, Manifest: manifest, MediaType: v1.MediaTypeImageManifest}, nil
}

// describe stores the image's configuration and returns its manifest.
func (b *Builder) describe(p imx.ImagePlan, user string, layers []pack.Layer) ([]byte, error) {
	created := p.Epoch.UTC().Truncate(time.Second)
	labels := map[string]string{
		v1.AnnotationTitle:   p.Spec.Name,
		v1.AnnotationCreated: created.Format(time.RFC3339),
		LabelPlan:            string(p.Digest()),
	}
	config := v1.Image{
		Created:  &created,
		Platform: v1.Platform{Architecture: p.Architecture, OS: "linux"},
		Config: v1.ImageConfig{
			User: user, Env: environment(p.Spec.Environment), Cmd: p.Spec.Command,
			WorkingDir: p.Spec.WorkDir, StopSignal: p.Spec.StopSignal, Labels: labels,
		},
		RootFS: v1.RootFS{Type: "layers"},
	}
	manifest := v1.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   v1.MediaTypeImageManifest,
		Annotations: labels,
	}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.DiffID)
		config.History = append(config.History, v1.History{Created: &created, CreatedBy: "imx: " + l.Says})
		manifest.Layers = append(manifest.Layers, l.Descriptor)
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	d, size, err := b.cfg.Blobs.Put(bytes.NewReader(raw), "")
	if err != nil {
		return nil, err
	}
	manifest.Config = v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: digest.Digest(d), Size: size}
	return json.Marshal(manifest)
}

// environment is the variables sorted by name; PATH is there in any case, as runtimes expect.
func environment(vars map[string]string) []string {
	all := map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	maps.Copy(all, vars)
	var list []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, name+"="+all[name])
	}
	return list
}

// lay puts the template's directories and files into the tree, over what packages carry.
func (b *Builder) lay(t tree.Tree, p imx.ImagePlan, who tree.Accounts) error {
	spec, at := p.Spec, p.Epoch.Unix()
	for _, d := range spec.Directories {
		mode := fs.FileMode(d.Mode)
		if mode == 0 {
			mode = 0o755
		}
		it := &tree.Item{Mode: fs.ModeDir | tree.Permissions(mode), Time: at}
		if err := layItem(t, d.Path, d.Owner, it, who); err != nil {
			return trouble(err, fmt.Sprintf("directory %s of image.%s", d.Path, spec.Name))
		}
	}
	for _, f := range spec.Files {
		mode := fs.FileMode(f.Mode)
		if mode == 0 {
			mode = 0o644
		}
		it := &tree.Item{Mode: tree.Permissions(mode), Size: f.Size, Digest: f.Digest, Time: at}
		it.Open = func() (io.ReadCloser, error) { return b.cfg.Blobs.Reader(f.Digest) }
		if err := layItem(t, f.Path, f.Owner, it, who); err != nil {
			return trouble(err, fmt.Sprintf("file %s of image.%s", f.Path, spec.Name))
		}
	}
	return nil
}

// layItem puts one item of the template at a path, making the directories above it.
func layItem(t tree.Tree, name, owner string, it *tree.Item, who tree.Accounts) error {
	place, err := t.Parent(strings.Trim(path.Clean(name), "/"))
	if err != nil {
		return err
	}
	if old := t[place]; old != nil && old.Mode.IsDir() != it.Mode.IsDir() {
		return imx.Errorf(imx.Invalid, "a package has %s at /%s already", tree.Kind(old.Mode), place).
			WithHint("give another path")
	}
	for dir := path.Dir(place); dir != "."; dir = path.Dir(dir) {
		switch above := t[dir]; {
		case above == nil:
			t[dir] = &tree.Item{Path: dir, Mode: fs.ModeDir | 0o755, Time: it.Time, Origin: imx.OriginTemplate}
		case !above.Mode.IsDir():
			return imx.Errorf(imx.Invalid, "/%s, which it would lie below, is %s", dir, tree.Kind(above.Mode))
		}
	}
	if it.UID, it.GID, err = who.Owner(owner); err != nil {
		return err
	}
	it.Path, it.Origin = place, imx.OriginTemplate
	t[place] = it
	return nil
}
