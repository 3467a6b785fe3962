// Package candidate shows what waits to be released, and takes people's answers to it. It joins what is compared, what may count and
// where it is kept; what enough answers are, the policy says.
package candidate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"imx"
	"imx/internal/control"
	"imx/internal/evidence"
	"imx/internal/review"
)

// Pipeline is what knows how candidates were made.
type Pipeline interface {
	// Changes says what releasing a candidate would change now. Errors: Conflict if it can't be released any more.
	Changes(c imx.Candidate) (imx.Plan, []imx.Change, error)
	// Drafts returns the releases that would be made now.
	Drafts(c imx.Candidate) ([]imx.Release, error)
	// Verdicts says of each whether it could be made now.
	Verdicts(ctx context.Context, c imx.Candidate, drafts []imx.Release) ([]imx.Verdict, error)
	Image(ctx context.Context, wanted string) (imx.ImageDetail, error)
	// Kept returns what is kept by its digest. Errors: NotFound; Refused for changed bytes, and for more than are wanted.
	Kept(d imx.Digest, most int64) ([]byte, error)
	// Keep keeps bytes, and returns their digest.
	Keep(b []byte) (imx.Digest, error)
	// Enter keeps what is put into the stores from being collected until leave is called.
	Enter(ctx context.Context) (leave func(), err error)
}

// Config is what a Desk joins.
type Config struct {
	Control  *control.Control
	Pipeline Pipeline
	// Scan returns the vulnerabilities of an image by its name and digest, NAME@DIGEST.
	Scan func(ctx context.Context, image string) ([]imx.Vulnerability, error)
	// Keep keeps a signed statement about an image that is in a repository.
	Keep func(ctx context.Context, repository string, image imx.Digest, by evidence.Signed) (imx.Evidence, error)
	Now  func() time.Time
}

// Desk is where candidates lie. Its methods may be called from several goroutines at once.
type Desk struct {
	cfg Config
}

// New returns a Desk.
func New(cfg Config) *Desk { return &Desk{cfg} }

// Candidates lists those that the state has, the newest first.
func (d *Desk) Candidates(context.Context) ([]imx.Candidate, error) {
	s := d.cfg.Control.State()
	list := slices.SortedFunc(maps.Values(s.Candidates), func(a, b imx.Candidate) int {
		return cmp.Or(b.Made.Compare(a.Made), cmp.Compare(a.ID, b.ID))
	})
	for i := range list {
		list[i].Reviews = review.Marked(s, list[i])
	}
	return list, nil
}

// Review takes a person's signed answer: it is kept as evidence of each image, a no ends the candidate, and a yes of who rejected it opens
// it again. Errors: NotFound, also of what a rejected one was made of; as control.Review; as review.Accept.
func (d *Desk) Review(ctx context.Context, by imx.Principal, id string, req imx.ReviewRequest) (imx.Candidate, error) {
	s := d.cfg.Control.State()
	c, err := control.FindCandidate(s, id)
	if err != nil {
		return c, err
	}
	id = c.ID
	r, err := review.Accept(s, c, req.Bundle, d.now(s))
	if err == nil {
		err = control.Answerable(s, id, r)
	}
	if err != nil {
		return c, err
	}
	leave, err := d.cfg.Pipeline.Enter(ctx)
	if err != nil {
		return c, err
	}
	defer leave()
	shown, err := d.keepView(ctx, s, c)
	switch {
	case err == nil:
	case c.State != imx.CandidateOpen && imx.KindOf(err) == imx.NotFound:
		return c, imx.Errorf(imx.NotFound, "what candidate %s was made of isn't kept any more: %w", id, err).WithHint("propose its plan again, and answer that candidate")
	case r.Approves: // what can't be shown can be rejected still
		return c, err
	}
	var kept []imx.Evidence
	for _, im := range c.Images {
		e, err := d.cfg.Keep(ctx, im.Name, im.Digest, evidence.Signed{Bundle: req.Bundle, Signer: r.Key})
		if err != nil {
			return c, err
		}
		kept = append(kept, e)
	}
	r, err = d.cfg.Control.Review(by, id, func(s *imx.State, c imx.Candidate) (imx.Review, error) {
		r, err := review.Accept(s, c, req.Bundle, d.now(s))
		r.Shown = shown
		return r, err
	})
	if err != nil {
		return c, err
	}
	for _, e := range kept {
		word := "rejected"
		if r.Approves {
			word = "approved"
		}
		e.Made, e.Passed, e.Summary = r.Made, &r.Approves, fmt.Sprintf("%s by %s, as candidate %s", word, r.By, id)
		if _, err := d.cfg.Control.AddEvidence(by, e); err != nil {
			return c, err
		}
	}
	return control.FindCandidate(d.cfg.Control.State(), id)
}

// now is the time, but never before the log's last.
func (d *Desk) now(s *imx.State) time.Time {
	if now := d.cfg.Now().UTC(); now.After(s.Time) {
		return now
	}
	return s.Time
}

// Candidate returns a candidate with the people behind its commit as they are known now, and with what it would change now, if it
// is open; else as there was to see when it was answered last. What can't be compared a notice tells.
// Errors: NotFound; Refused where what is kept of it was changed.
func (d *Desk) Candidate(ctx context.Context, id string) (imx.CandidateView, error) {
	const tries = 3 // what runs can change while it is looked at: an approved candidate may be released by itself
	for range tries - 1 {
		if v, err := d.candidate(ctx, id); imx.KindOf(err) != imx.Conflict {
			return v, err
		}
	}
	return d.candidate(ctx, id)
}

