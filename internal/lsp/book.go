package lsp

import (
	"path"
	"slices"
	"strings"

	"imx"
	"imx/internal/template"
)

// Book is the pages of one folder. It is made for one question and not kept.
type Book struct {
	Pages []*Page
	Files []string // names of the files that a template may take in
}

// Place is a part of a file of the folder.
type Place struct {
	File string
	Span Span
}

// NewBook scans the texts of a folder, by their names.
func NewBook(texts map[string]string, files []string) Book {
	b := Book{Files: files}
	tops := topNames()
	for name, text := range texts {
		b.Pages = append(b.Pages, Scan(name, text, tops))
	}
	slices.SortFunc(b.Pages, func(x, y *Page) int { return strings.Compare(x.File, y.File) })
	return b
}

func topNames() []string {
	var names []string
	_, blocks := template.Inside("")
	for _, w := range blocks {
		names = append(names, w.Name)
	}
	return names
}

func (b Book) page(file string) (*Page, bool) {
	for _, p := range b.Pages {
		if p.File == file {
			return p, true
		}
	}
	return nil, false
}

// noun is something that is declared in one place and used in others: image.web, or a service's port.
type noun struct{ root, name, port string }

// declaration is where a noun is declared.
type declaration struct {
	noun noun
	page *Page
	item *Item
	at   Span // of its name
}

// declarations returns all that the folder declares; what is declared twice is there twice.
func (b Book) declarations() []declaration {
	var all []declaration
	for _, p := range b.Pages {
		for _, it := range p.Root.Items {
			all = append(all, declared(p, it)...)
		}
	}
	return all
}

func declared(p *Page, it *Item) []declaration {
	root := it.Name.Text
	var all []declaration
	if root == "locals" {
		for _, l := range it.Items {
			if l.IsSet {
				all = append(all, declaration{noun{"local", l.Name.Text, ""}, p, l, l.Name.Span})
			}
		}
		return all
	}
	if len(it.Labels) == 0 || root != "image" && root != "archive" && root != "service" {
		return nil
	}
	all = append(all, declaration{noun{root, it.label(), ""}, p, it, it.Labels[0].Span})
	for _, port := range it.Items {
		if root == "service" && port.Name.Text == "port" && len(port.Labels) > 0 {
			all = append(all, declaration{noun{root, it.label(), port.label()}, p, port, port.Labels[0].Span})
		}
	}
	return all
}

// names returns the names of a kind of noun, each once, in the order written; of a service's ports where of names one.
func (b Book) names(root, of string) []string {
	var names []string
	for _, d := range b.declarations() {
		name := d.noun.name
		switch {
		case d.noun.root != root, of == "" && d.noun.port != "", of != "" && (d.noun.name != of || d.noun.port == ""):
			continue
		case of != "":
			name = d.noun.port
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// mention is a noun's name in a text.
type mention struct {
	noun noun
	at   Place
}

// mentions returns all places of a page that name a noun, declarations not among them.
func (p *Page) mentions() []mention {
	var all []mention
	add := func(n noun, at Span) { all = append(all, mention{n, Place{p.File, at}}) }
	for _, u := range p.Uses {
		if u.Call || len(u.Steps) < 2 {
			continue
		}
		root, name := u.Steps[0].Text, u.Steps[1]
		add(noun{root, name.Text, ""}, name.Span)
		if root == "service" && len(u.Steps) > 3 && u.Steps[2].Text == "port" {
			add(noun{root, name.Text, u.Steps[3].Text}, u.Steps[3].Span)
		}
	}
	for _, l := range p.Literals {
		if service := p.asked(l.In); service != "" {
			add(noun{"service", service, l.Text}, l.Span)
		}
	}
	return all
}

// asked returns the service one of whose ports a setting names as text: port = "http" in its health, or in its test.
func (p *Page) asked(set *Item) string {
	if set == nil || set.Name.Text != "port" || set.In == nil {
		return ""
	}
	switch block := set.outermost(); block.Name.Text {
	case "service":
		return block.label()
	case "test":
		for _, u := range p.Uses {
			if u.In != nil && u.In.In == block && u.In.Name.Text == "service" && len(u.Steps) > 1 {
				return u.Steps[1].Text
			}
		}
	}
	return ""
}

// nounAt returns the noun that is named at an offset, by its declaration or by a use.
func (b Book) nounAt(p *Page, offset int) (noun, Span, bool) {
	for _, d := range b.declarations() {
		if d.page == p && d.at.touches(offset) {
			return d.noun, d.at, true
		}
	}
	for _, m := range p.mentions() {
		if m.at.Span.touches(offset) {
			return m.noun, m.at.Span, true
		}
	}
	for _, u := range p.Uses { // the first word of a reference
		if !u.Call && len(u.Steps) > 1 && u.Steps[0].Span.touches(offset) {
			return noun{u.Steps[0].Text, u.Steps[1].Text, ""}, u.Steps[1].Span, true
		}
	}
	return noun{}, Span{}, false
}

// Define returns where what stands at an offset is declared: a block, a local, a port; of the path in file("x"), the
// file's beginning.
func (b Book) Define(file string, offset int) []Place {
	p, ok := b.page(file)
	if !ok {
		return nil
	}
	for _, l := range p.Literals {
		if l.Span.touches(offset) && (l.Call == "file" || l.Call == "templatefile") && slices.Contains(b.Files, path.Clean(l.Text)) {
			return []Place{{File: path.Clean(l.Text)}}
		}
	}
	n, _, ok := b.nounAt(p, offset)
	if !ok {
		return nil
	}
	var all []Place
	for _, d := range b.declarations() {
		if d.noun == n {
			all = append(all, Place{d.page.File, d.at})
		}
	}
	return all
}

// maxPlaces is how many places of a noun are told: an editor lists them.
const maxPlaces = 2000

// References returns all places that name what is named at an offset, without those that Define returns.
func (b Book) References(file string, offset int) []Place {
	p, ok := b.page(file)
	if !ok {
		return nil
	}
	n, _, ok := b.nounAt(p, offset)
	if !ok {
		return nil
	}
	var all []Place
	for _, p := range b.Pages {
		for _, m := range p.mentions() {
			if m.noun == n {
				all = append(all, m.at)
			}
		}
	}
	return all[:min(len(all), maxPlaces)]
}

// Rename returns the places in which a new name has to be written for what is named at an offset. Errors: NotFound where
// nothing is that is declared here; Invalid for what can't be a name.
func (b Book) Rename(file string, offset int, name string) ([]Place, error) {
	if err := template.Name(name); err != nil {
		return nil, err
	}
	declared := b.Define(file, offset)
	all := slices.Concat(declared, b.References(file, offset))
	if len(declared) == 0 || slices.ContainsFunc(all, func(p Place) bool { return !template.IsTemplate(p.File) }) {
		return nil, imx.Errorf(imx.NotFound, "here is nothing that can be renamed").
			WithHint("names of images, services, their ports, archives and locals can be, where they are declared in this folder")
	}
	if len(all) >= maxPlaces {
		return nil, imx.Errorf(imx.Exhausted, "it is named in more than %d places", maxPlaces)
	}
	return all, nil
}
