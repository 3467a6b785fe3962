package cli

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

type rulesOptions struct {
	Rule  string   // "" lists all
	Rules []string // folders of the user's own
}

func (o *rulesOptions) addFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.Rules, "rules", nil, "`FOLDER` of further rules in Rego; may be given several times")
}

func newRulesCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts rulesOptions
	cmd := page{
		use:   "rules [RULE] [--rules FOLDER]",
		short: "List the rules that templates are checked by, or explain one",
		long: `Lists the rules with their severities, or tells what breaks RULE, why that matters and what to write
instead. imx's own are written in Rego; docs/check.md shows how to add yours. Most for secrets are gitleaks', those for
Dockerfiles and Kubernetes objects beside a template trivy-checks'.`,
		example: `
$ imx rules
$ imx rules root-user
$ imx rules --json | jq -r '.[] | select(.severity == "high") | .id'`,
		exits:    []status{{2, "the rules in a folder have mistakes"}, {3, "there is no such rule or folder"}},
		most:     1,
		complete: onlyFirst(completeRules(&opts, g)),
	}.command(func(_ context.Context, args []string) error {
		opts.Rule = strings.Join(args, "")
		return runRules(opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func runRules(opts rulesOptions, g *Global, t *term.Terminal) error {
	rules, err := rulesOf(opts, g)
	if err != nil {
		return err
	}
	if opts.Rule == "" {
		if g.JSON {
			return printJSON(t.Out, rules)
		}
		return showRules(t.Out, rules)
	}
	i := slices.IndexFunc(rules, func(r imx.Rule) bool { return r.ID == opts.Rule })
	if i < 0 {
		return imx.Errorf(imx.NotFound, "there is no rule %q", opts.Rule).WithHint("imx rules lists them")
	}
	if g.JSON {
		return printJSON(t.Out, rules[i])
	}
	return showRule(t.Out, rules[i])
}

func rulesOf(opts rulesOptions, g *Global) ([]imx.Rule, error) {
	var own []ownRules
	for _, dir := range opts.Rules {
		o, err := readRules(dir)
		if err != nil {
			return nil, err
		}
		own = append(own, o)
	}
	e := newExaminer(checkOptions{}, g)
	rules, err := e.rules(own)
	if err != nil {
		return nil, err
	}
	others, err := e.foreign.Rules()
	return append(rules, others...), err
}

func showRules(out term.Stream, rules []imx.Rule) error {
	table := term.Table{
		Head:  []string{"RULE", "SEVERITY", "FROM", "TITLE"},
		Wraps: []string{"TITLE"},
	}
	for _, r := range rules {
		table.Add(out.Ink.Name(r.ID), strings.TrimSuffix(levelText(out.Ink, r.Level), ":"), term.Clean(r.From), term.Clean(r.Title))
	}
	_, err := io.WriteString(out, table.Text(out.Ink, out.Columns()))
	return err
}

// showRule prints all that a rule says of itself.
func showRule(out term.Stream, r imx.Rule) error {
	var b strings.Builder
	b.WriteString(out.Ink.Bold(term.Clean(r.Title)) + "\n" + out.Ink.Dim(r.ID+", "+string(r.Level)+", from "+term.Clean(r.From)) + "\n")
	for _, part := range [][2]string{{"What breaks it", r.Description}, {"Why it matters", r.Why}, {"What to write", r.Fix}} {
		if part[1] != "" {
			b.WriteString("\n" + out.Ink.Bold(part[0]) + "\n" + term.CleanLines(part[1]) + "\n")
		}
	}
	for i, link := range r.Links {
		if i == 0 {
			b.WriteString("\n")
		}
		b.WriteString(term.Clean(link) + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func completeRules(opts *rulesOptions, g *Global) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		rules, err := rulesOf(*opts, g)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var words []string
		for _, r := range rules {
			words = append(words, r.ID+"\t"+r.Title)
		}
		return unused(words, nil, start), cobra.ShellCompDirectiveNoFileComp
	}
}
