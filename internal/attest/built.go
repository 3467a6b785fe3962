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
// for what is damaged or gone since, or doesn't count any more, and for the provenance of an image that comes of another commit now.
// Errors: as SBOM.
func (a *Attester) Built(ctx context.Context, by imx.Principal, b provenance.Build, report imx.Report) error {
	b, stated, err := a.known(b)
	if err != nil {
		return err
	}
	if !stated {
		_, err := a.Add(ctx, by, Claim{
			Repository: b.Image.Name, Image: b.Image.Digest, PredicateType: imx.PredicateProvenance, Predicate: provenance.Of(b),
			Summary: "built from " + b.Source.String() + " by imx " + b.Version,
		})
		if err != nil {
			return err
		}
	}
	kept, err := a.kept(b.Image.Digest, imx.PredicateSPDX, imx.PredicateCycloneDX)
	if kept || err != nil {
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

// Doubted says why nothing can be stated of an image because it was found built: that it was built is stated, and that doesn't count.
// It is nil for one of which that counts, or nobody stated anything. The error is that, not a failure.
func (a *Attester) Doubted(image imx.Digest) error {
	_, err := a.provenance(image)
	if imx.KindOf(err) == imx.NotFound && a.cfg.Control.State().Evidence[image][imx.PredicateProvenance].Statement == "" {
		return nil
	}
	return err
}

// provenance reads what is stated of how an image came to be. Errors: as Counted; Refused for what isn't one, or builds on a compromised key.
func (a *Attester) provenance(image imx.Digest) (provenance.Predicate, error) {
	var p provenance.Predicate
	st, err := a.Counted(image, imx.PredicateProvenance)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(st.Predicate, &p); err != nil {
		return p, imx.Errorf(imx.Refused, "what is stated of how it came to be can't be read: %w", err)
	}
	return p, p.Definition.Internal.Bytes.Counts(a.cfg.Control.State().Keys)
}

// known fills in on whose word a build found its image, and reports whether all that it would state is stated.
func (a *Attester) known(b provenance.Build) (provenance.Build, bool, error) {
	before, err := a.provenance(b.Image.Digest)
	if isLost(err) {
		return b, false, nil
	}
	if err != nil || b.Bytes.How == provenance.Compared {
		return b, false, err
	}
	if b.Bytes.How == provenance.Found {
		e := a.cfg.Control.State().Evidence[b.Image.Digest][imx.PredicateProvenance]
		b.Bytes = provenance.Bytes{How: provenance.Found, Statement: e.Statement, Signer: e.Signer}
		if first := before.Definition.Internal.Bytes; first.How == provenance.Found && first.Signer != "" {
			b.Bytes = first
		}
	}
	listed, err := a.kept(b.Image.Digest, imx.PredicateProvenance)
	return b, listed && !better(b.Source, before.Definition.External.Template), err
}

// better reports whether an image that comes of two sources is rather stated to come of the one than of the other, which was stated
// before: of a commit that was found later, and of none that it would have to be told of with changes.
func better(now, before imx.Source) bool {
	clean := func(s imx.Source) bool { return s.Commit != "" && !s.Dirty }
	same := now.Commit == before.Commit && now.Dirty == before.Dirty && now.Folder == before.Folder
	return !same && (clean(now) || !clean(before))
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
