package lsp

import (
	"context"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"imx"
)

// Check checks the template of a folder, as over makes it: over lays what is open over what is on disk. Positions name
// files by their path in the folder, or by an absolute one. What kept the check from being made is an error.
type Check func(ctx context.Context, dir string, over func(fs.FS) fs.FS) (Verdict, error)

// Verdict is what there is to say of a template.
type Verdict struct {
	Said     imx.Diagnostics // mistakes, or else notices
	Findings []imx.Finding
	Rules    []imx.Rule // that were asked, and can be waived
}

// shown is what the editor has been told of a folder.
type shown struct {
	verdict Verdict
	uris    map[string]bool // of the files with diagnostics
}

// rounds checks folders when nobody has typed in them for a moment, one at a time.
type rounds struct {
	desk  *desk
	check Check
	quiet time.Duration
	// publish tells the editor.
	publish func(ctx context.Context, p publishParams)
	wake    chan struct{}

	mu     sync.Mutex
	due    map[string]int // folders, with how often something changed in them since the last check
	now    string         // the folder that is being checked
	cancel context.CancelFunc
	told   map[string]shown
}

// changed asks for a check of a folder; one that is being made is of no use any more.
func (r *rounds) changed(dir string) {
	r.mu.Lock()
	r.due[dir]++
	if r.now == dir && r.cancel != nil {
		r.cancel()
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // it is awake
	}
}

// last returns what the editor has been told of a folder last.
func (r *rounds) last(dir string) Verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told[dir].verdict
}

// run checks what is due until ctx ends.
func (r *rounds) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		if !r.settled(ctx) {
			return
		}
		for dir := range r.waiting() {
			r.round(ctx, dir)
		}
	}
}

// settled waits until nothing changes; false where ctx ended.
func (r *rounds) settled(ctx context.Context) bool {
	still := time.NewTimer(r.quiet)
	defer still.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-r.wake:
			still.Reset(r.quiet)
		case <-still.C:
			return true
		}
	}
}

func (r *rounds) waiting() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.due)
}

// round checks one folder and tells the editor, unless something has changed meanwhile: it is due again then.
func (r *rounds) round(ctx context.Context, dir string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.mu.Lock()
	since := r.due[dir]
	r.now, r.cancel = dir, cancel
	r.mu.Unlock()
	texts := r.desk.under(dir)
	var v Verdict
	var err error
	if r.desk.folders()[dir] {
		v, err = r.checked(ctx, dir, texts)
	}
	r.mu.Lock()
	r.now, r.cancel = "", nil
	stale := r.due[dir] != since || ctx.Err() != nil
	if !stale {
		delete(r.due, dir)
	}
	before := r.told[dir].uris
	r.mu.Unlock()
	if stale {
		return
	}
	if err != nil {
		v.Said = append(v.Said, failure(err)...)
	}
	r.tell(ctx, dir, v, before)
}

// checked is the check; a defect in it is an error too: an editor can't do anything about an ended server.
func (r *rounds) checked(ctx context.Context, dir string, texts map[string]string) (v Verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = imx.Errorf(imx.Internal, "the check failed by a defect in imx: %v", p)
		}
	}()
	return r.check(ctx, dir, func(under fs.FS) fs.FS { return Overlay(under, texts) })
}

// failure is what kept a check from being made, as diagnostics.
func failure(err error) imx.Diagnostics {
	e := imx.AsError(err)
	if len(e.Diagnostics) > 0 {
		return e.Diagnostics
	}
	return imx.Diagnostics{{Severity: imx.SeverityError, Summary: e.Message, Hint: e.Hint}}
}

