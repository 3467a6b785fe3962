// Package build makes an OCI image from a plan of one: it installs the planned packages with their
// own dpkg in a sandbox and takes the files that belong into an image out of it. It resolves
// nothing, downloads nothing (its caller brings the .debs into the blob store), runs no instance
// and knows no package by name.
//
// What was done is not done again. Each step publishes its result, complete and synced, by a rename
// to a name that is the digest of all that went into it:
//
//	unpacked/<digest of a .deb>/         the same package's two archives, checked and without compression
//	base/<digest of ImagePlan.Base>/     a configured build root, shared by all images
//	contents/<digest of a .deb>          what is in the package (JSON)
//	layers/<digest of the items>         a layer (JSON; bytes in the blob store)
//	packages/<digest of the packages>    the layers that the packages make (JSON; bytes in the blob store)
//	plans/<ImagePlan.Digest>             the built image (JSON; bytes in the blob store)
//	roots/<digest of the manifest>       the digest of the image's root file system: roots/<digest>.erofs
//	roots/<digest of a layer>.part       a layer without compression, where roots have their files' content
//	tmp/                                 what isn't done yet; New removes it
package build

import (
	"cmp"
	"context"
	"encoding/json"
	"path/filepath"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/blob"
	"imx/internal/build/pack"
	"imx/internal/build/store"
)

// format counts the changes to what a plan's image looks like. Results of another format are
// made anew.
const format = 3

// atOnce is how many images are built at a time; further ones wait.
const atOnce = 2

// Config is what a Builder needs.
type Config struct {
	Dir   string // its own folder, on a file system that overlayfs can write to
	Blobs *blob.Store
	// Limit is how long one run of dpkg may take, for all its packages; 0 means 15 minutes. StepLimit is
	// how long it may take for one step of one package; 0 means 5 minutes.
	Limit, StepLimit time.Duration
	// Memory and Processes are what maintainer scripts may use together; 0 means 4 GiB and 2048.
	Memory    imx.Size
	Processes int
}

func (c Config) withDefaults() Config {
	c.Limit = cmp.Or(c.Limit, 15*time.Minute)
	c.StepLimit = cmp.Or(c.StepLimit, 5*time.Minute)
	c.Memory = cmp.Or(c.Memory, 4<<30)
	c.Processes = cmp.Or(c.Processes, 2048)
	return c
}

func (c Config) bounds() bounds { return bounds{c.Memory, c.Processes} }

// Fetch brings the packages' .debs into the builder's blob store. Which archives it knows is its
// caller's business: they are declared in templates, and a plan names no mirror.
type Fetch func(ctx context.Context, packages []imx.Package, report imx.Report) error

// Builder builds images. Its methods may be called from several goroutines at once; of two builds
// of the same thing one does the work and the other waits for it. No other process may use its
// folder at the same time.
type Builder struct {
	cfg    Config
	groups cgroups
	store  *store.Store
	packer *pack.Packer
	slots  chan struct{}
	// backwards has it take packages in the opposite order, for a second opinion (CheckRepro).
	backwards bool
}

// Result is a built image.
type Result struct {
	Image     imx.Image
	Manifest  []byte // the OCI manifest, which is in the blob store too
	MediaType string // of the manifest
	Cached    bool   // it was there already
}

// New returns a builder after removing what a dead process left in the folder.
func New(cfg Config) (*Builder, error) {
	cfg = cfg.withDefaults()
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, trouble(err, "finding the build folder")
	}
	cfg.Dir = dir
	groups, err := findCgroups(dir)
	if err != nil {
		return nil, trouble(err, "looking for control groups")
	}
	groups.sweep()
	results, err := store.Open(dir, append(pack.Kinds(), "unpacked", "base", "contents", "packages", "plans")...)
	if err != nil {
		return nil, trouble(err, "opening the build folder")
	}
	return &Builder{cfg: cfg, store: results, packer: pack.New(results, cfg.Blobs), groups: groups, slots: make(chan struct{}, atOnce)}, nil
}

