package pipeline

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"maps"
	"slices"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/changeset"
	"imx/internal/control"
	"imx/internal/inventory"
)

// builtTag is what the tags begin with under which builds are published.
const builtTag = "plan-"

const (
	maxDocument  = 4 << 20   // bytes of a manifest or configuration, as the registry takes them
	maxInventory = 256 << 20 // bytes of an inventory: some 500,000 paths
	maxUnpacked  = 64 << 30  // bytes of a layer without compression
)

// Images returns the images that were built here, and those that came into the registry from
// outside, the newest first; not those that were removed because nothing needed them any more.
func (p *Pipeline) Images(context.Context) ([]imx.ImageView, error) {
	all, err := p.everyImage()
	return slices.DeleteFunc(all, func(v imx.ImageView) bool { return !p.cfg.Blobs.Has(v.Digest) }), err
}

// everyImage returns also those that are gone.
func (p *Pipeline) everyImage() ([]imx.ImageView, error) {
	return inventory.List(p.cfg.Control.Events(0), p.cfg.Control.State().Services, builtTag)
}

// Find returns the image that a person means. Where that is none of those that are there, it may be one that is gone.
func (p *Pipeline) Find(ctx context.Context, wanted string) (imx.ImageView, error) {
	list, err := p.Images(ctx)
	if err != nil {
		return imx.ImageView{}, err
	}
	services := p.cfg.Control.State().Services
	found, none := inventory.Find(list, services, wanted)
	if imx.KindOf(none) != imx.NotFound {
		return found, none
	}
	if list, err = p.everyImage(); err != nil {
		return imx.ImageView{}, err
	}
	if gone, err := inventory.Find(list, services, wanted); err == nil {
		return gone, imx.Errorf(imx.NotFound, "the bytes of image %s (%s) aren't here any more: there is no blob of its manifest", gone.Name, gone.Digest.Short()).
			WithHint("imx gc removes images that nothing needs; the same template at the same commit builds the same image again")
	}
	return found, none
}

// ImagesAt returns what Images would have returned at a moment.
func (p *Pipeline) ImagesAt(at time.Time) ([]imx.ImageView, error) {
	past, err := p.cfg.Control.At(at)
	if err != nil {
		return nil, err
	}
	until := func(yield func(imx.Event, error) bool) {
		for e, err := range p.cfg.Control.Events(0) {
			if err == nil && e.Index >= past.Next || !yield(e, err) {
				return
			}
		}
	}
	return inventory.List(until, past.Services, builtTag)
}

// Image returns what is known of the image that a person means (inventory.Find). Where no inventory
// was kept with it, its layers are read, which takes about a second for each 300 MB.
// Errors: as inventory.Find; NotFound for bytes that are gone; Refused for changed ones; Invalid for
// a manifest that is no image's.
func (p *Pipeline) Image(ctx context.Context, wanted string) (imx.ImageDetail, error) {
	found, err := p.Find(ctx, wanted)
	if err != nil {
		return imx.ImageDetail{}, err
	}
	d := imx.ImageDetail{ImageView: found, Evidence: control.Evidence(p.cfg.Control.State(), found.Digest)}
	if err := p.describe(&d); err != nil {
		return imx.ImageDetail{}, err
	}
	if found.Inventory != "" {
		raw, err := p.cfg.Blobs.ReadAll(found.Inventory, maxInventory)
		if err != nil {
			return imx.ImageDetail{}, err
		}
		d.Inventory, err = inventory.Parse(raw)
		return d, err
	}
	return d, p.scan(ctx, &d)
}

