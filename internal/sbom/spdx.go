package sbom

import (
	"crypto/sha1" //nolint:gosec // SPDX 2.3 defines a package's verification code by it; nothing is trusted for it
	"encoding/hex"
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"

	"imx"
	"imx/internal/purl"
)

// SPDX returns an SPDX 2.3 document in JSON: the image, each binary package with its .deb's digest, the source
// packages that they are built from, every regular file with what brings it, and the components in files.
func SPDX(s Subject) (json.RawMessage, error) {
	d := spdx{Subject: s, ids: names{}, packages: map[string]common.ElementID{}, found: s.licences()}
	d.doc = v2_3.Document{
		SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: s.Name,
		DocumentNamespace: "urn:imx:image:" + s.Image.Hex() + ":spdx",
		CreationInfo:      &v2_3.CreationInfo{Created: s.stamp(), Creators: []common.Creator{{CreatorType: "Tool", Creator: "imx-" + s.Tool}}},
	}
	d.doc.Relationships = make([]*v2_3.Relationship, 0, len(s.Inventory.Paths)+2*len(s.Inventory.Packages)+len(s.Contents.Components)+1)
	root := d.image()
	sources := d.sourcePackages()
	for _, p := range s.Inventory.Packages {
		d.debian(p, root, sources)
	}
	d.fileList(root)
	d.ownLicences()
	return json.Marshal(d.doc)
}

// spdx is a document that is being made.
type spdx struct {
	Subject

	doc      v2_3.Document
	ids      names
	packages map[string]common.ElementID // by the package's name
	found    map[string]licence
}

func (d *spdx) add(p v2_3.Package, id string) common.ElementID {
	p.PackageSPDXIdentifier = common.ElementID(d.ids.unique(id))
	if p.PackageDownloadLocation == "" {
		p.PackageDownloadLocation = noAssertion
	}
	d.doc.Packages = append(d.doc.Packages, &p)
	return p.PackageSPDXIdentifier
}

func (d *spdx) relate(a common.ElementID, how string, b common.ElementID) {
	d.doc.Relationships = append(d.doc.Relationships, &v2_3.Relationship{
		RefA: common.DocElementID{ElementRefID: a}, RefB: common.DocElementID{ElementRefID: b}, Relationship: how,
	})
}

func reference(url string) []*v2_3.PackageExternalReference {
	return []*v2_3.PackageExternalReference{{Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: url}}
}

// image adds the image itself, which the document describes.
func (d *spdx) image() common.ElementID {
	root := d.add(v2_3.Package{
		PackageName: d.Name, PackageVersion: string(d.Image), PrimaryPackagePurpose: "CONTAINER",
		PackageChecksums:          []common.Checksum{{Algorithm: common.SHA256, Value: d.Image.Hex()}},
		PackageExternalReferences: reference(d.imageURL()), PackageComment: strings.Join(d.missed(), "\n"),
	}, "Image")
	d.relate("DOCUMENT", common.TypeRelationshipDescribe, root)
	return root
}

func (s Subject) imageURL() string {
	return purl.Image(s.Name, s.Image).String()
}

func (d *spdx) sourcePackages() map[[2]string]common.ElementID {
	ids := map[[2]string]common.ElementID{}
	for _, src := range d.sources() {
		ids[[2]string{src.name, src.version}] = d.add(v2_3.Package{
			PackageName: src.name, PackageVersion: src.version, PrimaryPackagePurpose: "SOURCE",
			PackageExternalReferences: reference(d.debURL(src.name, src.version, "source", src.suite)),
		}, identifier("Source", src.name, src.version))
	}
	return ids
}