func (d *Desk) candidate(ctx context.Context, id string) (imx.CandidateView, error) {
	s := d.cfg.Control.State()
	c, err := control.FindCandidate(s, id)
	if c.Commit != nil {
		seen := *c.Commit
		seen.People = seen.Known(s.People)
		c.Commit = &seen
	}
	c.Reviews = review.Marked(s, c)
	if err != nil {
		return imx.CandidateView{Candidate: c}, err
	}
	if c.State != imx.CandidateOpen {
		return d.seen(c)
	}
	return d.look(ctx, s, c)
}

// maxView bounds the bytes of a view that was kept.
const maxView = 16 << 20

// keepView keeps what there is to see of a candidate now.
func (d *Desk) keepView(ctx context.Context, s *imx.State, c imx.Candidate) (imx.Digest, error) {
	v, err := d.look(ctx, s, c)
	if err != nil {
		return "", err
	}
	v.Candidate = imx.Candidate{ID: c.ID, Plan: c.Plan} // the rest the log has
	raw, err := json.Marshal(v)
	if err != nil {
		return "", imx.Errorf(imx.Internal, "what candidate %s changes can't be written as JSON: %w", c.ID, err)
	}
	return d.cfg.Pipeline.Keep(raw)
}

// seen is what there was to see of a candidate when it was answered last.
func (d *Desk) seen(c imx.Candidate) (imx.CandidateView, error) {
	v := imx.CandidateView{Changes: []imx.Change{}, Diff: []imx.ServiceChange{}}
	var last imx.Review
	for _, r := range c.Reviews {
		if r.Shown != "" && !r.Made.Before(last.Made) {
			last = r
		}
	}
	if last.Shown != "" {
		raw, err := d.cfg.Pipeline.Kept(last.Shown, maxView)
		if err == nil {
			err = json.Unmarshal(raw, &v)
		}
		if err != nil {
			return v, fmt.Errorf("what %s saw of candidate %s can't be read: %w", last.By, c.ID, err)
		}
	}
	v.Candidate, v.Verdicts, v.Conflict, v.Seen = c, []imx.Verdict{}, "", last.Made
	return v, nil
}

// look compares a candidate with what runs now.
func (d *Desk) look(ctx context.Context, s *imx.State, c imx.Candidate) (imx.CandidateView, error) {
	v := imx.CandidateView{Candidate: c, Changes: []imx.Change{}, Diff: []imx.ServiceChange{}, Verdicts: []imx.Verdict{}}
	_, changes, err := d.cfg.Pipeline.Changes(c)
	if imx.KindOf(err) == imx.Conflict && changes != nil {
		v.Conflict, err = imx.AsError(err).Message, nil
	}
	if err != nil {
		return v, err
	}
	v.Changes, v.Texts = changes, d.texts(changes)
	if v.Conflict != "" {
		return v, nil
	}
	drafts, err := d.cfg.Pipeline.Drafts(c)
	if err != nil {
		return v, err
	}
	if v.Verdicts, err = d.cfg.Pipeline.Verdicts(ctx, c, drafts); err != nil {
		return v, err
	}
	for _, r := range drafts {
		was, said := d.side(ctx, running(s, r.Service), beside(s, nil))
		is, more := d.side(ctx, r, beside(s, drafts))
		v.Diff = append(v.Diff, review.Compare(was, is))
		v.Notices = append(v.Notices, append(said, more...)...)
	}
	slices.Sort(v.Notices)
	v.Notices = slices.Compact(v.Notices)
	return v, nil
}

// running is a service's release with the traffic; the zero Release if there is none.
func running(s *imx.State, service string) imx.Release {
	v := s.Services[service]
	if v.Destroyed {
		return imx.Release{}
	}
	r, _ := v.Release(v.Current)
	return r
}

// beside are the releases of all services, with some in place of those that run.
func beside(s *imx.State, instead []imx.Release) []imx.Release {
	list := slices.Clone(instead)
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		r := running(s, name)
		if r.Number != 0 && !slices.ContainsFunc(instead, func(o imx.Release) bool { return o.Service == name }) {
			list = append(list, r)
		}
	}
	return list
}

// side gathers what is compared of a release.
func (d *Desk) side(ctx context.Context, r imx.Release, beside []imx.Release) (review.Side, []string) {
	s := review.Side{Release: r, Beside: beside}
	if r.Service == "" {
		return s, nil
	}
	var notices []string
	name := r.Image.Name + "@" + string(r.Image.Digest)
	if detail, err := d.cfg.Pipeline.Image(ctx, name); err == nil {
		s.Inventory = detail.Inventory
	} else {
		notices = append(notices, fmt.Sprintf("what is in %s isn't known: %s", name, imx.AsError(err).Message))
	}
	found, err := d.cfg.Scan(ctx, name)
	if err != nil {
		notices = append(notices, fmt.Sprintf("which vulnerabilities %s has isn't known: %s", name, imx.AsError(err).Message))
	}
	s.Vulnerabilities = found
	return s, notices
}
