package leak

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"imx"
)

// Template returns the secrets in what a template gives its images and services: environments, commands and
// files. They are at the places that the template knows, without lines of text, which it doesn't have.
func (s *Scanner) Template(t imx.Template) []imx.Finding {
	var all []imx.Finding
	for _, h := range holders(t) {
		for _, name := range slices.Sorted(maps.Keys(*h.environment)) {
			way := append(slices.Clone(h.way), "environment", name)
			all = append(all, s.found(t, h, way, variable(name, (*h.environment)[name]))...)
		}
		all = append(all, s.found(t, h, append(slices.Clone(h.way), "command"), command(*h.command))...)
		for _, f := range *h.files {
			if !IsText(f.Content) {
				if rule, ok := s.Binary(f.Path, f.Content); ok {
					all = append(all, imx.Finding{Rule: rule.ID, Level: rule.Level, At: f.At, Subject: h.subject(), Message: f.Path + " of " + h.subject() + " is a keystore"})
				}
				continue
			}
			for _, l := range s.Read(f.Path, f.Content).Findings() {
				l.Message, l.Source = fmt.Sprintf("%s in line %d, in %s", l.Message, l.At.Line, h.subject()), ""
				l.At, l.Subject = f.At, h.subject()
				all = append(all, l)
			}
		}
	}
	return all
}

// holder is a block of a template that has texts for instances.
type holder struct {
	way         []string
	at          imx.Pos
	environment *map[string]string
	command     *[]string
	files       *[]imx.File
}

func (h holder) subject() string { return imx.Address(h.way...) }

// holders point into the template's lists.
func holders(t imx.Template) []holder {
	var all []holder
	for i := range t.Images {
		b := &t.Images[i]
		all = append(all, holder{[]string{"image", b.Name}, b.At, &b.Environment, &b.Command, &b.Files})
	}
	for i := range t.Services {
		b := &t.Services[i]
		all = append(all, holder{[]string{"service", b.Name}, b.At, &b.Environment, &b.Command, &b.Files})
	}
	return all
}

// snippet is a text made of a setting, so that rules see the name that stands before it.
type snippet struct {
	name, lead, text, end string
}

func variable(name, value string) snippet {
	return snippet{name: name, lead: name + ` = "`, text: value, end: `"`}
}

func command(words []string) snippet {
	return snippet{name: "its command", text: strings.Join(words, "\x00"), end: "\n"}
}

// whole is the snippet as rules see it: words of a command on lines of their own.
func (p snippet) whole() []byte {
	return []byte(p.lead + strings.ReplaceAll(p.text, "\x00", "\n") + p.end)
}

func (s *Scanner) found(t imx.Template, h holder, way []string, p snippet) []imx.Finding {
	var all []imx.Finding
	for _, secret := range s.Find("", p.whole()) {
		all = append(all, imx.Finding{
			Rule: secret.Rule.ID, Level: secret.Rule.Level, Subject: h.subject(), At: place(t, way, h.at),
			Message: fmt.Sprintf("%s of %s is what looks like a secret: %s", p.name, h.subject(), strings.TrimPrefix(secret.Rule.ID, prefix)),
		})
	}
	return all
}

// place is where the setting stands, or the nearest thing around it that was written.
func place(t imx.Template, way []string, block imx.Pos) imx.Pos {
	for n := len(way); n > 2; n-- {
		if at, ok := t.Places[imx.Address(way[:n]...)]; ok {
			return at
		}
	}
	return block
}

// Blot returns a template without its secrets, to be shown: a star stands for each character of theirs.
func (s *Scanner) Blot(t imx.Template) imx.Template {
	t.Images, t.Services = slices.Clone(t.Images), slices.Clone(t.Services)
	for _, h := range holders(t) {
		environment := maps.Clone(*h.environment)
		for name, value := range environment {
			environment[name] = s.shown(variable(name, value))
		}
		*h.environment = environment
		if len(*h.command) > 0 {
			*h.command = strings.Split(s.shown(command(*h.command)), "\x00")
		}
		*h.files = slices.Clone(*h.files)
		for i, f := range *h.files {
			if IsText(f.Content) {
				(*h.files)[i].Content = s.Read(f.Path, f.Content).Blotted()
			}
		}
	}
	return t
}

// shown is a setting's text without its secrets. The words of a command are told apart by where lines end, of which
// blotting leaves each in its place.
func (s *Scanner) shown(p snippet) string {
	b := s.Read("", p.whole()).Blotted()
	b = b[min(len(p.lead), len(b)):]
	text := []rune(strings.TrimSuffix(string(b), p.end))
	for i, c := range []rune(p.text) {
		if c == 0 && i < len(text) {
			text[i] = c
		}
	}
	return string(text)
}
