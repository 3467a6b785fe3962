package lsp

import (
	"strconv"
	"strings"

	"imx"
	"imx/internal/template"
)

// Offer is something that may stand at a place.
type Offer struct {
	Kind  OfferKind
	Label string
	Text  string // what to write, over Over; "" means the label
	// Snippet is the same for editors that let a person jump through its gaps: ${1:x}.
	Snippet string
	Doc     string
	Detail  string
	Over    Span
}

// OfferKind is what is offered, as the protocol numbers it.
type OfferKind int

// The kinds of offers; editors show a sign for each.
const (
	OfferFunction OfferKind = 3
	OfferBlock    OfferKind = 7  // "class"
	OfferSetting  OfferKind = 10 // "property"
	OfferValue    OfferKind = 12
	OfferFile     OfferKind = 17
	OfferName     OfferKind = 18 // "reference"
)

// Complete returns what may stand at an offset; rules are those that a waiver can name.
func (b Book) Complete(file string, offset int, rules []imx.Rule) []Offer {
	p, ok := b.page(file)
	if !ok || len(p.Text) > maxScanned {
		return nil
	}
	before := Scan(file, p.Text[:offset], topNames())
	at := before.end
	c := completion{book: b, before: before, now: Span{offset, offset}}
	switch {
	case at.inText:
		return nil
	case at.quote != nil && at.set == nil:
		return c.labels(at, rules)
	case at.quote != nil:
		return c.quoted(at)
	case at.set != nil:
		return c.value(at)
	case len(at.header) == 0:
		return c.words(at)
	case len(at.header) == 1 && at.header[0].Span.To == offset:
		c.now = at.header[0].Span
		return c.words(at)
	}
	return nil
}

// completion is one question.
type completion struct {
	book   Book
	before *Page // the text up to where the question is
	now    Span  // what has been typed of the word
}

// words offers the settings and blocks of the block around.
func (c completion) words(at state) []Offer {
	settings, blocks := template.Inside(at.block.path())
	var all []Offer
	for _, w := range settings {
		if !has(at.block, w.Name) {
			all = append(all, Offer{
				Kind: OfferSetting, Label: w.Name, Doc: w.Doc, Detail: w.Type, Over: c.now,
				Text: w.Name + " = ", Snippet: w.Name + " = ${1:" + escaped(w.Example) + "}",
			})
		}
	}
	for _, w := range blocks {
		all = append(all, c.block(w))
	}
	return all
}

// has reports whether a setting is written already.
func has(block *Item, name string) bool {
	for _, it := range block.Items {
		if it.IsSet && it.Name.Text == name {
			return true
		}
	}
	return false
}

func (c completion) block(w template.Word) Offer {
	o := Offer{Kind: OfferBlock, Label: w.Name, Doc: w.Doc, Detail: "block", Over: c.now, Text: w.Name + " {\n}"}
	head, gap := w.Name, 1
	if w.Label != "" {
		o.Text = w.Name + ` "` + w.Label + "\" {\n}"
		head, gap = head+` "${1:`+escaped(w.Label)+`}"`, 2
	}
	inside := make([]string, 0, len(w.Needed)+1)
	for _, s := range w.Needed {
		inside = append(inside, "\t"+s.Name+" = ${"+strconv.Itoa(gap)+":"+escaped(s.Example)+"}\n")
		gap++
	}
	o.Snippet = head + " {\n" + strings.Join(inside, "") + "\t$0\n}"
	return o
}

