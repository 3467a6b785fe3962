package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/report"
	"imx/internal/term"
	"imx/internal/vuln"
)

type scanOptions struct {
	Subject string
	All     bool
	ID      string
	At      string
	FailOn  []string
	VEX     []string
	Format  string
	Keep    bool
}

func (o *scanOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVarP(&o.All, "all", "a", false, "all images that the server has, not only those that run")
	f.Var((*identifier)(&o.ID), "cve", "only the vulnerability `ID`, in all images: which of them, of their releases and instances have it")
	f.StringVar(&o.At, "at", "", "what was there at `TIME`, by what is known today: 2026-05-01T09:30:00Z, \"2026-05-01 09:30\" (UTC) or 90m ago")
	f.StringSliceVar(&o.FailOn, "fail-on", nil, "exit with 11 if there is one `WHICH` is critical, high, medium, low (or worse), fixable or exploited; with 12 if that can't be said")
	f.StringArrayVar(&o.VEX, "vex", nil, "count the statements of the OpenVEX document `FILE` for this scan")
	f.StringVar(&o.Format, "format", "", "`FORMAT` of the answer: text, json or sarif (default text)")
	f.BoolVar(&o.Keep, "keep", false, "keep the result as evidence about each image: an in-toto statement, with the feeds and their ages")
}

func newScanCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts scanOptions
	cmd := page{
		use:   "scan [IMAGE|INSTANCE] [--all] [--cve ID] [--at TIME] [--fail-on WHICH]",
		short: "Show which vulnerabilities images have",
		long: `Matches the packages of an image, or of all images that run, with the feeds that the server keeps (imx feed).
It tells the version that fixes each vulnerability, whether it is known to be exploited, whether a process of
a running instance has files of the package mapped, and the command that patches it. A severity that no feed
knows counts as high. What a VEX statement excuses is shown, with the reason, and doesn't count. What couldn't be
looked at is told as a gap: an image whose bytes are gone, packages of an unknown release, feeds that are missing.` + imageSays + `
INSTANCE is the id of one: only its processes are looked at.`,
		example: `
$ imx scan web
$ imx scan --cve CVE-2024-3094 --at "2026-05-01 09:30"
$ imx scan --fail-on exploited --fail-on high --format json > scan.json`,
		exits: asking(
			status{0, "the scan was made; with --fail-on: there is no such vulnerability"},
			status{2, "several images begin with the digest, ID, TIME or WHICH can't be one, or FILE is no OpenVEX document"},
			status{3, "there is no such image, or its bytes are gone, or TIME is before the log's first event"},
			status{5, "the image was changed, or a feed that the server keeps is damaged"},
			status{exitFound, "with --fail-on: there is such a vulnerability"},
			status{exitGaps, "with --fail-on: none was found, but not all could be looked at"},
		),
		most:     1,
		complete: onlyFirst(completeImages(g)),
	}.command(func(ctx context.Context, args []string) error {
		if len(args) > 0 {
			opts.Subject = args[0]
		}
		return runScan(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func runScan(ctx context.Context, opts scanOptions, g *Global, t *term.Terminal) error {
	now := time.Now()
	req, err := opts.request(now)
	if err != nil {
		return err
	}
	result, err := track(g, t, func(report imx.Report) (imx.ScanResult, error) { return g.client().Scan(ctx, req, report) })
	if err != nil {
		return err
	}
	switch {
	case g.JSON || opts.Format == "json":
		err = printJSON(t.Out, result)
	case opts.Format == "sarif":
		err = report.SARIF(t.Out, scanReport(result, g.Version.Version))
	default:
		err = showScan(t.Out, result, req, now)
	}
	if err != nil || len(opts.FailOn) == 0 {
		return err
	}
	return gate(result, opts.FailOn)
}

// gate is what --fail-on makes of a result.
func gate(result imx.ScanResult, on []string) error {
	if fails(result, on) {
		return exit{code: exitFound}
	}
	gaps := slices.Clone(result.Gaps)
	for _, one := range result.Images {
		gaps = append(gaps, one.Gaps...)
	}
	if len(gaps) == 0 {
		return nil
	}
	more := ""
	if len(gaps) > 1 {
		more = fmt.Sprintf(", and %d more", len(gaps)-1)
	}
	return exit{code: exitGaps, err: imx.Errorf(imx.Unavailable, "nothing to fail on was found, but not all could be looked at: %s%s", gaps[0], more)}
}

// identifier is the name of a vulnerability, as a flag: an empty one, as of a variable that isn't set, is none.
type identifier string

// Set implements pflag.Value.
func (i *identifier) Set(text string) error {
	id, err := vuln.ParseID(text)
	*i = identifier(id)
	return err
}

// String implements pflag.Value.
func (i *identifier) String() string { return string(*i) }

// Type implements pflag.Value.
func (*identifier) Type() string { return "string" }

// request reads the flags.
func (o *scanOptions) request(now time.Time) (imx.ScanRequest, error) {
	req := imx.ScanRequest{Subject: o.Subject, All: o.All, ID: o.ID, Keep: o.Keep}
	if o.Subject != "" && o.All {
		return req, imx.Errorf(imx.Invalid, "--all and %q can't both be meant", o.Subject).WithHint("leave one of them out")
	}
	if !slices.Contains([]string{"", "text", "json", "sarif"}, o.Format) {
		return req, imx.Errorf(imx.Invalid, "%q is not a format", o.Format).WithHint("formats: text, json, sarif")
	}
	for _, which := range o.FailOn {
		if !slices.Contains(failures(), which) {
			return req, imx.Errorf(imx.Invalid, "%q is nothing to fail on", which).WithHint("one of %s", strings.Join(failures(), ", "))
		}
	}
	for _, name := range o.VEX {
		raw, err := readRegular(name)
		if err != nil {
			return req, imx.Errorf(imx.NotFound, "the VEX document can't be read: %w", err)
		}
		if !json.Valid(raw) {
			return req, imx.Errorf(imx.Invalid, "%s is no JSON, so it is no OpenVEX document", name)
		}
		req.VEX = append(req.VEX, raw)
	}
	var err error
	req.At, err = parseMoment(o.At, now)
	return req, err
}

const (
	failFixable   = "fixable"
	failExploited = "exploited"
)

// failures are what a scan can fail on.
func failures() []string {
	all := []string{failFixable, failExploited}
	for _, l := range imx.Levels() {
		all = append(all, string(l))
	}
	return all
}

// fails reports whether the result has a vulnerability, not excused, that is one of those.
func fails(result imx.ScanResult, on []string) bool {
	for _, one := range result.Images {
		for _, v := range one.Vulnerabilities {
			if v.Excused == nil && slices.ContainsFunc(on, func(which string) bool { return is(v, which) }) {
				return true
			}
		}
	}
	return false
}

func is(v imx.Vulnerability, which string) bool {
	switch which {
	case failFixable:
		return v.Package.Fixed != ""
	case failExploited:
		return !v.Exploited.IsZero()
	}
	return vuln.Gravity(v.Level) >= vuln.Gravity(imx.Level(which))
}