// describe fills in what manifest and configuration say.
func (p *Pipeline) describe(d *imx.ImageDetail) error {
	var manifest v1.Manifest
	if err := p.document(d.Digest, &manifest); err != nil {
		return err
	}
	if len(manifest.Layers) == 0 || !isConfiguration(manifest.Config.MediaType) {
		return imx.Errorf(imx.Invalid, "%s is not the manifest of an image that can be run", d.Digest).
			WithHint("an index of images for several machines, or another artifact, can't be looked into")
	}
	var config v1.Image
	if err := p.document(imx.Digest(manifest.Config.Digest), &config); err != nil {
		return err
	}
	d.Configuration = configuration(config)
	d.Size = 0
	history := slices.DeleteFunc(config.History, func(h v1.History) bool { return h.EmptyLayer })
	for i, l := range manifest.Layers {
		layer := imx.ImageLayer{Digest: imx.Digest(l.Digest), MediaType: l.MediaType, Size: imx.Size(l.Size)}
		if i < len(history) {
			layer.Says = history[i].CreatedBy
		}
		d.Layers = append(d.Layers, layer)
		d.Size += layer.Size
	}
	return nil
}

// dockerConfiguration is the media type of configurations that tools of that name push.
const dockerConfiguration = "application/vnd.docker.container.image.v1+json"

func isConfiguration(mediaType string) bool {
	return mediaType == v1.MediaTypeImageConfig || mediaType == dockerConfiguration
}

// document reads a small JSON blob.
func (p *Pipeline) document(d imx.Digest, v any) error {
	raw, err := p.cfg.Blobs.ReadAll(d, maxDocument)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return imx.Errorf(imx.Invalid, "%s can't be read as a part of an image: %w", d, err)
	}
	return nil
}

func configuration(c v1.Image) imx.ImageConfiguration {
	known := imx.ImageConfiguration{
		Architecture: c.Architecture, Entrypoint: c.Config.Entrypoint, Command: c.Config.Cmd, User: c.Config.User,
		Environment: c.Config.Env, WorkDir: c.Config.WorkingDir, StopSignal: c.Config.StopSignal,
		Ports: slices.Sorted(maps.Keys(c.Config.ExposedPorts)),
	}
	if c.Created != nil {
		known.Created = *c.Created
	}
	return known
}

// scan makes an inventory from the image's layers, with what its plan says where imx built it.
func (p *Pipeline) scan(ctx context.Context, d *imx.ImageDetail) error {
	var err error
	if d.Inventory, err = inventory.Scan(p.Layers(ctx, d.Layers)); err != nil {
		return err
	}
	d.Scanned = true
	var files int
	for _, path := range d.Inventory.Paths {
		if path.Kind == imx.PathFile {
			files++
		}
	}
	d.Files, d.Packages = files, len(d.Inventory.Packages)
	if plan, err := p.ImagePlan(d.Plan); err == nil {
		asked(d.Inventory.Packages, plan.Spec)
	}
	return nil
}

// asked marks the packages that a template names.
func asked(packages []imx.InventoryPackage, spec imx.ImageSpec) {
	names := spec.Asked()
	for i := range packages {
		packages[i].Asked = names[packages[i].Name]
	}
}

// Layers yields each layer without its compression, one open at a time. Each is read to its end, so that changed
// bytes are found wherever they are; the error is Refused then.
func (p *Pipeline) Layers(ctx context.Context, all []imx.ImageLayer) iter.Seq2[io.Reader, error] {
	return func(yield func(io.Reader, error) bool) {
		for _, l := range all {
			blob, err := p.cfg.Blobs.Reader(l.Digest)
			if err != nil {
				yield(nil, err)
				return
			}
			goOn := yield(unpacked(ctx, blob))
			if goOn {
				_, err = io.Copy(io.Discard, blob) // what comes after a layer's last file
			}
			_ = blob.Close() // it was only read from
			if err != nil {
				yield(nil, err)
			}
			if !goOn || err != nil {
				return
			}
		}
	}
}

// unpacked takes the compression off a layer.
func unpacked(ctx context.Context, r io.Reader) (io.Reader, error) {
	plain, err := changeset.Decompress(ctx, r)
	if err != nil {
		return nil, err
	}
	return io.LimitReader(plain, maxUnpacked), nil
}
