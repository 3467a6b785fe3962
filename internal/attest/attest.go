// Package attest makes what is known of an image into evidence: a statement, kept beside the image and written
// down on the log. It joins what makes predicates with what keeps them; it judges no image, and what a check, a
// scan or a test found is brought to it.
package attest

import (
	"context"
	"encoding/json"
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

// Add signs a claim as a statement, keeps it and writes it down. The same claim again is the same evidence, and no event,
// as long as that counts.
// Errors: as evidence.Store.Keep and control.AddEvidence.
func (a *Attester) Add(ctx context.Context, by imx.Principal, c Claim) (imx.Evidence, error) {
	st, err := statement.Make(c.Repository, c.Image, c.PredicateType, c.Predicate)
	if err != nil {
		return imx.Evidence{}, err
	}
	known := a.cfg.Control.State().Evidence[c.Image][c.PredicateType]
	if known.Statement == imx.DigestJSON(st) && sameAnswer(known, c) && a.cfg.Store.Check(known) == nil {
		return known, nil
	}
	e, err := a.add(ctx, by, c, st)
	if imx.KindOf(err) == imx.Conflict { // its key was rotated between the signature and the log
		e, err = a.add(ctx, by, c, st)
	}
	return e, err
}

// add signs and keeps a statement, and writes it down; nothing of it is collected meanwhile.
func (a *Attester) add(ctx context.Context, by imx.Principal, c Claim, st imx.Statement) (imx.Evidence, error) {
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

func sameAnswer(e imx.Evidence, c Claim) bool {
	if e.Passed == nil || c.Passed == nil {
		return e.Passed == c.Passed && e.Summary == c.Summary
	}
	return *e.Passed == *c.Passed && e.Summary == c.Summary
}

// Counted returns the newest statement of a type about an image, if it is signed and counts.
// Errors: NotFound; Refused, naming the reason.
func (a *Attester) Counted(image imx.Digest, predicateType string) (imx.Statement, error) {
	e, ok := a.cfg.Control.State().Evidence[image][predicateType]
	if !ok {
		return imx.Statement{}, imx.Errorf(imx.NotFound, "nothing of type %s was stated of %s", predicateType, image.Short())
	}
	if err := a.cfg.Store.Counts(e); err != nil {
		return imx.Statement{}, err
	}
	return a.cfg.Store.Read(e)
}

// Read returns the statement of a piece of evidence. Errors: as evidence.Store.Read.
func (a *Attester) Read(e imx.Evidence) (imx.Statement, error) { return a.cfg.Store.Read(e) }

// Counts reports, as an error of kind Refused, whether an evidence can't count. It doesn't look at the bytes.
func (a *Attester) Counts(e imx.Evidence) error { return a.cfg.Store.Counts(e) }

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
// short, as imx.PredicateNames has it. Errors: NotFound; Refused for one that was changed or doesn't count; as Images.Find.
func (a *Attester) Statement(ctx context.Context, image, predicate string) (imx.Statement, error) {
	e, err := a.find(ctx, image, predicate)
	if err != nil {
		return imx.Statement{}, err
	}
	return a.cfg.Store.Read(e)
}

// Bundle returns the signed form of what Statement returns. Errors: as Statement; NotFound for one that nobody signed.
func (a *Attester) Bundle(ctx context.Context, image, predicate string) (json.RawMessage, error) {
	e, err := a.find(ctx, image, predicate)
	if err != nil {
		return nil, err
	}
	if e.Bundle != "" {
		if _, err := a.cfg.Store.Read(e); err != nil {
			return nil, err
		}
	}
	return a.cfg.Store.Bundle(e)
}

// find returns the newest evidence of a type about the image that a person means.
func (a *Attester) find(ctx context.Context, image, predicate string) (imx.Evidence, error) {
	list, err := a.Evidence(ctx, image)
	if err != nil {
		return imx.Evidence{}, err
	}
	var there []string
	for _, e := range list {
		short := imx.PredicateNames()[e.PredicateType]
		if predicate == e.PredicateType || predicate == short {
			return e, nil
		}
		there = append(there, short)
	}
	none := imx.Errorf(imx.NotFound, "there is no evidence of type %q about %s", predicate, image)
	if len(there) == 0 {
		return imx.Evidence{}, none.WithHint("nothing was stated of this image yet: build it again")
	}
	return imx.Evidence{}, none.WithHint("there is: %s", strings.Join(there, ", "))
}
