package cli

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"imx"
	"imx/internal/check"
	"imx/internal/check/apart"
	"imx/internal/foreign"
	"imx/internal/leak"
	"imx/internal/report"
	"imx/internal/template"
)

// examiner checks templates' folders. It isn't safe for concurrent use.
type examiner struct {
	opts    checkOptions
	version imx.Version
	cache   verdicts
	shipped func() (*check.Set, error)
	secrets func() *leak.Scanner
	foreign *foreign.Checker
	own     map[imx.Digest]*apart.Set // the user's, by what is in their files
	watched map[string]bool           // folders whose changes may change a result
	ignored ignored                   // in all folders that are checked
}

func newExaminer(opts checkOptions, g *Global) *examiner {
	return &examiner{
		opts: opts, version: g.Version, cache: newVerdicts(g.Cache), shipped: sync.OnceValues(check.Shipped), secrets: sync.OnceValue(leak.New), foreign: foreign.New(),
		own: map[imx.Digest]*apart.Set{}, watched: map[string]bool{},
	}
}

// all checks every folder. Mistakes and findings are in the report; errors are what kept the check from being
// made: a folder that isn't there, a rule that can't be used.
func (e *examiner) all(ctx context.Context, now time.Time) (report.Report, error) {
	clear(e.watched)
	r := report.Report{Version: e.version.Version}
	var own []ownRules
	for _, dir := range e.opts.Rules {
		e.watched[dir] = true
		rules, err := readRules(dir)
		if err != nil {
			return r, err
		}
		own = append(own, rules)
	}
	all := slices.Clone(own)
	e.ignored = ignoredIn(ctx, e.opts.Dirs)
	for _, dir := range e.opts.Dirs {
		e.watched[dir], e.watched[filepath.Join(dir, rulesFolder)] = true, true
		folder, beside, err := e.folder(ctx, dir, own, now)
		if err != nil {
			return r, err
		}
		r.Folders = append(r.Folders, folder)
		all = append(all, beside...)
	}
	if e.opts.Format == formatText {
		return r, nil // which lists no rules: nothing needs to be compiled for what is in the cache
	}
	var err error
	r.Rules, err = e.rules(all)
	if err == nil && slices.ContainsFunc(r.Findings(), func(f imx.Finding) bool { return foreign.IsRule(f.Rule) }) {
		var others []imx.Rule
		others, err = e.foreign.Rules()
		r.Rules = append(r.Rules, others...)
	}
	if e.opts.Format != formatJUnit { // which counts the rules that find nothing
		r.Rules = findersOf(r)
	}
	return r, err
}

// findersOf are those of a report's rules that found something: most never do, and "imx rules" lists them all.
func findersOf(r report.Report) []imx.Rule {
	found := map[string]bool{}
	for _, f := range r.Findings() {
		found[f.Rule] = true
	}
	return slices.DeleteFunc(slices.Clone(r.Rules), func(rule imx.Rule) bool { return !found[rule.ID] })
}

// rules returns the shipped rules and those of a user.
func (e *examiner) rules(own []ownRules) ([]imx.Rule, error) {
	shipped, err := e.shipped()
	if err != nil {
		return nil, err
	}
	rules := slices.Concat(shipped.Rules(), check.WaiverRules(), e.secrets().Rules())
	seen := map[imx.Digest]bool{}
	for _, o := range own {
		if seen[o.digest()] {
			continue
		}
		seen[o.digest()] = true
		set, err := e.compiled(o)
		if err != nil {
			return nil, err
		}
		rules = append(rules, set.Rules()...)
	}
	return rules, nil
}

