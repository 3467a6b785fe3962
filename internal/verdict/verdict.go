// Package verdict gathers what the answer to "may it run?" stands on, has package policy judge it, remembers the answer as long as
// nothing of that changes, and makes the passes without which no engine starts an instance. What it needs is on this machine: it
// works without a network.
//
// It makes no rule itself (policy does) and trusts no signature itself (sign does).
package verdict

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"imx"
	"imx/internal/admission"
	"imx/internal/attest"
	"imx/internal/control"
	"imx/internal/policy"
)

// Config is what a Judge joins.
type Config struct {
	Control *control.Control
	// Bundle returns the signed form of a statement. Errors: NotFound; Refused for changed bytes.
	Bundle func(d imx.Digest) ([]byte, error)
	// State keeps a claim as evidence: the verdict itself.
	State func(ctx context.Context, by imx.Principal, c attest.Claim) (imx.Evidence, error)
	// Find returns the image that a person means.
	Find func(ctx context.Context, wanted string) (imx.ImageView, error)
	// Drafts returns the releases that a candidate would make now. Errors: Conflict if it can't be released any more.
	Drafts      func(c imx.Candidate) ([]imx.Release, error)
	Environment string
	Version     string // of imx
	Now         func() time.Time
	Log         *slog.Logger
}

// Judge gives verdicts. Its methods may be called from several goroutines at once.
type Judge struct {
	cfg Config

	news  chan struct{}                    // has something in it when a verdict for starts isn't what it was
	known *memory[imx.Digest, imx.Verdict] // for starts, by what they stand on
	// checked are statements whose bytes were found to be signed, by what the log has of them and the public key.
	checked *memory[imx.Evidence, said]

	mu     sync.Mutex
	latest time.Time // no verdict is of an earlier moment than one before it
	book   *policy.Book
	of     imx.Digest // the policy that book is
}

// The bytes that verdicts, and what statements say, may take in memory: far more than the releases of a machine need. A verdict has some
// 3 KB, and what is stated of an image with 300 vulnerabilities 190 KB.
const (
	maxKnown   = 16 << 20
	maxChecked = 64 << 20
)

// New returns a Judge. It starts nothing. Errors: Invalid for the name of an environment that is none.
func New(cfg Config) (*Judge, error) {
	if err := policy.CheckEnvironment(cfg.Environment); err != nil {
		return nil, err
	}
	return &Judge{cfg: cfg, news: make(chan struct{}, 1), known: newMemory[imx.Digest, imx.Verdict](maxKnown), checked: newMemory[imx.Evidence, said](maxChecked)}, nil
}

// Environment is whose policy counts here.
func (j *Judge) Environment() string { return j.cfg.Environment }

// now is the time, but never before the log's last or that of an earlier verdict: a clock that jumps back makes nothing fresh again.
func (j *Judge) now(s *imx.State) time.Time {
	now := j.cfg.Now().UTC()
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, other := range []time.Time{s.Time, j.latest} {
		if now.Before(other) {
			now = other
		}
	}
	j.latest = now
	return now
}

// compiled is the environment's policy.
func (j *Judge) compiled(s *imx.State) (*policy.Book, imx.Policy, error) {
	p := policy.Of(s, j.cfg.Environment)
	d := p.Digest()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.of == d {
		return j.book, p, nil
	}
	book, err := policy.Compile(p)
	if err != nil {
		return nil, p, err
	}
	j.book, j.of = book, d
	return book, p, nil
}

// Release says whether a release may be made, if some exceptions are made with it: all that this stands on is read anew.
// Errors: as policy.Compile; not that it may not, which the verdict says.
func (j *Judge) Release(ctx context.Context, r imx.Release, excused ...imx.Exception) (imx.Verdict, error) {
	x, err := j.explained(ctx, with(j.cfg.Control.State(), excused), r, imx.ForRelease)
	return x.verdict, err
}

// Pass lets an instance of a release start now, if the policy says so. Errors: Refused with the conditions that aren't met; as Release.
func (j *Judge) Pass(ctx context.Context, r imx.Release) (admission.Pass, error) {
	s := j.cfg.Control.State()
	v, err := j.start(ctx, s, r)
	if err != nil {
		return admission.Pass{}, err
	}
	return admission.Issue(v, r, j.now(s))
}

// start returns the verdict on the start of an instance: the one that is remembered, if nothing that it stands on has changed.
func (j *Judge) start(ctx context.Context, s *imx.State, r imx.Release) (imx.Verdict, error) {
	book, p, err := j.compiled(s)
	if err != nil {
		return imx.Verdict{}, err
	}
	now := j.now(s)
	id := inputs(s, p, r)
	v, ok := j.known.get(id)
	if ok && now.Before(v.Until) && !now.Before(v.Made) {
		return v, nil
	}
	v, _, err = book.Judge(ctx, j.gather(s, about{imx.ForStart, id, now}, r))
	if err != nil {
		return v, err
	}
	j.remember(v)
	return v, nil
}

// remember keeps a verdict for the starts to come, in place of an earlier one on the same, and wakes the watch where it says something else.
func (j *Judge) remember(v imx.Verdict) {
	old, ok := j.known.get(v.Inputs)
	j.known.put(v.Inputs, v)
	if ok && old.Allowed == v.Allowed {
		return
	}
	select {
	case j.news <- struct{}{}:
	default: // it is awake
	}
}

// explained is a verdict with what it was made of.
type explained struct {
	verdict imx.Verdict
	input   policy.Input
	looked  policy.Looked
}

// explained gives a verdict from what it stands on as it is now. Starts to come don't get an older one.
func (j *Judge) explained(ctx context.Context, s *imx.State, r imx.Release, purpose imx.Purpose) (explained, error) {
	book, p, err := j.compiled(s)
	if err != nil {
		return explained{}, err
	}
	x := explained{input: j.gather(s, about{purpose, inputs(s, p, r), j.now(s)}, r)}
	x.verdict, x.looked, err = book.Judge(ctx, x.input)
	switch {
	case err != nil:
	case purpose == imx.ForStart:
		j.remember(x.verdict)
	case !x.verdict.Allowed: // a start may be refused for the same: it is judged anew, too
		j.known.drop(x.verdict.Inputs)
	}
	return x, err
}
