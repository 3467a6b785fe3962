package leak

import (
	"bytes"
	"maps"
	"slices"

	"imx"
)

// Folder is a template with the texts that lie in its folder, by name: its own *.imx.hcl files, those that it takes
// in, and any others.
type Folder struct {
	Template imx.Template
	Texts    map[string][]byte
}

// Folder returns the secrets in a folder, each once: at its line where its text is at hand, else where the template says. What
// stands in a block, or in a file that the block takes in, has it as subject, so that a waiver for the block excuses it here
// and where only the template is known.
func (s *Scanner) Folder(f Folder) []imx.Finding {
	var all []imx.Finding
	for _, name := range slices.Sorted(maps.Keys(f.Texts)) {
		if !IsText(f.Texts[name]) {
			if rule, ok := s.Binary(name, f.Texts[name]); ok {
				at := imx.Pos{File: name, Line: 1}
				all = append(all, imx.Finding{Rule: rule.ID, Level: rule.Level, At: at, Subject: f.subject(at), Message: name + " is a keystore"})
			}
			continue
		}
		for _, found := range s.Read(name, f.Texts[name]).Findings() {
			found.Subject = f.subject(found.At)
			all = append(all, found)
		}
	}
	read := all
	for _, found := range s.Template(f.Template) {
		if !slices.ContainsFunc(read, func(a imx.Finding) bool { return a.Rule == found.Rule && a.Subject == found.Subject }) {
			all = append(all, found)
		}
	}
	return all
}

// subject is the block that a place belongs to: that of its line in a template, or the first that takes its file in.
func (f Folder) subject(at imx.Pos) string {
	subject, line := "", 0
	for _, h := range holders(f.Template) {
		if h.at.File == at.File && h.at.Line <= at.Line && h.at.Line > line {
			subject, line = h.subject(), h.at.Line
		}
	}
	if subject != "" {
		return subject
	}
	for _, h := range holders(f.Template) {
		for _, file := range *h.files {
			if bytes.Equal(file.Content, f.Texts[at.File]) {
				return h.subject()
			}
		}
	}
	return ""
}
