//go:build !client

package check

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"imx"
	"imx/internal/rego"
)

// describe makes a Rule of a package's metadata.
func describe(n *rego.Notes, from string) imx.Rule {
	text := func(name string) string {
		s, _ := n.Custom[name].(string)
		return strings.TrimSpace(s)
	}
	return imx.Rule{
		ID: text("id"), Title: n.Title, Description: strings.TrimSpace(n.Description), Level: imx.Level(text("severity")),
		Why: text("why"), Fix: text("fix"), From: from, Links: n.Links,
	}
}

// flawOf says what is wrong with a rule's description, "" for nothing.
func flawOf(r imx.Rule) string {
	switch {
	case r.ID == "":
		return "the rule has no id in custom"
	case !regexp.MustCompile(`^[a-z][a-z0-9-]{0,59}$`).MatchString(r.ID):
		return fmt.Sprintf("the rule's id is %q; it must be lower-case letters, digits and hyphens, at most 60", r.ID)
	case r.Title == "":
		return "the rule " + r.ID + " has no title"
	case !slices.Contains(imx.Levels(), r.Level):
		return fmt.Sprintf("the rule %s has the severity %q; it must be critical, high, medium or low", r.ID, r.Level)
	}
	return ""
}
