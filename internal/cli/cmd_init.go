package cli

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"imx"
	"imx/internal/term"
)

// The example's files. Tests build and run them, so that they stay true.
var (
	//go:embed starter/hello.imx.hcl
	starterTemplate []byte
	//go:embed starter/nginx.conf
	starterNginx []byte
	//go:embed starter/index.html
	starterPage []byte
)

// templateSuffix is what every template file's name ends with.
const templateSuffix = ".imx.hcl"

type initOptions struct {
	Dir string
}

func newInitCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "init [DIR]",
		short: "Write a small commented example template",
		long: `Writes a template of one web service, with its two files, into DIR (here, unless named),
making the folder if need be. It passes "imx check" as it is; nothing is ever overwritten.`,
		example: `
$ imx init hello
wrote hello/hello.imx.hcl
wrote hello/index.html
wrote hello/nginx.conf

next: imx apply hello`,
		exits:    []status{{2, "DIR is no folder"}, {4, "DIR has a template, or a file of that name, already"}},
		most:     1,
		complete: completeDirs,
	}.command(func(ctx context.Context, args []string) error {
		return runInit(ctx, initOptions{Dir: dirOf(args)}, g, t)
	})
}

// written is what init answers with --json.
type written struct {
	Files []string `json:"files"`
}

func runInit(_ context.Context, opts initOptions, g *Global, t *term.Terminal) error {
	if err := os.MkdirAll(opts.Dir, 0o755); err != nil { //nolint:gosec // G301: a repository's folder, not a secret
		return imx.Errorf(imx.Invalid, "no folder %s can be made: %w", opts.Dir, err)
	}
	if err := refuseTemplates(opts.Dir); err != nil {
		return err
	}
	files := []struct {
		name    string
		content []byte
	}{{"hello" + templateSuffix, starterTemplate}, {"index.html", starterPage}, {"nginx.conf", starterNginx}}
	for _, f := range files {
		if _, err := os.Lstat(filepath.Join(opts.Dir, f.name)); err == nil {
			return occupied(opts.Dir, f.name)
		}
	}
	var done written
	for _, f := range files {
		name := filepath.Join(opts.Dir, f.name)
		if err := writeNew(name, f.content); err != nil {
			return imx.Errorf(imx.Conflict, "%s can't be written: %w", name, err)
		}
		done.Files = append(done.Files, name)
	}
	if g.JSON {
		return printJSON(t.Out, done)
	}
	return showWritten(t.Out, done.Files, opts.Dir)
}

func showWritten(out term.Stream, files []string, dir string) error {
	var b strings.Builder
	for _, name := range files {
		b.WriteString("wrote " + out.Ink.Name(name) + "\n")
	}
	_, err := fmt.Fprintf(out, "%s\nnext: %s\n", b.String(), out.Ink.Bold(strings.TrimSpace("imx apply "+argOf(dir))))
	return err
}

// refuseTemplates is an error where a folder has a template already.
func refuseTemplates(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return folderError(dir, err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), templateSuffix) {
			return occupied(dir, e.Name())
		}
	}
	return nil
}

func occupied(dir, name string) error {
	return imx.Errorf(imx.Conflict, "%s is there already, and init overwrites nothing", filepath.Join(dir, name)).
		WithHint("name another folder: imx init %s", filepath.Join(dir, "hello"))
}

// writeNew writes a file that must not exist.
func writeNew(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, lockMode)
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			return errors.New("it is there already")
		}
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// dirOf returns the folder that a command's optional argument names, "." without one.
func dirOf(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}

// argOf is the reverse of dirOf: what to type to name the folder.
func argOf(dir string) string {
	if filepath.Clean(dir) == "." {
		return ""
	}
	return dir
}
