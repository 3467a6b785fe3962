//go:build !client

package foreign

import (
	"path"
	"strings"
	"unicode/utf8"

	"github.com/apparentlymart/go-textseg/v15/textseg"

	"imx"
)

// Kind is a language whose files are analysed.
type Kind string

// The kinds.
const (
	Dockerfile     Kind = "Dockerfile"
	Kubernetes     Kind = "Kubernetes"
	Terraform      Kind = "Terraform"
	CloudFormation Kind = "CloudFormation"
)

// MaxFile bounds a file: nobody writes larger ones by hand.
const MaxFile = 1 << 20

// Recognise says what a file is, by its name and its text; "" for what isn't analysed.
func Recognise(name string, text []byte) Kind {
	base := path.Base(name)
	low := strings.ToLower(base)
	switch {
	case len(text) > MaxFile || !utf8.Valid(text):
		return ""
	case low == "dockerfile" || low == "containerfile" || strings.HasPrefix(low, "dockerfile.") || strings.HasSuffix(low, ".dockerfile"):
		return Dockerfile
	case strings.HasSuffix(low, ".tf"):
		return Terraform
	}
	switch path.Ext(low) {
	case ".yaml", ".yml", ".json", ".template":
	default:
		return ""
	}
	has := func(word string) bool { return strings.Contains(string(text), word) }
	switch {
	case has("AWSTemplateFormatVersion") || has("Resources") && has("AWS::"):
		return CloudFormation
	case has("apiVersion") && has("kind"):
		return Kubernetes
	}
	return ""
}

// document is one text as rules see it.
type document struct {
	input  map[string]any
	places map[string]lines // by the steps of a way, joined
	broken imx.Diagnostics  // what of it couldn't be read
}

// lines are those that a thing stands on, from the first to the last, counted from 1.
type lines struct{ first, last int }

// pos is a thing's first line as a Pos: from its first character that isn't a space to its last.
func pos(name string, text []string, first int) imx.Pos {
	if first < 1 || first > len(text) {
		first = 1
	}
	line := strings.TrimRight(text[first-1], " \t\r")
	bare := strings.TrimLeft(line, " \t")
	column := characters(line[:len(line)-len(bare)]) + 1
	return imx.Pos{File: name, Line: first, Column: column, End: max(column+1, column+characters(bare))}
}

func characters(s string) int {
	n, err := textseg.TokenCount([]byte(s), textseg.ScanGraphemeClusters)
	if err != nil {
		return len(s)
	}
	return n
}

// unread is the notice about a text that can't be understood.
func unread(name string, kind Kind, line int, why string) imx.Diagnostics {
	why, _, _ = strings.Cut(why, "\n")
	if len(why) > maxWhy {
		why = strings.ToValidUTF8(why[:maxWhy], "") + "..."
	}
	return imx.Diagnostics{{
		Severity: imx.SeverityNotice, At: imx.Pos{File: name, Line: max(1, line)},
		Summary: "this isn't analysed: it can't be read as " + string(kind) + ": " + why,
		Hint:    "its secrets are looked for all the same",
	}}
}

// maxWhy bounds what a parser may quote of a text.
const maxWhy = 200
