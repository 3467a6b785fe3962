package cli

import "github.com/spf13/cobra"

// What the tests of package cli_test reach inside for: the rendering of fixed values, and the tree
// of commands.
var (
	ShowPlan      = showPlan
	ShowStatus    = showStatus
	ShowInstances = showInstances
	ShowReleases  = showReleases
	ShowApplied   = showApplied
	ShowWhy       = showWhy
	ShowEvent     = showEvent
	ParseMoment   = parseMoment
	GitSource     = gitSource
)

// Root returns the tree of commands.
func Root(p Process) *cobra.Command {
	root, _ := newRoot(p)
	return root
}

// Section is a part of a command's help.
type Section struct{ Title, Text string }

// Sections returns a command's help.
func Sections(cmd *cobra.Command) []Section {
	var all []Section
	for _, s := range sections(cmd) {
		all = append(all, Section{s.title, s.text})
	}
	return all
}