// folder checks one folder, by the rules beside it too, which it returns.
func (e *examiner) folder(ctx context.Context, dir string, own []ownRules, now time.Time) (report.Folder, []ownRules, error) {
	result := report.Folder{Path: dir}
	files, err := openRecorder(dir)
	if err != nil {
		return result, nil, folderError(dir, err)
	}
	defer files.close()
	defer e.watch(dir, files)
	var beside []ownRules
	if rules, err := readRules(filepath.Join(dir, rulesFolder)); err == nil && len(rules.modules) > 0 {
		beside = append(beside, rules)
	} else if err != nil && imx.KindOf(err) != imx.NotFound {
		return result, nil, err
	}
	own = slices.Concat(own, beside)
	near := listBeside(listing{files}, e.ignored.below(dir))
	for _, l := range near.large {
		files.asked[l.Name] = true
	}
	key := e.cache.key(files, near, e.version, own, now)
	v, ok := e.cache.find(key, files, now)
	if !ok || e.opts.Format == formatJSON {
		v, result.Mistakes, err = e.verdict(ctx, files, near, own, now)
		if err != nil {
			return result, nil, err
		}
		if len(result.Mistakes) == 0 && len(files.unread) == 0 { // what can't be read may be another thing each time
			e.cache.keep(key, v, now)
		}
	}
	result.Mistakes = named(result.Mistakes, dir)
	return e.placed(ctx, result, v), beside, nil
}

// verdict is what there is to say of a template by what is in its files, wherever they lie.
type verdict struct {
	Files    map[string]imx.Digest `json:"files"` // that it depends on
	Images   int                   `json:"images"`
	Services int                   `json:"services"`
	Notices  imx.Diagnostics       `json:"notices,omitempty"`
	Findings []imx.Finding         `json:"findings,omitempty"`

	template imx.Template
}

// asker holds a document against rules: imx's in this process, a user's in one of their own.
type asker interface {
	Run(ctx context.Context, d check.Document) ([]imx.Finding, error)
}

// forget ends the processes of the user's rules.
func (e *examiner) forget() {
	for _, set := range e.own {
		set.Close()
	}
	clear(e.own)
}

// verdict reads a template and holds it against the rules, or returns its mistakes.
func (e *examiner) verdict(ctx context.Context, files *recorder, near beside, own []ownRules, now time.Time) (verdict, imx.Diagnostics, error) {
	t, said := template.Parse(files)
	near.read(files)
	if hasMistakes(said) {
		return verdict{}, e.blotted(said, files), nil
	}
	shipped, err := e.shipped()
	if err != nil {
		return verdict{}, nil, err
	}
	sets, known := []asker{shipped}, shipped.Rules()
	for _, o := range own {
		set, err := e.compiled(o)
		if err != nil {
			return verdict{}, nil, err
		}
		sets, known = append(sets, set), append(known, set.Rules()...)
	}
	d, err := check.OfTemplate(t, now)
	if err != nil {
		return verdict{}, nil, err
	}
	var found []imx.Finding
	for _, set := range sets {
		more, err := set.Run(ctx, d)
		if err != nil {
			return verdict{}, nil, err
		}
		found = append(found, more...)
	}
	more, unread, err := e.beside(ctx, files, near, now)
	if err != nil {
		return verdict{}, nil, err
	}
	found = append(found, more...)
	if slices.ContainsFunc(t.Waivers, func(w imx.Waiver) bool { return foreign.IsRule(w.Rule) }) {
		rules, err := e.foreign.Rules()
		if err != nil {
			return verdict{}, nil, err
		}
		known = append(known, rules...)
	}
	found = append(found, e.secrets().Folder(leak.Folder{Template: t, Texts: files.texts})...)
	known = append(known, e.secrets().Rules()...)
	if !check.Complete {
		known = nil // rules of which nothing is known here may be what a waiver names
		t.Notices = append(t.Notices, imx.Diagnostic{
			Severity: imx.SeverityNotice, Summary: "this client-only build looks for mistakes and for secrets; the server holds the template against all rules",
		})
	}
	found = check.Excuse(t.Waivers, found, known, now)
	t.Notices = unfound(t.Notices, found)
	for i, f := range found {
		found[i].Message = e.clean(f.Message)
		if f.Source == "" {
			found[i].Source = e.line(files, f.At)
		}
	}
	return verdict{
		Files: files.read(), Images: len(t.Images), Services: len(t.Services), Findings: found, template: t,
		Notices: e.blotted(slices.Concat(t.Notices, near.notices(), files.notices(), unread), files),
	}, nil, nil
}

