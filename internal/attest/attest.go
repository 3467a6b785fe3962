// Package attest makes what is known of an image into evidence: a statement, kept beside the image and written
// down on the log. It joins what makes predicates with what keeps them; it judges no image, and what a check, a
// scan or a test found is brought to it.
package attest

import (
	"context"
	"io"
	"iter"
	"strings"
	"time"

	"imx"
	"imx/internal/control"
	"imx/internal/evidence"
	"imx/internal/statement"
)

// Config is what an Attester joins.
type Config struct {
	Control *control.Control
	Store   *evidence.Store
	Images  Images
	// Enter keeps what is put into the stores from being collected until leave is called: nothing names a statement before
	// it is the image's referrer. Who calls it inside of an Enter of its own gets in at once.
	Enter   func(ctx context.Context) (leave func(), err error)
	Now     func() time.Time
	Version string // of imx
}

// Images answers which image a person means, and what is in it.
type Images interface {
	Image(ctx context.Context, wanted string) (imx.ImageDetail, error)
	// Layers yields layers without their compression. The error is Refused for one whose bytes were changed.
	Layers(ctx context.Context, all []imx.ImageLayer) iter.Seq2[io.Reader, error]
	Find(ctx context.Context, wanted string) (imx.ImageView, error)
}

// Attester keeps evidence about images. Its methods may be called from several goroutines at once.
type Attester struct {
	cfg Config
}

// New returns an Attester.
func New(cfg Config) *Attester { return &Attester{cfg} }

// Claim is what somebody wants to state of an image.
type Claim struct {
	Repository    string     // the image's, in the registry: Image.Name
	Image         imx.Digest // of its manifest
	PredicateType string     // one of imx.PredicateNames
	Predicate     any        // becomes JSON
	Passed        *bool      // imx.Evidence.Passed
	Summary       string     // imx.Evidence.Summary
}

// Add keeps a claim as a statement and writes it down. The same claim again is the same evidence, and no event.
// Errors: as evidence.Store.Keep and control.AddEvidence.
func (a *Attester) Add(ctx context.Context, by imx.Principal, c Claim) (imx.Evidence, error) {
	st, err := statement.Make(c.Repository, c.Image, c.PredicateType, c.Predicate)
	if err != nil {
		return imx.Evidence{}, err
	}
	leave, err := a.cfg.Enter(ctx)
	if err != nil {
		return imx.Evidence{}, err
	}
	defer leave()
	e, err := a.cfg.Store.Keep(ctx, c.Repository, c.Image, st)
	if err != nil {
		return imx.Evidence{}, err
	}
	e.Made, e.Passed, e.Summary = a.cfg.Now().UTC(), c.Passed, c.Summary
	return a.cfg.Control.AddEvidence(by, e)
}

// Read returns the statement of a piece of evidence. Errors: Refused for one that was changed.
func (a *Attester) Read(e imx.Evidence) (imx.Statement, error) { return a.cfg.Store.Read(e) }

// Evidence returns what was stated of the image that a person means, the newest of each type, sorted by type.
// Errors: as Images.Find.
func (a *Attester) Evidence(ctx context.Context, image string) ([]imx.Evidence, error) {
	found, err := a.cfg.Images.Find(ctx, image)
	if err != nil {
		return nil, err
	}
	return control.Evidence(a.cfg.Control.State(), found.Digest), nil
}

// Statement returns the newest statement of a type about the image that a person means. The type may be written
// short, as imx.PredicateNames has it. Errors: NotFound; Refused for one that was changed; as Images.Find.
func (a *Attester) Statement(ctx context.Context, image, predicate string) (imx.Statement, error) {
	list, err := a.Evidence(ctx, image)
	if err != nil {
		return imx.Statement{}, err
	}
	var there []string
	for _, e := range list {
		short := imx.PredicateNames()[e.PredicateType]
		if predicate == e.PredicateType || predicate == short {
			return a.cfg.Store.Read(e)
		}
		there = append(there, short)
	}
	none := imx.Errorf(imx.NotFound, "there is no evidence of type %q about %s", predicate, image)
	if len(there) == 0 {
		return imx.Statement{}, none.WithHint("nothing was stated of this image yet: build it again")
	}
	return imx.Statement{}, none.WithHint("there is: %s", strings.Join(there, ", "))
}
