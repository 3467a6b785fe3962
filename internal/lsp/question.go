package lsp

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sourcegraph/jsonrpc2"

	"imx"
	"imx/internal/template"
)

// plainText is the kind of all texts: a help's columns and a declaration's lines stay as they are.
const plainText = "plaintext"

// asking is a question about a place in an open template.
type asking struct {
	positionParams

	server *Server
	dir    string
	doc    document
	file   string
	book   Book
	offset int
}

// question answers what the editor asks about a place. Of what is no open template there is nothing to say: null.
func (s *Server) question(r *jsonrpc2.Request) (any, error) {
	answers := map[string]func(asking) (any, error){
		"textDocument/completion":     asking.completion,
		"textDocument/hover":          asking.hover,
		"textDocument/definition":     asking.definition,
		"textDocument/references":     asking.references,
		"textDocument/rename":         asking.rename,
		"textDocument/documentSymbol": asking.symbols,
	}
	answer, ok := answers[r.Method]
	if !ok {
		return nil, &jsonrpc2.Error{Code: jsonrpc2.CodeMethodNotFound, Message: "imx doesn't answer " + r.Method}
	}
	q := asking{server: s}
	if err := params(r, &q.positionParams); err != nil {
		return nil, err
	}
	path := pathOf(q.TextDocument.URI)
	doc, ok := s.desk.at(path)
	if !ok || !template.IsTemplate(filepath.Base(path)) {
		return nil, nil
	}
	q.doc, q.dir, q.file = doc, filepath.Dir(path), filepath.Base(path)
	q.book, q.offset = s.desk.book(q.dir), Offset(doc.text, q.Position)
	return answer(q)
}

func (q asking) completion() (any, error) {
	all := []completionItem{}
	for i, o := range q.book.Complete(q.file, q.offset, q.server.rounds.last(q.dir).Rules) {
		item := completionItem{Label: o.Label, Kind: o.Kind, Detail: o.Detail, SortText: fmt.Sprintf("%05d", i)}
		if o.Doc != "" {
			item.Documentation = &markup{"markdown", o.Doc}
		}
		item.TextEdit = textEdit{RangeOf(q.doc.text, o.Over), o.Label}
		if o.Text != "" {
			item.TextEdit.NewText = o.Text
		}
		if o.Snippet != "" && q.server.snippets {
			item.TextEdit.NewText, item.Format = o.Snippet, 2
		}
		all = append(all, item)
	}
	return all, nil
}

func (q asking) hover() (any, error) {
	var parts []string
	v := q.server.rounds.last(q.dir)
	for _, f := range v.Findings {
		if f.Waived == nil && f.At.File == q.file && q.on(RangeInLine(q.server.rounds.line(filepath.Join(q.dir, q.file), f.At, f.Source), f.At)) {
			parts = append(parts, ofRule(f, v.Rules))
		}
	}
	text, at := q.book.Hover(q.file, q.offset)
	if text != "" {
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return nil, nil
	}
	h := hover{Contents: markup{plainText, strings.Join(parts, "\n\n")}}
	if text != "" {
		over := RangeOf(q.doc.text, at)
		h.Range = &over
	}
	return h, nil
}

// on reports whether the place that is asked about is in a range of one line.
func (q asking) on(r Range) bool {
	return q.Position.Line == r.Start.Line && r.Start.Character <= q.Position.Character && q.Position.Character <= r.End.Character
}

// ofRule says why a finding matters and what to write instead.
func ofRule(f imx.Finding, rules []imx.Rule) string {
	text := fmt.Sprintf("%s: %s (%s)", f.Level, f.Message, f.Rule)
	rule, ok := ruleOf(rules, f.Rule)
	if !ok {
		return text
	}
	fix := rule.Fix
	if f.Fix != "" {
		fix = f.Fix
	}
	for _, part := range []struct{ head, says string }{{"why", rule.Why}, {"fix", fix}} {
		if part.says != "" {
			text += "\n" + part.head + ": " + part.says
		}
	}
	return text
}

func (q asking) definition() (any, error) {
	return q.locations(q.book.Define(q.file, q.offset)), nil
}

func (q asking) references() (any, error) {
	all := q.book.References(q.file, q.offset)
	if q.Context.IncludeDeclaration {
		all = append(q.book.Define(q.file, q.offset), all...)
	}
	return q.locations(all), nil
}

func (q asking) locations(places []Place) []location {
	all := []location{}
	for _, p := range places {
		uri, r := q.at(p)
		all = append(all, location{uri, r})
	}
	return all
}

// at is a place as the editor names it.
func (q asking) at(p Place) (string, Range) {
	uri := q.server.desk.uri(filepath.Join(q.dir, filepath.FromSlash(p.File)))
	if page, ok := q.book.page(p.File); ok {
		return uri, RangeOf(page.Text, p.Span)
	}
	return uri, Range{}
}

func (q asking) rename() (any, error) {
	places, err := q.book.Rename(q.file, q.offset, q.NewName)
	if err != nil {
		e := imx.AsError(err)
		return nil, &jsonrpc2.Error{Code: jsonrpc2.CodeInvalidParams, Message: sentences(e.Message, e.Hint)}
	}
	edit := workspaceEdit{Changes: map[string][]textEdit{}}
	for _, p := range places {
		uri, r := q.at(p)
		edit.Changes[uri] = append(edit.Changes[uri], textEdit{r, q.NewName})
	}
	return edit, nil
}

// maxSymbols is how many blocks and settings an outline shows.
const maxSymbols = 2000

// What symbols are, as the protocol numbers it.
const (
	symbolBlock   = 5 // "class"
	symbolSetting = 7 // "property"
)

func (q asking) symbols() (any, error) {
	page, ok := q.book.page(q.file)
	if !ok {
		return nil, nil
	}
	left := maxSymbols
	return symbolsOf(page, page.Root, &left), nil
}

func symbolsOf(p *Page, in *Item, left *int) []documentSymbol {
	all := []documentSymbol{}
	for _, it := range in.Items {
		if it.Name.Text == "" || *left == 0 {
			continue
		}
		*left--
		s := documentSymbol{Name: it.Name.Text, Kind: symbolBlock, Range: RangeOf(p.Text, it.Span), SelectionRange: RangeOf(p.Text, it.Name.Span)}
		if it.IsSet {
			s.Kind = symbolSetting
		}
		for _, l := range it.Labels {
			s.Name += ` "` + l.Text + `"`
		}
		s.Children = symbolsOf(p, it, left)
		all = append(all, s)
	}
	return all
}
