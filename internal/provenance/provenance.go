// Package provenance says how an image came to be, as SLSA v1 has it (https://slsa.dev/provenance/v1): which
// builder made it, of which template with which parameters, and of what materials, each by its digest. Values go in,
// a predicate comes out; it looks nothing up, and judges nothing.
package provenance

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"

	"imx"
)

// What names the builder and its kind of build; docs/evidence.md says what they mean.
const (
	BuildType = "urn:imx:build:v1"
	BuilderID = "urn:imx:builder:v1"
)

// Build is a build that made an image.
type Build struct {
	Image      imx.Image
	Plan       imx.ImagePlan
	Whole      imx.Digest // imx.Plan.Digest of the plan that the image's is a part of
	Source     imx.Source
	Lock       imx.Lock
	Invocation string // the apply's id; "" for a build alone
	Version    string // of imx
	Bytes      Bytes
	Started    time.Time
	Finished   time.Time
}

// Bytes says how the build that states something came by an image's bytes.
type Bytes struct {
	How How `json:"how,omitempty"` // "" of statements that are older than this
	// Statement is the earlier one on whose word bytes that were Found are the plan's, and Signer the ID of the builder's key under which
	// they were made; both "" where nobody had stated anything.
	Statement imx.Digest `json:"statement,omitempty"`
	Signer    string     `json:"signer,omitempty"`
}

// How is a way to come by bytes.
type How string

// The ways.
const (
	Made     How = "made"     // this build made them
	Found    How = "found"    // an earlier build of the same image plan had made them
	Compared How = "compared" // as Found, and this build made them once more of the packages alone, and they were the same
)

// Counts reports, as an error of kind Refused, whether bytes that were found were made under a key that is compromised.
func (b Bytes) Counts(keys map[string]imx.Key) error {
	if k := keys[b.Signer]; b.Signer != "" && k.Compromised {
		return imx.Errorf(imx.Refused, "the image was made under the key %s, which is compromised: %s", b.Signer, k.Reason)
	}
	return nil
}

// Predicate is SLSA's. docs/evidence.md describes the parameters.
type Predicate struct {
	Definition Definition `json:"buildDefinition"`
	Run        Run        `json:"runDetails"`
}

// Definition says what was to be built.
type Definition struct {
	Type      string     `json:"buildType"`
	External  External   `json:"externalParameters"`
	Internal  Internal   `json:"internalParameters"`
	DependsOn []Material `json:"resolvedDependencies"`
}

// External is what somebody asked for.
type External struct {
	Template imx.Source `json:"template"`
	Image    string     `json:"image"` // the block's name
}

// Internal is what imx made of it.
type Internal struct {
	Plan         imx.Digest `json:"plan"`
	ImagePlan    imx.Digest `json:"imagePlan"`
	Architecture string     `json:"architecture"`
	Epoch        time.Time  `json:"epoch"`
	Bytes        Bytes      `json:"bytes,omitzero"`
}

// Material is a resource descriptor: something that went into an image, or came out beside it.
type Material struct {
	Name        string            `json:"name"`
	Digest      map[string]string `json:"digest"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Run says who built, and when.
type Run struct {
	Builder    Builder    `json:"builder"`
	Metadata   Metadata   `json:"metadata"`
	Byproducts []Material `json:"byproducts,omitempty"`
}

// Builder is who built.
type Builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version"`
}

// Metadata is about the one run.
type Metadata struct {
	Invocation string    `json:"invocationId,omitempty"`
	Started    time.Time `json:"startedOn,omitzero"`
	Finished   time.Time `json:"finishedOn,omitzero"`
}

// Of returns the predicate of a build. The same build gives the same predicate.
func Of(b Build) Predicate {
	byproducts := []Material{}
	if b.Image.Inventory != "" {
		byproducts = append(byproducts, Material{Name: "inventory", Digest: sha256(b.Image.Inventory)})
	}
	return Predicate{
		Definition: Definition{
			Type:     BuildType,
			External: External{b.Source, b.Plan.Spec.Name},
			Internal: Internal{b.Whole, b.Plan.Digest(), b.Plan.Architecture, b.Plan.Epoch, b.Bytes},
			DependsOn: slices.Concat(template(b), indexes(b), packages("ship", b.Plan.Ship), packages("base", b.Plan.Base),
				packages("tool", b.Plan.Tools), files(b.Plan.Spec)),
		},
		Run: Run{
			Builder:    Builder{BuilderID, map[string]string{"imx": b.Version}},
			Metadata:   Metadata{b.Invocation, b.Started.UTC(), b.Finished.UTC()},
			Byproducts: byproducts,
		},
	}
}

func sha256(d imx.Digest) map[string]string { return map[string]string{"sha256": d.Hex()} }

// template is the commit, where there is one. A folder that differs from it is told by External.
func template(b Build) []Material {
	if b.Source.Commit == "" {
		return nil
	}
	return []Material{{Name: "template", Digest: map[string]string{"gitCommit": b.Source.Commit}}}
}

// indexes are those of the lock that the image's packages were chosen from.
func indexes(b Build) []Material {
	type suite struct{ archive, name string }
	used := map[suite]bool{}
	for _, p := range slices.Concat(b.Plan.Ship, b.Plan.Base, b.Plan.Tools) {
		used[suite{p.Archive, p.Suite}] = true
	}
	var list []Material
	for _, s := range b.Lock.Suites {
		if used[suite{s.Archive, s.Suite}] {
			list = append(list, Material{"InRelease", sha256(s.InRelease), map[string]string{
				"archive": s.Archive, "suite": s.Suite, "date": s.Date.UTC().Format(time.RFC3339),
			}})
		}
	}
	return list
}

// packages are .debs by digest. as says what one was for: "ship" is in the image, "base" and "tool" only in the
// root that it was built in.
func packages(as string, all []imx.Package) []Material {
	list := make([]Material, 0, len(all))
	for _, p := range all {
		list = append(list, Material{path.Base(cmp.Or(p.Path, p.Ref()+".deb")), sha256(p.Digest), map[string]string{
			"as": as, "archive": p.Archive, "suite": p.Suite, "path": p.Path,
		}})
	}
	return list
}

// files are those of the template.
func files(spec imx.ImageSpec) []Material {
	list := make([]Material, 0, len(spec.Files))
	for _, f := range spec.Files {
		list = append(list, Material{Name: f.Path, Digest: sha256(f.Digest), Annotations: map[string]string{"as": "file"}})
	}
	slices.SortStableFunc(list, func(a, b Material) int { return strings.Compare(a.Name, b.Name) })
	return list
}