// escaped is a text as the default of a snippet's gap.
func escaped(s string) string { return strings.NewReplacer(`\`, `\\`, `$`, `\$`, `}`, `\}`).Replace(s) }

// labels offers the rules that a waiver is of.
func (c completion) labels(at state, rules []imx.Rule) []Offer {
	if len(at.header) != 1 || at.header[0].Text != "waiver" || at.block.In != nil {
		return nil
	}
	var all []Offer
	for _, r := range rules {
		all = append(all, Offer{Kind: OfferValue, Label: r.ID, Doc: r.Title, Detail: string(r.Level), Over: Span{at.quote.Span.From, c.now.To}})
	}
	return all
}

// quoted offers what may stand in quotes: the folder's files, and names of ports.
func (c completion) quoted(at state) []Offer {
	over := Span{at.quote.Span.From, c.now.To}
	names, kind := []string(nil), OfferFile
	switch {
	case at.quote.Call == "file" || at.quote.Call == "templatefile":
		for _, f := range c.book.Files {
			if !template.IsTemplate(f) {
				names = append(names, f)
			}
		}
	case at.set.Name.Text == "port":
		if service := c.before.asked(at.set); service != "" {
			names, kind = c.book.names("service", service), OfferName
		}
	}
	var all []Offer
	for _, n := range names {
		all = append(all, Offer{Kind: kind, Label: n, Over: over})
	}
	return all
}

// value offers references, functions and an example of the setting.
func (c completion) value(at state) []Offer {
	var use Use
	if n := len(c.before.Uses); n > 0 && c.before.Uses[n-1].span().To == c.now.To && c.before.Uses[n-1].In == at.set {
		use = c.before.Uses[n-1]
	}
	if len(use.Steps) > 1 {
		return c.steps(use)
	}
	if len(use.Steps) == 1 {
		c.now = use.Steps[0].Span
	}
	all := c.example(at)
	for _, root := range []string{"image", "archive", "local", "service"} {
		for _, n := range c.nouns(root) {
			all = append(all, Offer{Kind: OfferName, Label: n, Detail: root, Over: c.now})
		}
	}
	for _, f := range template.Functions() {
		all = append(all, Offer{
			Kind: OfferFunction, Label: f.Name, Doc: f.Doc, Detail: f.Example, Over: c.now,
			Text: f.Name + "(", Snippet: f.Name + "($1)$0",
		})
	}
	return all
}

// nouns are whole references of a kind: services by their ports, which is what others say of them.
func (c completion) nouns(root string) []string {
	names := c.book.names(root, "")
	if root == "archive" {
		names = append(names, imx.HostArchive)
	}
	var all []string
	for _, n := range names {
		whole := root + "." + n
		all = append(all, whole)
		if root == "service" {
			for _, port := range c.book.names(root, n) {
				all = append(all, whole+".port."+port)
			}
		}
	}
	return all
}

// example offers the setting's values.
func (c completion) example(at state) []Offer {
	if at.set.Span.From == 0 && at.set.In == nil {
		return nil
	}
	settings, _ := template.Inside(at.set.In.path())
	var all []Offer
	for _, w := range settings {
		switch {
		case w.Name != at.set.Name.Text:
		case w.Type == "true or false" || w.Type == "bool":
			all = append(all, Offer{Kind: OfferValue, Label: "true", Over: c.now}, Offer{Kind: OfferValue, Label: "false", Over: c.now})
		default:
			all = append(all, Offer{Kind: OfferValue, Label: w.Example, Detail: "example", Doc: w.Doc, Over: c.now})
		}
	}
	return all
}

// steps offers what follows a dot.
func (c completion) steps(u Use) []Offer {
	last := u.Steps[len(u.Steps)-1]
	root, name := u.Steps[0].Text, u.Steps[1].Text
	var names []string
	switch n := len(u.Steps); {
	case n == 2:
		names = c.book.names(root, "")
		if root == "archive" {
			names = append(names, imx.HostArchive)
		}
	case root != "service":
	case n == 3:
		names = []string{"port"}
	case n == 4 && u.Steps[2].Text == "port":
		names = c.book.names(root, name)
	case n == 5 && u.Steps[2].Text == "port":
		names = []string{"address", "host", "number", "name"}
	}
	var all []Offer
	for _, n := range names {
		all = append(all, Offer{Kind: OfferName, Label: n, Over: last.Span})
	}
	return all
}
