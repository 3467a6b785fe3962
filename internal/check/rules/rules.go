// Package rules holds imx's own rules for templates: one Rego file each, with a description above it that
// docs/rules.md is made from. Beside each, testdata has a template that breaks it and a near one that doesn't.
package rules

import (
	"embed"
	"io/fs"
)

//go:embed *.rego
var files embed.FS

// File is one file of rules.
type File struct{ Name, Text string }

// Files returns the files in the order of their names.
func Files() []File {
	names, err := fs.Glob(files, "*.rego")
	if err != nil {
		panic("rules: " + err.Error()) // the pattern is above
	}
	all := make([]File, len(names))
	for i, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			panic("rules: " + err.Error()) // it is embedded
		}
		all[i] = File{name, string(text)}
	}
	return all
}
