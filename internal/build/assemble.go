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
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
)

// LabelPlan is the label, and the manifest's annotation, with the digest of the image's plan.
const LabelPlan = "io.imx.plan"

// assemble lays the template's files over the packages' layers and stores the image's
// configuration, manifest and inventory. It returns the image's whole tree, too.
func (b *Builder) assemble(ctx context.Context, p imx.ImagePlan, packed *packed) (Result, tree, error) {
	t := tree{}
	for _, it := range packed.Items {
		t[it.Path] = it
	}
	who := accounts{packed.Passwd, packed.Group}
	if err := b.lay(t, p, who); err != nil {
		return Result{}, nil, err
	}
	user, err := who.user(p.Spec.User)
	if err != nil {
		return Result{}, nil, trouble(err, "user of image."+p.Spec.Name)
	}
	top, err := b.pack(ctx, []group{{"files of the template", t.withParents(t.from(imx.OriginTemplate))}}, p.Spec.Compression)
	if err != nil {
		return Result{}, nil, err
	}
	layers := slices.Concat(packed.Layers, top)
	manifest, err := b.describe(p, user, layers)
	if err != nil {
		return Result{}, nil, err
	}
	d, _, err := b.cfg.Blobs.Put(bytes.NewReader(manifest), "")
	if err != nil {
		return Result{}, nil, err
	}
	image := imx.Image{Name: p.Spec.Name, Digest: d, Plan: p.Digest(), Files: t.files(), Packages: len(p.Ship)}
	for _, l := range layers {
		image.Size += imx.Size(l.Descriptor.Size)
	}
	if image.Inventory, err = b.takeStock(t, packed, layers); err != nil {
		return Result{}, nil, err
	}
	return Result{Image: image, Manifest: manifest, MediaType: v1.MediaTypeImageManifest}, t, nil
}

// describe stores the image's configuration and returns its manifest.
func (b *Builder) describe(p imx.ImagePlan, user string, layers []layer) ([]byte, error) {
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
func (b *Builder) lay(t tree, p imx.ImagePlan, who accounts) error {
	spec, at := p.Spec, p.Epoch.Unix()
	for _, d := range spec.Directories {
		mode := fs.FileMode(d.Mode)
		if mode == 0 {
			mode = 0o755
		}
		it := &item{Mode: fs.ModeDir | permissions(mode), Time: at}
		if err := t.lay(d.Path, d.Owner, it, who); err != nil {
			return trouble(err, fmt.Sprintf("directory %s of image.%s", d.Path, spec.Name))
		}
	}
	for _, f := range spec.Files {
		mode := fs.FileMode(f.Mode)
		if mode == 0 {
			mode = 0o644
		}
		it := &item{Mode: permissions(mode), Size: f.Size, Digest: f.Digest, Time: at}
		it.open = func() (io.ReadCloser, error) { return b.cfg.Blobs.Reader(f.Digest) }
		if err := t.lay(f.Path, f.Owner, it, who); err != nil {
			return trouble(err, fmt.Sprintf("file %s of image.%s", f.Path, spec.Name))
		}
	}
	return nil
}

// permissions turns octal permission bits into fs.FileMode's.
func permissions(octal fs.FileMode) fs.FileMode {
	mode := octal & fs.ModePerm
	for bit, flag := range map[fs.FileMode]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if octal&bit != 0 {
			mode |= flag
		}
	}
	return mode
}

// lay puts one item of the template at a path, making the directories above it.
func (t tree) lay(name, owner string, it *item, who accounts) error {
	place, err := t.parent(strings.Trim(path.Clean(name), "/"))
	if err != nil {
		return err
	}
	if old := t[place]; old != nil && old.Mode.IsDir() != it.Mode.IsDir() {
		return imx.Errorf(imx.Invalid, "a package has %s at /%s already", kindOf(old.Mode), place).
			WithHint("give another path")
	}
	for dir := path.Dir(place); dir != "."; dir = path.Dir(dir) {
		switch above := t[dir]; {
		case above == nil:
			t[dir] = &item{Path: dir, Mode: fs.ModeDir | 0o755, Time: it.Time, Origin: imx.OriginTemplate}
		case !above.Mode.IsDir():
			return imx.Errorf(imx.Invalid, "/%s, which it would lie below, is %s", dir, kindOf(above.Mode))
		}
	}
	if it.UID, it.GID, err = who.owner(owner); err != nil {
		return err
	}
	it.Path, it.Origin = place, imx.OriginTemplate
	t[place] = it
	return nil
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	}
	return "a file"
}

// accounts are an image's users and groups.
type accounts struct{ passwd, group string }

// owner returns the ids of a user by name, or of "uid[:gid]"; "" is root. Where a number has no
// account, its group is the same number.
func (a accounts) owner(name string) (uid, gid int, err error) {
	if name == "" {
		return 0, 0, nil
	}
	first, second, both := strings.Cut(name, ":")
	user := lookup(a.passwd, first)
	switch n, err := strconv.Atoi(first); {
	case user != nil:
		uid, gid = user[2], user[3]
	case err != nil || n < 0:
		return 0, 0, imx.Errorf(imx.Invalid, "the image has no user %q", first).
			WithHint("%s", oneOf(names(a.passwd)))
	default:
		uid, gid = n, n
	}
	if !both {
		return uid, gid, nil
	}
	if group := lookup(a.group, second); group != nil {
		return uid, group[2], nil
	}
	if gid, err = strconv.Atoi(second); err != nil || gid < 0 {
		return 0, 0, imx.Errorf(imx.Invalid, "the image has no group %q", second).
			WithHint("%s", oneOf(names(a.group)))
	}
	return uid, gid, nil
}

// user returns what an image's configuration has as its user: always numbers, so that an engine
// needs no account file.
func (a accounts) user(name string) (string, error) {
	uid, gid, err := a.owner(name)
	return fmt.Sprintf("%d:%d", uid, gid), err
}

// lookup finds a name, or a number in the third field, in a file such as passwd(5) or group(5) and
// returns its fields as numbers, -1 where they are none.
func lookup(file, key string) []int {
	for line := range strings.Lines(file) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) < 4 || fields[0] != key && fields[2] != key {
			continue
		}
		numbers := make([]int, len(fields))
		for i, f := range fields {
			n, err := strconv.Atoi(f)
			if err != nil {
				n = -1
			}
			numbers[i] = n
		}
		return numbers
	}
	return nil
}

func names(file string) []string {
	var list []string
	for line := range strings.Lines(file) {
		name, _, ok := strings.Cut(line, ":")
		if ok {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// oneOf is the advice to take one of the accounts that an image has, if it has any.
func oneOf(names []string) string {
	if len(names) == 0 {
		return "write a number: it has none at all"
	}
	return "write one of " + strings.Join(names, ", ") + ", or a number"
}
