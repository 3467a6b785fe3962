package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/report"
	"imx/internal/term"
)

type testOptions struct {
	Dir    string
	Only   []string
	Format string
	Again  bool
}

func (o *testOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Format, "format", formatText, "`FORMAT` of the result: text, json or junit")
	f.BoolVar(&o.Again, "again", false, "test what passed already, too")
}

func newTestCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts testOptions
	cmd := page{
		use:   "test [DIR] [NAME]... [--again] [--format FORMAT]",
		short: "Build a template's images and test them",
		long: `Plans the template of DIR (here, unless named), builds its images, starts instances of them on a
network of their own, asks them what the test blocks say, and ends them. In an instance of each
service a probe tries what none may be able to do ("refusals"): write to its root, run a program that
isn't in its image, reach an address that it doesn't connect to, gain privileges. Nothing is released,
and what runs isn't touched. Each NAME is a test, a service or "refusals"; the others are left out.

What passed isn't tested again while the image, the services and the test stay as they are. The
results are evidence about the image, and the log has a line of it. docs/testing.md tells more.`,
		example: `
$ imx test examples/shop
$ imx test examples/shop answers --again
$ imx test --format junit examples/shop > tests.xml`,
		exits: asking(
			status{0, "every test passed"},
			status{2, "the template has mistakes"},
			status{3, "there is no such folder, test or service"},
			status{5, "a test failed, or a package can't be trusted"},
			status{7, "the server's disk is full"},
			status{exitInterrupted, "interrupted; nothing of the tests is left"},
		),
		most:     -1,
		complete: completeDirs,
	}.command(func(ctx context.Context, args []string) error {
		opts.Dir = "."
		if len(args) > 0 {
			opts.Dir, opts.Only = args[0], args[1:]
		}
		return runTest(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{formatText, formatJSON, formatJUnit}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func runTest(ctx context.Context, opts testOptions, g *Global, t *term.Terminal) error {
	if g.JSON && opts.Format == formatText {
		opts.Format = formatJSON
	}
	if err := oneOf("format", opts.Format, []string{formatText, formatJSON, formatJUnit}); err != nil {
		return err
	}
	f, err := readFolder(ctx, opts.Dir)
	if err != nil {
		return err
	}
	req := imx.TestRequest{PlanRequest: f.request(), Only: opts.Only, Again: opts.Again}
	found, err := track(g, t, func(report imx.Report) (imx.TestReport, error) {
		return g.client().Test(ctx, req, report)
	})
	if err != nil {
		return atFolder(err, f.path)
	}
	if err := keepLock(f, found.Plan.Lock, g, t); err != nil {
		return err
	}
	for i := range found.Results {
		found.Results[i] = resultInFolder(found.Results[i], f.path)
	}
	switch opts.Format {
	case formatJSON:
		err = printJSON(t.Out, found)
	case formatJUnit:
		err = report.TestsJUnit(t.Out, found.Results)
	default:
		err = showTests(t.Out, found.Results, sourceLines{})
	}
	return errors.Join(err, failedTests(found.Results))
}

// failedTests is an error if a test failed. What failed is told already.
func failedTests(results []imx.TestResult) error {
	failed := 0
	for _, r := range results {
		if !r.Passed {
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	return imx.Errorf(imx.Refused, "%s failed", term.Count(int64(failed), "test"))
}
