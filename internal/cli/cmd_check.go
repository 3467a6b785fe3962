package cli

import (
	"context"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/check"
	"imx/internal/report"
	"imx/internal/term"
)

type checkOptions struct {
	Dirs   []string
	Rules  []string // folders of the user's own rules
	Format string
	FailOn string
	Watch  bool
}

func (o *checkOptions) addFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.Rules, "rules", nil, "`FOLDER` of further rules in Rego; may be given several times")
	f.StringVar(&o.Format, "format", formatText, "`FORMAT` of the result: text, json, sarif or junit")
	f.StringVar(&o.FailOn, "fail-on", string(imx.Critical), "the least `LEVEL` that makes the check fail: critical, high, medium, low; or never")
	f.BoolVarP(&o.Watch, "watch", "w", false, "check again whenever a file changes, until ctrl-c")
}

// The formats of a check's result.
const (
	formatText  = "text"
	formatJSON  = "json"
	formatSARIF = "sarif"
	formatJUnit = "junit"
)

// never is the --fail-on that lets everything pass.
const never = "never"

func newCheckCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts checkOptions
	cmd := page{
		use:   "check [DIR]... [--rules FOLDER] [--format FORMAT] [--fail-on LEVEL] [--watch]",
		short: "Check templates without a server",
		long: `Reads the *.imx.hcl files of each DIR (here, unless named) and reports every mistake at once, each
with its place and what to write instead. A template without mistakes is held against imx's rules ("imx
rules" lists them), those of a folder "checks" beside it and those of --rules; a waiver block
in it excuses what a rule finds. Secrets are looked for in the templates and in all text in their
folders; Dockerfiles, Kubernetes objects, Terraform and CloudFormation there have rules too. It asks no server and no archive: whether a package exists is
for "imx plan" to say.`,
		example: `
$ imx check hello
ok: 1 image, 1 service, from b31f0c2a97d4
$ imx check --fail-on medium --format sarif services/* > check.sarif
$ imx check --watch`,
		exits: []status{
			{0, "the templates have no mistakes, and the rules find nothing of --fail-on's level"},
			{2, "a template or a rule of one's own has mistakes"},
			{3, "there is no such folder"},
			{5, "the rules find something of --fail-on's level, or worse"},
			{7, "a rule of one's own doesn't come to an end"},
			{exitInterrupted, "interrupted, as --watch always is"},
		},
		most:     -1,
		complete: completeDirs,
	}.command(func(ctx context.Context, args []string) error {
		opts.Dirs = args
		if len(args) == 0 {
			opts.Dirs = []string{"."}
		}
		return runCheck(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{formatText, formatJSON, formatSARIF, formatJUnit}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions(levelNames(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func levelNames() []string {
	var names []string
	for _, l := range imx.Levels() {
		names = append(names, string(l))
	}
	return append(names, never)
}

// leastLevel returns the level that a flag names, "" for never.
func leastLevel(name string) imx.Level {
	if name == never {
		return ""
	}
	return imx.Level(name)
}

// settle checks the options' words and joins --json with --format.
func (o *checkOptions) settle(g *Global) error {
	if g.JSON && o.Format == formatText {
		o.Format = formatJSON
	}
	if err := oneOf("format", o.Format, []string{formatText, formatJSON, formatSARIF, formatJUnit}); err != nil {
		return err
	}
	if o.Watch && o.Format != formatText && o.Format != formatJSON {
		return imx.Errorf(imx.Invalid, "--watch shows text or JSON, not %s", o.Format).WithHint("check once for a report in %s", o.Format)
	}
	return oneOf("fail-on", o.FailOn, levelNames())
}

func oneOf(flag, word string, words []string) error {
	if slices.Contains(words, word) {
		return nil
	}
	return imx.Errorf(imx.Invalid, "--%s can't be %q", flag, word).WithHint("write one of %s", strings.Join(words, ", "))
}

// checkGC is by how many per cent memory may grow before garbage is collected. Rego makes much of it: of a program that ends soon
// that took a quarter of the time, for some 50 MiB.
const checkGC = 400

func runCheck(ctx context.Context, opts checkOptions, g *Global, t *term.Terminal) error {
	if err := opts.settle(g); err != nil {
		return err
	}
	e := newExaminer(opts, g)
	defer e.forget()
	if opts.Watch {
		return watch(ctx, e, t)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(checkGC))
	r, err := e.all(ctx, time.Now())
	if err != nil {
		return err
	}
	if opts.Format == formatText || g.JSON {
		return tell(r, opts, t.Out)
	}
	if err := write(t.Out, r, opts.Format); err != nil {
		return err
	}
	return judge(r, opts)
}

// tell shows a report to a person, or as imx's own JSON: mistakes are then the error, as of any command.
func tell(r report.Report, opts checkOptions, out term.Stream) error {
	mistakes := mistakesOf(r)
	var err error
	switch {
	case opts.Format == formatText:
		err = showCheck(out, r, judged(r, opts))
	case mistakes == nil:
		err = report.JSON(out, r)
	}
	if err != nil {
		return err
	}
	return judge(r, opts)
}

func write(w io.Writer, r report.Report, format string) error {
	switch format {
	case formatSARIF:
		return report.SARIF(w, r)
	case formatJUnit:
		return report.JUnit(w, r)
	}
	return report.JSON(w, r)
}

// mistakesOf joins the mistakes of all folders in one error, nil where there are none.
func mistakesOf(r report.Report) error {
	var ds imx.Diagnostics
	for _, f := range r.Folders {
		ds = append(ds, f.Mistakes...)
	}
	return ds.Err()
}

// judged are the findings that make the check fail.
func judged(r report.Report, opts checkOptions) []imx.Finding {
	return check.AtLeast(leastLevel(opts.FailOn), r.Findings())
}

// judge returns what a check's exit status comes from. Errors: Invalid for a template's mistakes, Refused for
// findings of the level.
func judge(r report.Report, opts checkOptions) error {
	if err := mistakesOf(r); err != nil {
		return err
	}
	bad := judged(r, opts)
	if len(bad) == 0 {
		return nil
	}
	worse := ""
	if imx.Level(opts.FailOn) != imx.Critical {
		worse = " or worse"
	}
	return imx.Errorf(imx.Refused, "%s %s%s", term.Count(int64(len(bad)), "finding")+verb(len(bad)), opts.FailOn, worse).
		WithHint("imx rules %s says why that matters and what to write instead", bad[0].Rule)
}

func verb(n int) string {
	if n == 1 {
		return " is"
	}
	return " are"
}
