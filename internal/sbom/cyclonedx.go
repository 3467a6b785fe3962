package sbom

import (
	"bytes"
	"encoding/hex"
	"encoding/json"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"imx"
)

// CycloneDX returns a CycloneDX 1.6 document in JSON: the image, each binary package with its .deb's digest and the
// source package that it is built from, the components in files and the files that no package brings. The files of
// packages aren't in it: SPDX has them.
func CycloneDX(s Subject) (json.RawMessage, error) {
	bom := cdx.NewBOM()
	bom.JSONSchema, bom.SpecVersion = "http://cyclonedx.org/schema/bom-1.6.schema.json", cdx.SpecVersion1_6
	bom.SerialNumber = serial(s.Image)
	c := cyclone{Subject: s, ids: names{}, all: []cdx.Component{}}
	root := cdx.Component{
		BOMRef: c.ids.unique(s.imageURL()), Type: cdx.ComponentTypeContainer, Name: s.Name, Version: string(s.Image), PackageURL: s.imageURL(),
		Hashes: hashes(s.Image),
	}
	if missed := s.missed(); len(missed) > 0 {
		about := make([]cdx.Property, 0, len(missed))
		for _, m := range missed {
			about = append(about, cdx.Property{Name: "imx:missed", Value: m})
		}
		root.Properties = &about
		bom.Compositions = &[]cdx.Composition{{Aggregate: cdx.CompositionAggregateIncomplete, Assemblies: &[]cdx.BOMReference{cdx.BOMReference(root.BOMRef)}}}
	}
	bom.Metadata = &cdx.Metadata{
		Timestamp: s.stamp(), Component: &root,
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "imx", Version: s.Tool}}},
	}
	found := s.licences()
	for _, p := range s.Inventory.Packages {
		c.debian(p, found[p.Name])
	}
	for _, part := range s.Contents.Components {
		c.part(part)
	}
	for f := range s.files() {
		if f.Package == "" && f.Origin != "" {
			c.file(f)
		}
	}
	bom.Components = &c.all
	direct := make([]string, 0, len(c.all))
	for _, one := range c.all {
		direct = append(direct, one.BOMRef)
	}
	bom.Dependencies = &[]cdx.Dependency{{Ref: root.BOMRef, Dependencies: &direct}}
	var b bytes.Buffer
	err := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetEscapeHTML(true).Encode(bom)
	return bytes.TrimSpace(b.Bytes()), err
}

// serial is a UUID of version 8 made of an image's digest.
func serial(d imx.Digest) string {
	raw, err := hex.DecodeString(d.Hex())
	if err != nil || len(raw) < 16 {
		raw = make([]byte, 16)
	}
	raw[6], raw[8] = raw[6]&0x0f|0x80, raw[8]&0x3f|0x80
	h := hex.EncodeToString(raw[:16])
	return "urn:uuid:" + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// cyclone is a document's list of components that is being made.
type cyclone struct {
	Subject

	ids names
	all []cdx.Component
}

func hashes(d imx.Digest) *[]cdx.Hash {
	if d == "" {
		return nil
	}
	return &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: d.Hex()}}
}

func (c *cyclone) debian(p imx.InventoryPackage, l licence) {
	url := c.debURL(p.Name, p.Version, p.Architecture, p.Suite)
	one := cdx.Component{
		BOMRef: c.ids.unique(url), Type: cdx.ComponentTypeLibrary, Name: p.Name, Version: p.Version, Description: p.Description,
		PackageURL: url, Hashes: hashes(p.Digest),
	}
	switch {
	case l.Expression != noAssertion && l.Expression != "":
		one.Licenses = &cdx.Licenses{{Expression: l.Expression}}
	case l.File != "":
		one.Properties = &[]cdx.Property{{Name: "imx:copyright", Value: l.File}}
	}
	if p.Path != "" {
		one.ExternalReferences = &[]cdx.ExternalReference{{Type: cdx.ERTypeDistribution, URL: escapePath(p.Path), Hashes: hashes(p.Digest), Comment: "below the root of any mirror of the archive"}}
	}
	if p.Source != "" {
		src := c.debURL(p.Source, p.SourceVersion, "source", p.Suite)
		one.Pedigree = &cdx.Pedigree{Ancestors: &[]cdx.Component{{Type: cdx.ComponentTypeLibrary, Name: p.Source, Version: p.SourceVersion, PackageURL: src}}}
	}
	c.all = append(c.all, one)
}

func (c *cyclone) part(p Component) {
	url := p.URL()
	c.all = append(c.all, cdx.Component{
		BOMRef: c.ids.unique(url), Type: cdx.ComponentTypeLibrary, Group: p.Group, Name: p.Name, Version: p.Version, PackageURL: url,
		Evidence: &cdx.Evidence{Occurrences: &[]cdx.EvidenceOccurrence{{Location: p.Path}}},
	})
}

func (c *cyclone) file(f *imx.InventoryPath) {
	c.all = append(c.all, cdx.Component{
		BOMRef: c.ids.unique("file:" + f.Path), Type: cdx.ComponentTypeFile, Name: f.Path, Hashes: hashes(f.Digest),
		Properties: &[]cdx.Property{{Name: "imx:origin", Value: string(f.Origin)}},
	})
}
