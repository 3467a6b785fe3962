// Package template turns the text of a template, HCL files in one folder, into an imx.Template.
//
// One table of settings (settings.go) drives everything: how a block is decoded, how a value is
// checked, its default, its help, its completion and its entry in docs/template.md. What a
// single setting can't know (references, duplicates, circles) is checked on the finished
// imx.Template, so that Parse and Check, for a Template that came as JSON, keep the same rules.
//
// The package resolves nothing against an archive, knows nothing of Git and touches no disk: it
// reads the fs.FS that it is given, and only that.
package template