// unfound are the notices that no finding says again, waived or not.
func unfound(notices imx.Diagnostics, found []imx.Finding) imx.Diagnostics {
	return slices.DeleteFunc(slices.Clone(notices), func(n imx.Diagnostic) bool {
		return slices.ContainsFunc(found, func(f imx.Finding) bool { return f.Rule == n.Rule && f.At.File == n.At.File && f.At.Line == n.At.Line })
	})
}

// line is the line at a position, without secrets.
func (e *examiner) line(files *recorder, at imx.Pos) string {
	return e.secrets().Read(at.File, files.texts[at.File]).Line(at.Line)
}

// clean is a message without secrets: some quote what they are about.
func (e *examiner) clean(message string) string {
	return string(e.secrets().Read("", []byte(message)).Blotted())
}

// blotted returns diagnostics that quote no secret.
func (e *examiner) blotted(ds imx.Diagnostics, files *recorder) imx.Diagnostics {
	for i, d := range ds {
		ds[i].Summary = e.clean(d.Summary)
		if d.Source != "" {
			ds[i].Source = e.line(files, d.At)
		}
	}
	return ds
}

// compiled returns a user's rules ready to be asked. Errors: Invalid with a Diagnostic for each mistake in them,
// as is a name that one of imx's has.
func (e *examiner) compiled(o ownRules) (*apart.Set, error) {
	if set, ok := e.own[o.digest()]; ok {
		return set, nil
	}
	set, err := apart.Load(o.dir, o.modules, apart.DefaultLimits())
	if err != nil {
		return nil, err
	}
	shipped, err := e.shipped()
	if err != nil {
		return nil, err
	}
	if err := set.Clash(slices.Concat(shipped.Rules(), check.WaiverRules(), e.secrets().Rules())); err != nil {
		return nil, err
	}
	e.own[o.digest()] = set
	return set, nil
}

// placed puts a verdict into a folder's result, with files named as from where the command runs.
func (e *examiner) placed(ctx context.Context, result report.Folder, v verdict) report.Folder {
	if len(result.Mistakes) > 0 {
		return result
	}
	// Git is asked where its answer shows: for each of many folders that would take longer than all the rest.
	if len(e.opts.Dirs) == 1 || e.opts.Format == formatJSON {
		source, said := gitSource(ctx, result.Path, lately(result.Path, slices.Collect(maps.Keys(v.Files))))
		v.template.Source = source
		v.Notices = append(v.Notices, said...)
		v.template.Notices = v.Notices
	}
	result.Notices = named(v.Notices, result.Path)
	result.Findings = slices.Clone(v.Findings)
	for i, f := range result.Findings {
		if f.At.File != "" {
			result.Findings[i].At.File = filepath.Join(result.Path, f.At.File)
		}
		if f.Waived != nil {
			waived := *f.Waived
			waived.At.File = filepath.Join(result.Path, waived.At.File)
			result.Findings[i].Waived = &waived
		}
	}
	if e.opts.Format == formatJSON {
		blotted := e.secrets().Blot(v.template)
		result.Template = &blotted
	}
	result.Source = v.template.Source
	result.Images, result.Services = v.Images, v.Services
	return result
}

// watch remembers the folders of the files that were looked at.
func (e *examiner) watch(dir string, files *recorder) {
	for _, name := range files.names() {
		e.watched[filepath.Dir(filepath.Join(dir, filepath.FromSlash(name)))] = true
	}
}

// hasMistakes reports whether a template can't be used.
func hasMistakes(said imx.Diagnostics) bool { return said.Err() != nil }
