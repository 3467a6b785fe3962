// Package rules holds imx's own policy: one condition to a file of Rego, with a description above it.
package rules

import (
	"embed"
	"io/fs"
)

//go:embed *.rego
var files embed.FS

// Files returns the text of each file by its name.
func Files() map[string]string {
	names, err := fs.Glob(files, "*.rego")
	if err != nil {
		panic("rules: " + err.Error()) // the pattern is above
	}
	all := map[string]string{}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			panic("rules: " + err.Error()) // it is embedded
		}
		all[name] = string(text)
	}
	return all
}
