package pack

import (
	"encoding/json"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
)

// MaxManifest is what an image's manifest, or its configuration, may have, in bytes.
const MaxManifest = 4 << 20

// stored is an image as far as its root is made of it.
type stored struct {
	layers  []v1.Descriptor
	diffIDs []imx.Digest
	epoch   time.Time // the time of what isn't dated
}

// readImage reads an image's manifest and configuration.
func (p *Packer) readImage(image imx.Digest) (stored, error) {
	var m v1.Manifest
	var config v1.Image
	if err := p.readJSON(image, &m); err != nil {
		return stored{}, err
	}
	if err := p.readJSON(imx.Digest(m.Config.Digest), &config); err != nil {
		return stored{}, err
	}
	if len(config.RootFS.DiffIDs) != len(m.Layers) {
		return stored{}, imx.Errorf(imx.Refused, "image %s has %d layers, and a configuration for %d", image.Short(), len(m.Layers), len(config.RootFS.DiffIDs))
	}
	s := stored{layers: m.Layers, epoch: time.Unix(0, 0)}
	for _, d := range config.RootFS.DiffIDs {
		diffID, err := imx.ParseDigest(string(d))
		if err != nil {
			return stored{}, imx.Errorf(imx.Refused, "image %s: %w", image.Short(), err)
		}
		s.diffIDs = append(s.diffIDs, diffID)
	}
	if config.Created != nil && config.Created.Unix() >= 0 {
		s.epoch = *config.Created
	}
	return s, nil
}

func (p *Packer) readJSON(d imx.Digest, v any) error {
	raw, err := p.blobs.ReadAll(d, MaxManifest)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return imx.Errorf(imx.Refused, "%s is not what an OCI image consists of: %w", d, err)
	}
	return nil
}