// tell publishes a verdict: to each file what is said of it, and nothing to those of which nothing is said any more.
func (r *rounds) tell(ctx context.Context, dir string, v Verdict, before map[string]bool) {
	byPath := map[string][]diagnostic{}
	for _, d := range v.Said {
		path := r.path(dir, d.At)
		byPath[path] = append(byPath[path], ofDiagnostic(d, r.line(path, d.At, d.Source)))
	}
	for _, f := range v.Findings {
		if f.Waived == nil {
			path := r.path(dir, f.At)
			byPath[path] = append(byPath[path], ofFinding(f, v.Rules, r.line(path, f.At, f.Source)))
		}
	}
	now := map[string]bool{}
	var said []publishParams
	for _, path := range slices.Sorted(maps.Keys(byPath)) {
		p := publishParams{URI: r.desk.uri(path), Diagnostics: byPath[path]}
		if doc, ok := r.desk.at(path); ok {
			p.Version = &doc.version
		}
		now[p.URI] = true
		said = append(said, p)
	}
	for _, path := range r.clean(dir, before, now) {
		said = append(said, publishParams{URI: path, Diagnostics: []diagnostic{}})
	}
	r.mu.Lock()
	if len(now) == 0 && !r.desk.folders()[dir] {
		delete(r.told, dir)
	} else {
		r.told[dir] = shown{v, now}
	}
	r.mu.Unlock()
	for _, p := range said { // last: who has heard of a finding may ask about it at once
		r.publish(ctx, p)
	}
}

// clean are the files of which nothing is said now: those of which something was, and those that are open, so that an
// editor knows that they have been looked at.
func (r *rounds) clean(dir string, before, now map[string]bool) []string {
	all := maps.Clone(before)
	if all == nil {
		all = map[string]bool{}
	}
	for name := range r.desk.under(dir) {
		all[r.desk.uri(filepath.Join(dir, filepath.FromSlash(name)))] = true
	}
	maps.DeleteFunc(all, func(uri string, _ bool) bool { return now[uri] })
	return slices.Sorted(maps.Keys(all))
}

// path returns the file that a position is in; that of what has none is the folder's first open template.
func (r *rounds) path(dir string, at imx.Pos) string {
	switch {
	case filepath.IsAbs(at.File):
		return at.File
	case at.File != "":
		return filepath.Join(dir, filepath.FromSlash(at.File))
	}
	for _, name := range slices.Sorted(maps.Keys(r.desk.under(dir))) {
		if !strings.Contains(name, "/") && strings.HasSuffix(name, ".hcl") {
			return filepath.Join(dir, name)
		}
	}
	return dir
}

// line returns the line that a position is in.
func (r *rounds) line(path string, at imx.Pos, source string) string {
	doc, ok := r.desk.at(path)
	if !ok || at.Line < 1 {
		return source
	}
	from, to := lineAt(doc.text, at.Line-1)
	return doc.text[from:to]
}

// How bad something is, as the protocol numbers it.
const (
	isError       = 1
	isWarning     = 2
	isInformation = 3
)

const sourceName = "imx"

func ofDiagnostic(d imx.Diagnostic, line string) diagnostic {
	severity := isError
	if d.Severity == imx.SeverityNotice {
		severity = isInformation
	}
	return diagnostic{Range: RangeInLine(line, d.At), Severity: severity, Source: sourceName, Message: sentences(d.Summary, d.Hint)}
}

func ofFinding(f imx.Finding, rules []imx.Rule, line string) diagnostic {
	severity := isWarning
	switch f.Level {
	case imx.Critical:
		severity = isError
	case imx.Low:
		severity = isInformation
	case imx.High, imx.Medium:
	}
	fix := f.Fix
	if rule, ok := ruleOf(rules, f.Rule); ok && fix == "" {
		fix = rule.Fix
	}
	return diagnostic{Range: RangeInLine(line, f.At), Severity: severity, Code: f.Rule, Source: sourceName, Message: sentences(f.Message, fix)}
}

func ruleOf(rules []imx.Rule, id string) (imx.Rule, bool) {
	i := slices.IndexFunc(rules, func(r imx.Rule) bool { return r.ID == id })
	if i < 0 {
		return imx.Rule{}, false
	}
	return rules[i], true
}

// sentences puts a hint below what it is about.
func sentences(says, hint string) string { return strings.TrimRight(says+"\n"+hint, "\n") }
