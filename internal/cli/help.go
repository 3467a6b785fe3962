package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

// page is all that help says about a command, and how many arguments the command takes.
type page struct {
	use     string // "releases SERVICE"
	short   string
	long    string // what it does, in about two sentences
	example string // lines as a person types and sees them
	exits   []status
	least   int // arguments, of which use names each
	most    int // -1 for any number
	// complete offers words for the arguments; nil offers none.
	complete cobra.CompletionFunc
}

// status is one exit status and what it means for one command.
type status struct {
	code int
	says string
}

// statuses of commands that ask a server, in addition to their own.
func asking(own ...status) []status {
	return append(own, status{6, "no server answers on the socket"})
}

// The annotations that carry to the help what cobra has no field for.
const (
	exitNotes = "exit status" // the lines of that section
	orderNote = "order"       // the place among commands, which cobra itself sorts by name
)

// command makes the page's command. run gets the arguments, whose number has been checked.
func (p page) command(run func(ctx context.Context, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:                   p.use,
		Short:                 p.short,
		Long:                  p.long,
		Example:               strings.Trim(p.example, "\n"),
		Annotations:           map[string]string{exitNotes: p.exitText()},
		Args:                  p.count,
		ValidArgsFunction:     p.complete,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), args)
		},
	}
	if p.complete == nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	return cmd
}

// count refuses a wrong number of arguments, in words.
func (p page) count(cmd *cobra.Command, args []string) error {
	usage := "usage: " + strings.TrimSuffix(cmd.CommandPath(), cmd.Name()) + p.use
	switch {
	case len(args) < p.least:
		return imx.Errorf(imx.Invalid, "%s needs %s", cmd.CommandPath(), p.needed()).WithHint("%s", usage)
	case p.most >= 0 && len(args) > p.most && cmd.HasSubCommands():
		return unknownCommand(cmd, args[p.most])
	case p.most >= 0 && len(args) > p.most:
		return imx.Errorf(imx.Invalid, "%s doesn't know what to do with %q", cmd.CommandPath(), args[p.most]).WithHint("%s", usage)
	}
	return nil
}

// needed names the arguments that can't be left out.
func (p page) needed() string {
	var words []string
	depth := 0
	for _, w := range strings.Fields(p.use)[1:] {
		if depth += strings.Count(w, "["); depth == 0 {
			words = append(words, w)
		}
		depth -= strings.Count(w, "]")
	}
	return strings.Join(words, " ")
}

// exitText lists the exit statuses in the page's own words where it has some.
func (p page) exitText() string {
	all := p.exits
	if len(all) == 0 || all[0].code != 0 {
		all = append([]status{{0, "all went well"}}, all...)
	}
	all = slices.SortedFunc(slices.Values(all), func(a, b status) int { return a.code - b.code })
	lines := make([]string, len(all))
	for i, s := range all {
		lines[i] = fmt.Sprintf("%3d  %s", s.code, s.says)
	}
	return strings.Join(lines, "\n")
}

// rootLong introduces imx where no command was given.
const rootLong = `imx turns a template into minimal images of signed Debian packages and runs them as
instances that are never changed, only replaced. "imx server" does the work on a Linux
machine; all other commands ask it over the socket imx.sock in its data folder.`

const rootExample = `$ imx server &
$ imx init hello && cd hello
$ imx apply`

// rootExits are the exit statuses that mean the same for every command.
const rootExits = `  0  all went well
  1  a defect in imx, or a machine that fails in an unforeseen way
  2  what was asked for makes no sense as written: a flag, an argument, a template
  3  the named thing doesn't exist
  4  it can't be done in the present state, or somebody else holds it
  5  a signature, digest, rule or person says no
  6  something outside didn't answer: there is no server, an archive is unreachable
  7  no space, memory, addresses or time left
  8  apply, rollout watch, rollout simulate: a release failed; its service stays on the last good one
  9  build --check-repro: an image came out otherwise the second time
 10  plan --detailed-exitcode: there is something to change; image diff --exit-code: something differs
 11  scan --fail-on: there is such a vulnerability
 12  verify: it may not run; policy test: a verdict isn't the one that was expected
 13  scan --fail-on: none was found, but not all could be looked at
 14  apply: a candidate waits for approvals, or for the end of a freeze
130  interrupted`

// showHelp prints a command's help.
func showHelp(t *term.Terminal, cmd *cobra.Command) {
	var b strings.Builder
	for _, s := range sections(cmd) {
		if s.title != "" {
			b.WriteString("\n" + t.Out.Ink.Bold(s.title) + "\n  " + strings.ReplaceAll(s.text, "\n", "\n  ") + "\n")
			continue
		}
		b.WriteString(s.text + "\n")
	}
	_, _ = io.WriteString(t.Out, b.String()) // cobra's help has no error to give
}

// section is a part of a command's help; the first has no title.
type section struct {
	title string
	text  string
}

// sections returns a command's help. The reference in docs is made of the same sections.
func sections(cmd *cobra.Command) []section {
	long, example, exits := cmd.Long, cmd.Example, cmd.Annotations[exitNotes]
	if !cmd.HasParent() {
		long, example, exits = rootLong, rootExample, rootExits
	}
	all := []section{{"", long}, {"USAGE", usage(cmd)}, {"EXAMPLE", example}}
	all = append(all, commandLists(cmd)...)
	all = append(all,
		section{"FLAGS", flagLines(cmd.NonInheritedFlags())},
		section{"GLOBAL FLAGS", flagLines(cmd.InheritedFlags())},
		section{"EXIT STATUS", exits},
	)
	kept := all[:0]
	for _, s := range all {
		if s.text != "" {
			kept = append(kept, s)
		}
	}
	return kept
}

func usage(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return "imx COMMAND [FLAGS] [ARGUMENTS]"
	}
	lines := []string{cmd.UseLine()}
	for _, sub := range cmd.Commands() {
		lines = append(lines, sub.UseLine())
	}
	return strings.Join(lines, "\n")
}

func commandLists(cmd *cobra.Command) []section {
	if groups := cmd.Groups(); len(groups) > 0 {
		var all []section
		for _, g := range groups {
			all = append(all, section{strings.ToUpper(g.Title), commandLines(cmd, g.ID)})
		}
		return all
	}
	return []section{{"COMMANDS", commandLines(cmd, "")}}
}

func commandLines(cmd *cobra.Command, group string) string {
	var table term.Table
	inOrder := slices.SortedStableFunc(slices.Values(cmd.Commands()), func(a, b *cobra.Command) int {
		return strings.Compare(a.Annotations[orderNote], b.Annotations[orderNote])
	})
	for _, sub := range inOrder {
		if !sub.Hidden && sub.GroupID == group {
			table.Add(sub.Name(), sub.Short)
		}
	}
	return strings.TrimRight(table.Text(term.Ink{}, 0), "\n")
}

// flagLines lists flags, without --help: who reads this knows it.
func flagLines(flags *pflag.FlagSet) string {
	var table term.Table
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, says := pflag.UnquoteUsage(f)
		name := "    --" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", --" + f.Name
		}
		if value != "" {
			name += " " + value
		}
		table.Add(name, says+defaultOf(f))
	})
	return strings.TrimRight(table.Text(term.Ink{}, 0), "\n")
}

func defaultOf(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "false", "0", "0s", "[]":
		return ""
	}
	return " (default " + f.DefValue + ")"
}
