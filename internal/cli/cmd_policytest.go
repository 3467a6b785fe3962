package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"imx"
	"imx/internal/term"
)

// What the files of `imx policy test` are called, beside the rules.
const (
	inputSuffix = ".input.json" // what imx verify --record wrote
	wantSuffix  = ".want.json"  // the verdict that is expected, as an expectation
)

// expectation is what a verdict should be.
type expectation struct {
	Allowed bool     `json:"allowed"`
	Unmet   []string `json:"unmet"` // ids of the conditions that aren't met, sorted
}

type policyTestOptions struct {
	Dir    string
	Update bool
}

func newPolicyTestCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts policyTestOptions
	cmd := page{
		use:   "test DIR [--update]",
		short: "Try rules of your own against recorded evidence",
		long: `Judges each recording in DIR, NAME.input.json, by imx's rules and the *.rego files in DIR, with the settings that were
recorded, and compares the verdict with NAME.want.json: {"allowed": false, "unmet": ["reviews"]}. "imx verify --record" makes
recordings. No server is needed.`,
		example: `
$ imx verify web --for release --record policy/web.input.json
$ imx policy test policy --update
$ imx policy test policy`,
		exits: []status{
			{0, "each verdict is the one that was expected"},
			{2, "the rules have mistakes, there is no recording, or this is a client-only build"},
			{3, "there is no such folder"},
			{exitDenied, "a verdict isn't the one that was expected"},
		},
		least:    1,
		most:     1,
		complete: completeDirs,
	}.command(func(ctx context.Context, args []string) error {
		opts.Dir = args[0]
		return runPolicyTest(ctx, opts, g, t)
	})
	cmd.Flags().BoolVar(&opts.Update, "update", false, "write the verdicts of now as those that are expected")
	return cmd
}

// policyTrial is what came of one recording.
type policyTrial struct {
	Name   string       `json:"name"`
	Passed bool         `json:"passed"`
	Want   *expectation `json:"want,omitempty"` // nil where none is written down
	Got    expectation  `json:"got"`
	Says   []string     `json:"says"` // what the unmet conditions say
}

func runPolicyTest(ctx context.Context, opts policyTestOptions, g *Global, t *term.Terminal) error {
	texts, err := policyRules(opts.Dir)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(opts.Dir, "*"+inputSuffix))
	if err != nil || len(files) == 0 {
		return imx.Errorf(imx.Invalid, "there is no recording *%s in %s", inputSuffix, opts.Dir).
			WithHint("imx verify SERVICE --record %s", filepath.Join(opts.Dir, "NAME"+inputSuffix))
	}
	trials := []policyTrial{}
	failed := false
	for _, file := range files {
		one, err := tryPolicy(ctx, file, texts, opts.Update)
		if err != nil {
			return err
		}
		failed = failed || !one.Passed
		trials = append(trials, one)
	}
	if g.JSON {
		err = printJSON(t.Out, trials)
	} else {
		err = showPolicyTrials(t.Out, trials)
	}
	if err == nil && failed {
		return exit{code: exitDenied}
	}
	return err
}

// tryPolicy judges a recording and compares.
func tryPolicy(ctx context.Context, file string, rules map[string]string, update bool) (policyTrial, error) { //nolint:revive // flag-parameter: as the flag
	one := policyTrial{Name: strings.TrimSuffix(filepath.Base(file), inputSuffix), Says: []string{}}
	raw, err := os.ReadFile(file)
	if err != nil {
		return one, imx.Errorf(imx.Invalid, "the recording can't be read: %w", err)
	}
	var r recording
	if err := json.Unmarshal(raw, &r); err != nil {
		return one, imx.Errorf(imx.Invalid, "%s is no recording: %w", file, err).WithHint("imx verify --record writes them")
	}
	if r.Policy.Environment == "" || len(r.Input) == 0 {
		return one, imx.Errorf(imx.Invalid, "%s is no recording: it lacks the policy, or the input", file).
			WithHint(`imx verify --record writes them: {"policy": {...}, "input": {...}}`)
	}
	r.Policy.Rules = rules
	v, err := judgeRecording(ctx, r)
	if err != nil {
		return one, err
	}
	one.Got = expectation{Allowed: v.Allowed, Unmet: []string{}}
	for _, c := range v.Conditions {
		if !c.Met {
			one.Got.Unmet, one.Says = append(one.Got.Unmet, c.ID), append(one.Says, c.ID+": "+c.Says)
		}
	}
	wanted := strings.TrimSuffix(file, inputSuffix) + wantSuffix
	if update {
		if err := writeExpectation(wanted, one.Got); err != nil {
			return one, err
		}
	}
	if one.Want, err = readExpectation(wanted); err != nil {
		return one, err
	}
	one.Passed = one.Want != nil && one.Want.Allowed == one.Got.Allowed && slices.Equal(slices.Sorted(slices.Values(one.Want.Unmet)), one.Got.Unmet)
	return one, nil
}

func writeExpectation(file string, e expectation) error {
	raw, err := json.Marshal(e)
	if err == nil {
		err = os.WriteFile(file, append(raw, '\n'), 0o644) //nolint:gosec // it is for everybody who reads the rules beside it
	}
	if err != nil {
		return imx.Errorf(imx.Invalid, "the expectation can't be written: %w", err)
	}
	return nil
}

// readExpectation returns nil for a file that isn't there.
func readExpectation(file string) (*expectation, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // none is written down
	}
	var e expectation
	if err == nil {
		strict := json.NewDecoder(bytes.NewReader(raw))
		strict.DisallowUnknownFields()
		err = strict.Decode(&e)
	}
	if err != nil {
		return nil, imx.Errorf(imx.Invalid, "%s can't be read: %w", file, err).WithHint(`{"allowed": false, "unmet": ["reviews"]}`)
	}
	return &e, nil
}

func showPolicyTrials(out term.Stream, trials []policyTrial) error {
	for _, one := range trials {
		word, expected := out.Ink.Good("passed"), ""
		if !one.Passed {
			word, expected = out.Ink.Bad("FAILED"), "; nothing is expected: imx policy test --update writes it down"
			if one.Want != nil {
				expected = "; expected: " + one.Want.String()
			}
		}
		if _, err := fmt.Fprintf(out, "%s  %s  %s%s\n", word, out.Ink.Name(term.Clean(one.Name)), one.Got, expected); err != nil {
			return err
		}
		for _, says := range one.Says {
			if _, err := fmt.Fprintln(out, "        "+out.Ink.Dim(term.Clean(says))); err != nil {
				return err
			}
		}
	}
	return nil
}

// String says it in words.
func (e expectation) String() string {
	word := "it may not run"
	if e.Allowed {
		word = "it may run"
	}
	if len(e.Unmet) > 0 {
		word += ", unmet: " + strings.Join(e.Unmet, ", ")
	}
	return word
}
