package cli

import (
	"context"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"imx"
	"imx/internal/lsp"
	"imx/internal/term"
)

// maxKept is how many sets of own rules stay compiled: who writes rules makes a new one with each change.
const maxKept = 8

// pause is how long nobody may type before an open template is checked.
const pause = 150 * time.Millisecond

func newLSPCommand(g *Global, t *term.Terminal) *cobra.Command {
	var stdio bool
	cmd := page{
		use:   "lsp",
		short: "Show an editor what is wrong as it is typed",
		long: `Speaks the language server protocol on stdin and stdout with the editor that starts it: what "imx
check" finds in an open template, saved or not, what may stand at a place, what a word means, where it is
declared and used. It asks no server and no archive, writes no file, and ends with its editor.
docs/editors.md has the lines that set up VS Code, Neovim, Helix and Emacs.`,
		example: `
$ imx lsp`,
		exits: []status{
			{0, "the editor asked for the end"},
			{2, "what came isn't the language server protocol"},
			{4, "the editor said exit before it asked for the end"},
			{6, "the editor went away without a word"},
			{7, "a message is too large"},
		},
	}.command(func(ctx context.Context, _ []string) error { return runLSP(ctx, g, t) })
	cmd.Flags().BoolVar(&stdio, "stdio", true, "speak on stdin and stdout, as it always does: some editors ask for it")
	return cmd
}

func runLSP(ctx context.Context, g *Global, t *term.Terminal) error {
	e := newExaminer(checkOptions{Format: formatJSON}, g)
	defer e.forget()
	server := lsp.NewServer(lsp.Config{Check: e.open, Version: g.Version.Version, Quiet: pause})
	in, ok := t.In.(io.ReadCloser)
	if !ok {
		in = io.NopCloser(t.In)
	}
	return server.Run(ctx, in, t.Out.Writer)
}

// open checks a folder as an editor has it.
func (e *examiner) open(ctx context.Context, dir string, over func(fs.FS) fs.FS) (lsp.Verdict, error) {
	files, err := openRecorder(dir)
	if err != nil {
		return lsp.Verdict{}, folderError(dir, err)
	}
	defer files.close()
	files.fsys = over(files.fsys)
	if len(e.own) > maxKept {
		e.forget()
	}
	var own []ownRules
	switch rules, err := readRules(filepath.Join(dir, rulesFolder)); {
	case err == nil && len(rules.modules) > 0:
		own = append(own, rules)
	case err != nil && imx.KindOf(err) != imx.NotFound:
		return lsp.Verdict{}, err
	}
	v, said, err := e.verdict(ctx, files, listBeside(listing{files}, ignoredIn(ctx, []string{dir}).below(dir)), own, time.Now())
	if err != nil {
		return lsp.Verdict{}, err
	}
	rules, err := e.rules(own)
	return lsp.Verdict{Said: append(said, v.Notices...), Findings: v.Findings, Rules: rules}, err
}
