package attest

import (
	"context"
	"encoding/json"
	"fmt"

	"imx"
	"imx/internal/provenance"
	"imx/internal/sbom"
)

// Built states what is known of an image that was built just now, or was found built: how it came to be, and what
// is in it. What was stated already isn't made again, so that a build that changes nothing costs nothing here, but
// for what is damaged or gone since, or doesn't count any more.
// Errors: as SBOM.
func (a *Attester) Built(ctx context.Context, by imx.Principal, b provenance.Build, report imx.Report) error {
	kept, err := a.kept(b.Image.Digest, imx.PredicateProvenance)
	if err != nil {
		return err
	}
	if !kept {
		_, err := a.Add(ctx, by, Claim{
			Repository: b.Image.Name, Image: b.Image.Digest, PredicateType: imx.PredicateProvenance, Predicate: provenance.Of(b),
			Summary: "built from " + b.Source.String() + " by imx " + b.Version,
		})
		if err != nil {
			return err
		}
	}
	if kept, err = a.kept(b.Image.Digest, imx.PredicateSPDX, imx.PredicateCycloneDX); kept || err != nil {
		return err
	}
	began := a.cfg.Now()
	step := imx.Progress{Step: "describe image." + b.Image.Name, Status: imx.StepRunning}
	report(step)
	detail, err := a.cfg.Images.Image(ctx, string(b.Image.Digest))
	if err == nil {
		_, err = a.describe(ctx, by, detail)
	}
	step.Seconds = a.cfg.Now().Sub(began).Seconds()
	if step.Status = imx.StepDone; err != nil {
		step.Status, step.Message = imx.StepFailed, err.Error()
	}
	report(step)
	return err
}

// kept reports whether statements of all the types are there, with the bytes that were kept, and may count.
func (a *Attester) kept(image imx.Digest, types ...string) (bool, error) {
	have := a.cfg.Control.State().Evidence[image]
	for _, t := range types {
		e, ok := have[t]
		if counts := ok && a.cfg.Store.Counts(e) == nil; !counts {
			return false, nil
		}
		if err := a.cfg.Store.Check(e); isLost(err) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	return true, nil
}

// isLost reports whether a statement is damaged or gone, so that it has to be made again.
func isLost(err error) bool {
	kind := imx.KindOf(err)
	return err != nil && (kind == imx.Refused || kind == imx.NotFound)
}

// SBOM returns the document of a type, imx.PredicateSPDX or imx.PredicateCycloneDX, of the image that a person
// means. The image's bytes are read, and compared with its inventory, before anything is said of them. Of an image
// that has none yet, as one that was pushed, it is made and kept, and so it is where the one that was kept is damaged,
// gone, or doesn't count.
// Errors: Refused for an image that was changed; as Images.Image.
func (a *Attester) SBOM(ctx context.Context, by imx.Principal, image, predicateType string) (json.RawMessage, error) {
	detail, err := a.cfg.Images.Image(ctx, image)
	if err != nil {
		return nil, err
	}
	if e, ok := a.cfg.Control.State().Evidence[detail.Digest][predicateType]; ok && a.cfg.Store.Counts(e) == nil {
		st, err := a.cfg.Store.Read(e)
		if err == nil {
			_, err = a.examine(ctx, detail)
		}
		switch {
		case err == nil:
			return st.Predicate, nil
		case st.Predicate != nil || !isLost(err): // it is the image that is wrong
			return nil, err
		}
	}
	made, err := a.describe(ctx, by, detail)
	return made[predicateType], err
}

// CycloneDX returns the CycloneDX document that is evidence about an image, without reading the image again. Of an image
// that has none that counts it is made and kept. Errors: as SBOM.
func (a *Attester) CycloneDX(ctx context.Context, by imx.Principal, d imx.ImageDetail) (json.RawMessage, error) {
	if e, ok := a.cfg.Control.State().Evidence[d.Digest][imx.PredicateCycloneDX]; ok && a.cfg.Store.Counts(e) == nil {
		if st, err := a.cfg.Store.Read(e); !isLost(err) {
			return st.Predicate, err
		}
	}
	made, err := a.describe(ctx, by, d)
	return made[imx.PredicateCycloneDX], err
}

// examine reads all of an image's layers. Errors: Refused if they aren't those of its inventory.
func (a *Attester) examine(ctx context.Context, d imx.ImageDetail) (sbom.Contents, error) {
	found, contents, err := sbom.Examine(ctx, a.cfg.Images.Layers(ctx, d.Layers))
	if err == nil && !d.Scanned {
		err = sbom.Check(d.Inventory, found)
	}
	if err != nil {
		return contents, fmt.Errorf("image %s %s can't be described: %w", d.Name, d.Digest.Short(), err)
	}
	return contents, nil
}

// describe makes both documents of an image and keeps them.
func (a *Attester) describe(ctx context.Context, by imx.Principal, d imx.ImageDetail) (map[string]json.RawMessage, error) {
	contents, err := a.examine(ctx, d)
	if err != nil {
		return nil, err
	}
	subject := sbom.Subject{
		Name: d.Name, Image: d.Digest, Created: d.Configuration.Created, Tool: a.cfg.Version, Inventory: d.Inventory, Contents: contents,
	}
	made := map[string]json.RawMessage{}
	if made[imx.PredicateSPDX], err = sbom.SPDX(subject); err != nil {
		return nil, err
	}
	if made[imx.PredicateCycloneDX], err = sbom.CycloneDX(subject); err != nil {
		return nil, err
	}
	summary := fmt.Sprintf("packages %d, components in files %d", len(d.Inventory.Packages), len(contents.Components))
	if n := len(contents.Missed) + contents.More; n > 0 {
		summary += fmt.Sprintf(", files that aren't all known %d", n)
	}
	for _, t := range []string{imx.PredicateSPDX, imx.PredicateCycloneDX} {
		_, err := a.Add(ctx, by, Claim{
			Repository: d.Name, Image: d.Digest, PredicateType: t, Predicate: made[t],
			Summary: summary,
		})
		if err != nil {
			return nil, err
		}
	}
	return made, nil
}
