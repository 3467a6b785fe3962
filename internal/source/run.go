package source

import (
	"context"
	"log/slog"
	"time"

	"imx"
)

// Run follows the sources until ctx ends: it looks at those that are due, and releases what is admitted.
func (f *Follower) Run(ctx context.Context) error {
	if err := f.sweep(); err != nil {
		f.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "what is left of sources that aren't followed any more stays", slog.Any("error", err))
	}
	for ctx.Err() == nil {
		changed := f.cfg.Control.Changed()
		s := f.cfg.Control.State()
		f.mu.Lock()
		names, wait := due(s.Sources, f.looks, f.cfg.Now())
		f.mu.Unlock()
		for _, name := range names {
			if err := f.look(ctx, name, quiet); err != nil && ctx.Err() == nil && imx.KindOf(err) != imx.NotFound {
				f.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a source couldn't be looked at", slog.String("source", name), slog.Any("error", err))
			}
		}
		if len(names) > 0 {
			s = f.cfg.Control.State() // as it is after the looks; one slow source must not keep others' candidates waiting
		}
		f.releaseReady(ctx, s)
		f.noteAll(ctx, s)
		if len(names) > 0 {
			continue // what changed meanwhile is seen anew
		}
		if z, err := f.cfg.Frozen(); err == nil && z.Window != "" {
			wait = min(wait, max(z.Until.Sub(f.cfg.Now()), 0)) // what waited is released then
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-f.rang:
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

func quiet(imx.Progress) {}

// Refresh looks at a source now, also at a commit that was looked at before and has no open candidate, and returns it as it is then.
// Errors: NotFound; what is wrong with its repository or its commit it tells itself.
func (f *Follower) Refresh(ctx context.Context, _ imx.Principal, name string, report imx.Report) (imx.SourceView, error) {
	if _, err := f.find(name); err != nil {
		return imx.SourceView{}, err
	}
	if err := f.again(ctx, name, report); err != nil {
		return imx.SourceView{}, err
	}
	return f.view(f.cfg.Control.State(), name)
}

// releaseReady releases the candidates that were waiting and are admitted now.
func (f *Follower) releaseReady(ctx context.Context, s *imx.State) {
	f.mu.Lock()
	sources := ready(s, f.tried)
	f.mu.Unlock()
	for _, src := range sources {
		c := s.Candidates[src.Candidate]
		ok, err := f.cfg.Releaser.Admitted(ctx, c)
		if err == nil && !ok {
			continue
		}
		if err == nil {
			_, err = f.cfg.Releaser.Release(ctx, imx.Server, c.ID, quiet)
		}
		if err == nil && src.Fault != "" {
			f.tell(ctx, src.Name, imx.CommitSeen{Source: src.Name, Commit: c.Commit, Candidate: c.ID, Notice: src.Notice}) // what kept it is over
		}
		if err == nil || ctx.Err() != nil || f.cfg.Control.State().Apply != nil {
			continue // another apply is under way: its end is a change, after which this is tried again
		}
		f.mu.Lock()
		f.tried[c.ID] = holds(s, c)
		f.mu.Unlock()
		f.tell(ctx, src.Name, imx.CommitSeen{Source: src.Name, Commit: c.Commit, Candidate: c.ID, Fault: "it can't be released: " + says(err), Notice: src.Notice})
	}
}

// tell writes down what was seen, unless the source is gone meanwhile or the same is known already.
func (f *Follower) tell(ctx context.Context, name string, seen imx.CommitSeen) {
	src, err := f.find(name)
	switch {
	case err != nil:
		return
	case seen.Commit == nil && src.Unread == seen.Fault:
		return
	}
	if err := f.cfg.Control.Record(imx.Server, seen); err != nil {
		f.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "what was seen of a source couldn't be written down", slog.String("source", name), slog.Any("error", err))
	}
}

// noteAll writes back what became of the commits of sources that want it, where that has changed.
func (f *Follower) noteAll(ctx context.Context, s *imx.State) {
	for name, src := range s.Sources {
		if !src.Notes || src.Seen == "" || src.Unread != "" {
			continue
		}
		for _, is := range append(earlier(s, src), Status(s, src)) {
			at := name + " " + is.Commit
			f.mu.Lock()
			same := f.noted[at] == is
			f.noted[at] = is
			f.mu.Unlock()
			if same {
				continue
			}
			if err := f.note(ctx, src, is); err != nil && ctx.Err() == nil {
				f.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a commit's status couldn't be written back", slog.String("source", name), slog.Any("error", err))
			}
		}
	}
}

func (f *Follower) note(ctx context.Context, src imx.GitSource, is imx.CommitStatus) error {
	f.work.Lock()
	defer f.work.Unlock()
	repo, err := f.repository(ctx, src)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	return repo.Note(ctx, is.Commit, is.State+" "+is.Context+": "+is.Description+"\n")
}