// Run builds p's image, or finds that it was built. fetch is called only for packages whose .debs
// aren't in the blob store. Errors a person can act on: Invalid (a script
// fails or generates a path that nothing allows, a user or file of the template doesn't fit),
// Refused (a package that no image may have), Exhausted (no space, no time), and those of Fetch. After
// an error or a killed process, the next Run starts from the steps that were done.
func (b *Builder) Run(ctx context.Context, p imx.ImagePlan, fetch Fetch, report imx.Report) (Result, error) {
	s := steps{name: Step(p), begun: time.Now(), fetch: fetch, report: report}
	res, err := b.run(ctx, p, s)
	switch {
	case err != nil:
		s.end(imx.StepFailed, err.Error())
		return Result{}, trouble(err, "building image."+p.Spec.Name)
	case res.Cached:
		s.end(imx.StepCached, res.Image.Digest.Short())
	default:
		s.end(imx.StepDone, res.Image.Digest.Short())
	}
	return res, nil
}

func (b *Builder) run(ctx context.Context, p imx.ImagePlan, s steps) (Result, error) {
	unlock, err := b.store.Lock(ctx, "plan "+string(p.Digest()))
	if err != nil {
		return Result{}, err
	}
	defer unlock()
	if res, ok := b.known(ctx, p); ok {
		return res, nil
	}
	if err := b.turn(ctx, s); err != nil {
		return Result{}, err
	}
	defer func() { <-b.slots }()
	return b.make(ctx, p, s)
}

// turn waits until fewer than atOnce builds run.
func (b *Builder) turn(ctx context.Context, s steps) error {
	select {
	case b.slots <- struct{}{}:
		return nil
	default:
		s.say("waiting for other builds")
	}
	select {
	case b.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// record is what plans/ remembers of an image.
type record struct {
	Format int       `json:"format"`
	Image  imx.Image `json:"image"`
}

// known finds an image that was built, as long as all of it is still there.
func (b *Builder) known(ctx context.Context, p imx.ImagePlan) (Result, bool) {
	var r record
	if !b.store.Recall("plans", p.Digest(), &r) || r.Format != format {
		return Result{}, false
	}
	manifest, err := b.cfg.Blobs.ReadAll(r.Image.Digest, pack.MaxManifest)
	if err != nil {
		return Result{}, false
	}
	var m v1.Manifest
	if json.Unmarshal(manifest, &m) != nil || !b.cfg.Blobs.Has(imx.Digest(m.Config.Digest)) || !b.hasLayers(m.Layers) {
		return Result{}, false
	}
	if !b.cfg.Blobs.Has(r.Image.Inventory) {
		return Result{}, false
	}
	_, root, err := b.Root(ctx, r.Image.Digest)
	if err != nil {
		return Result{}, false
	}
	image := r.Image
	image.Root = root
	return Result{Image: image, Manifest: manifest, MediaType: v1.MediaTypeImageManifest, Cached: true}, true
}

// Root returns the EROFS file of an image that is in the blob store, by its manifest's digest, and the file's own
// digest (pack.Packer.Root).
func (b *Builder) Root(ctx context.Context, image imx.Digest) (string, imx.Digest, error) {
	file, root, err := b.packer.Root(ctx, image)
	return file, root, trouble(err, "making the root file system of image "+image.Short())
}

func (b *Builder) hasLayers(layers []v1.Descriptor) bool {
	for _, l := range layers {
		if !b.cfg.Blobs.Has(imx.Digest(l.Digest)) {
			return false
		}
	}
	return true
}

func (b *Builder) make(ctx context.Context, p imx.ImagePlan, s steps) (Result, error) {
	packed, err := b.packages(ctx, b.arranged(p), s)
	if err != nil {
		return Result{}, err
	}
	defer packed.release()
	s.say("packing the template's files")
	res, err := b.assemble(ctx, p, packed)
	if err != nil {
		return Result{}, err
	}
	s.say("making the root file system")
	_, res.Image.Root, err = b.Root(ctx, res.Image.Digest)
	if err != nil {
		return Result{}, err
	}
	return res, b.store.Remember("plans", p.Digest(), record{Format: format, Image: res.Image})
}