// debian adds a binary package. The archive that it comes from isn't named by a mirror, of which any has the
// same bytes: its path below one is in PackageFileName.
func (d *spdx) debian(p imx.InventoryPackage, root common.ElementID, sources map[[2]string]common.ElementID) {
	l := d.found[p.Name]
	entry := v2_3.Package{
		PackageName: p.Name, PackageVersion: p.Version, PackageFileName: p.Path, PackageSummary: p.Description,
		PackageLicenseDeclared: l.Expression, PackageLicenseConcluded: noAssertion, PackageCopyrightText: noAssertion,
		PackageExternalReferences: reference(d.debURL(p.Name, p.Version, p.Architecture, p.Suite)),
	}
	if l.File != "" {
		entry.PackageLicenseComments = "as " + l.File + " in the image says"
	}
	if p.Digest != "" {
		entry.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: p.Digest.Hex()}}
	}
	id := d.add(entry, identifier("Package", p.Name, p.Architecture))
	d.packages[p.Name] = id
	d.relate(root, common.TypeRelationshipContains, id)
	if src, ok := sources[[2]string{p.Source, p.SourceVersion}]; ok {
		d.relate(id, common.TypeRelationshipGeneratedFrom, src)
	}
}

// fileList adds the files, what brings each, and the components in them.
func (d *spdx) fileList(root common.ElementID) {
	ids := map[string]common.ElementID{}
	sums := map[common.ElementID][]string{} // by the package that brings them
	d.doc.Files = make([]*v2_3.File, 0, len(d.Inventory.Paths))
	for f := range d.files() {
		id := common.ElementID(d.ids.unique(identifier("File", f.Digest.Short(), path.Base(f.Path))))
		ids[f.Path] = id
		entry := &v2_3.File{FileName: "." + f.Path, FileSPDXIdentifier: id, FileCopyrightText: noAssertion, Checksums: make([]common.Checksum, 0, 2)}
		sum := d.Contents.SHA1[f.Digest]
		if sum != "" {
			entry.Checksums = append(entry.Checksums, common.Checksum{Algorithm: common.SHA1, Value: sum})
		}
		entry.Checksums = append(entry.Checksums, common.Checksum{Algorithm: common.SHA256, Value: f.Digest.Hex()})
		d.doc.Files = append(d.doc.Files, entry)
		owner, ok := d.packages[f.Package]
		if !ok {
			owner, entry.FileComment = root, string(f.Origin)
		}
		sums[owner] = append(sums[owner], sum)
		d.relate(owner, common.TypeRelationshipContains, id)
	}
	for _, p := range d.doc.Packages {
		if code := verificationCode(sums[p.PackageSPDXIdentifier]); code != "" {
			p.FilesAnalyzed, p.PackageVerificationCode = true, &common.PackageVerificationCode{Value: code}
		}
	}
	for _, c := range d.Contents.Components {
		id := d.add(v2_3.Package{
			PackageName: c.Name, PackageVersion: c.Version, PackageExternalReferences: reference(c.URL()),
			PackageSourceInfo: "found in " + c.Path,
		}, identifier("Component", string(c.Kind), c.Group, c.Name, c.Version))
		if file, ok := ids[c.Path]; ok {
			d.relate(file, common.TypeRelationshipContains, id)
		}
	}
}

// verificationCode is that of SPDX 2.3, 7.9, or "" where there are no files or one of unknown SHA-1.
func verificationCode(sums []string) string {
	if len(sums) == 0 || slices.Contains(sums, "") {
		return ""
	}
	slices.Sort(sums)
	h := sha1.New() //nolint:gosec // as above
	for _, s := range sums {
		h.Write([]byte(s))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ownLicences says where the texts of licences are that SPDX has no identifier for.
func (d *spdx) ownLicences() {
	seen := map[string]bool{}
	for _, p := range d.Inventory.Packages {
		l := d.found[p.Name]
		for _, own := range l.Own {
			if seen[own.ref] {
				continue
			}
			seen[own.ref] = true
			d.doc.OtherLicenses = append(d.doc.OtherLicenses, &v2_3.OtherLicense{
				LicenseIdentifier: own.ref, LicenseName: own.name,
				ExtractedText: "The text is in " + l.File + " in the image, as \"License: " + own.name + "\".",
			})
		}
	}
}
