package lsp

import (
	"strings"

	"imx/internal/template"
)

// Hover says, as plain text, what stands at an offset: what a block, a setting or a function is, and of a name what it
// names. It returns "" where there is nothing to say.
func (b Book) Hover(file string, offset int) (string, Span) {
	p, ok := b.page(file)
	if !ok {
		return "", Span{}
	}
	if text, at := inWords(p.Root, offset); text != "" {
		return text, at
	}
	for _, u := range p.Uses {
		if u.Call && u.Steps[0].Span.touches(offset) {
			return ofFunction(u.Steps[0].Text), u.Steps[0].Span
		}
	}
	n, at, ok := b.nounAt(p, offset)
	if !ok {
		return "", Span{}
	}
	for _, d := range b.declarations() {
		if d.noun == n {
			return d.text(), at
		}
	}
	return "", Span{}
}

// inWords explains the name of a block or setting.
func inWords(block *Item, offset int) (string, Span) {
	for _, it := range block.Items {
		if it.Name.Span.touches(offset) && it.Name.Text != "" {
			text, err := template.Help(it.path())
			if err != nil {
				return "", Span{} // it isn't of the language, and a diagnostic says so
			}
			return strings.TrimRight(text, "\n"), it.Name.Span
		}
		if it.Span.touches(offset) {
			if text, at := inWords(it, offset); text != "" {
				return text, at
			}
		}
	}
	return "", Span{}
}

func ofFunction(name string) string {
	for _, f := range template.Functions() {
		if f.Name == name {
			return f.Example + "\n  " + strings.ReplaceAll(f.Doc, "`", "")
		}
	}
	return ""
}

// maxShown is how much of a declaration is shown.
const maxShown = 1000

// text is the declaration as it is written, and where.
func (d declaration) text() string {
	text := d.page.Text[d.item.Span.From:d.item.Span.To]
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + "..."
	}
	return d.page.File + "\n\n" + text
}
