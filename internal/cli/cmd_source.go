package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

func newSourceCommand(g *Global, t *term.Terminal) *cobra.Command {
	cmd := page{
		use:   "source",
		short: "Follow Git repositories",
		long: `The server follows branches of Git repositories. Of each new commit it plans, builds and tests the template and makes a
candidate, which imx review shows.`,
		example: `
$ imx source add shop /srv/git/shop.git --folder deploy
$ imx source list`,
		exits: asking(status{2, "there is no such command"}),
	}.command(nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(newSourceAddCommand(g, t), newSourceListCommand(g, t), newSourceRefreshCommand(g, t), newSourceStatusCommand(g, t), newSourceRemoveCommand(g, t))
	return cmd
}

type sourceOptions struct {
	Name, URL, Branch, Folder string
	Every                     imx.Duration
	Release, Notes            bool
	SecretFile                string
}

func (o *sourceOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Branch, "branch", "main", "follow this `BRANCH`")
	f.StringVar(&o.Folder, "folder", "", "the template is in `DIR` of the repository")
	lengthVar(f, &o.Every, "every", imx.Duration(time.Minute), "look at it so often: `TIME`, from 1s to 24h")
	f.BoolVar(&o.Release, "release", false, "release a candidate by itself as soon as the policy admits it")
	f.BoolVar(&o.Notes, "notes", false, "write what became of a commit back as a Git note on it (refs/notes/imx)")
	f.StringVar(&o.SecretFile, "hook-secret-file", "", "calls of its webhook are signed with what is in `FILE`")
}

func newSourceAddCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts sourceOptions
	cmd := page{
		use:   "add NAME URL [--branch BRANCH] [--folder DIR] [--every TIME] [--release] [--notes] [--hook-secret-file FILE]",
		short: "Follow a repository, or change how",
		long: `Follows a branch of the repository at URL: a path, file://, ssh://, https://, or USER@HOST:PATH. The server's own Git
fetches it, with the ssh keys and credential helpers of the user that runs the server. The template needs its imx.lock
committed beside it. With a secret, POST /hooks/NAME on the server's TCP address has it looked at right away.`,
		example: `
$ imx source add shop /srv/git/shop.git --folder deploy
$ imx source add shop https://git.example.org/shop.git --release --hook-secret-file secret`,
		exits: asking(status{2, "NAME, URL, BRANCH, DIR or TIME can't be one, or the secret is too short"}, status{3, "there is no such FILE"}),
		least: 2,
		most:  2,
	}.command(func(ctx context.Context, args []string) error {
		opts.Name, opts.URL = args[0], args[1]
		return runSourceAdd(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

// maxSecret is the most that a file with a secret may have, in bytes.
const maxSecret = 8 << 10

func runSourceAdd(ctx context.Context, opts sourceOptions, g *Global, t *term.Terminal) error {
	req := imx.SourceRequest{Source: imx.GitSource{
		Name: opts.Name, URL: opts.URL, Branch: opts.Branch, Folder: opts.Folder, Every: opts.Every, Release: opts.Release, Notes: opts.Notes,
	}}
	if opts.SecretFile != "" {
		secret, err := readSecretFile(opts.SecretFile)
		if err != nil {
			return err
		}
		req.Secret = secret
	}
	v, err := g.client().AddSource(ctx, req)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, v)
	}
	_, err = fmt.Fprintf(t.Out, "follows branch %s of %s as %s\n", term.Clean(v.Branch), term.Clean(v.URL), t.Out.Ink.Name(v.Name))
	return err
}

func readSecretFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", imx.Errorf(imx.NotFound, "the secret can't be read: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read from
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil || len(b) > maxSecret {
		return "", imx.Errorf(imx.Invalid, "the file %s can't be a secret's: it is too large, or can't be read", name)
	}
	return strings.TrimSpace(string(b)), nil
}

func newSourceListCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:     "list",
		short:   "Show which repositories are followed, and how they stand",
		long:    `Lists the repositories that are followed. Of each it shows the newest commit that was seen, and what became of it.`,
		example: `$ imx source list`,
		exits:   asking(),
	}.command(func(ctx context.Context, _ []string) error {
		list, err := g.client().Sources(ctx)
		if err != nil {
			return err
		}
		if g.JSON {
			return printJSON(t.Out, list)
		}
		return showSources(t.Out, list, time.Now())
	})
}

func showSources(out term.Stream, list []imx.SourceView, now time.Time) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "no repository is followed: imx source add NAME URL")
		return err
	}
	table := term.Table{Head: []string{"SOURCE", "REPOSITORY", "BRANCH", "COMMIT", "SEEN", "STATE"}}
	for _, v := range list {
		seen := ""
		if !v.At.IsZero() {
			seen = term.Age(v.At, now)
		}
		table.Add(out.Ink.Name(v.Name), term.Clean(v.URL), term.Clean(v.Branch), v.Seen[:min(12, len(v.Seen))], seen, statusWord(out.Ink, v.Status.State))
	}
	var b strings.Builder
	b.WriteString(table.Text(out.Ink, out.Columns()))
	for _, v := range list {
		for _, line := range []string{v.Status.Description, v.Notice} {
			if line != "" {
				b.WriteString(out.Ink.Name(v.Name) + ": " + term.Clean(line) + "\n")
			}
		}
		if v.Refused > 0 {
			fmt.Fprintf(&b, "%s: %s of its webhook had a wrong signature\n", out.Ink.Name(v.Name), term.Count(v.Refused, "call"))
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func statusWord(ink term.Ink, state string) string {
	switch state {
	case "success":
		return ink.Good(state)
	case "pending":
		return ink.Warn(state)
	}
	return ink.Bad(state)
}

func newSourceRefreshCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "refresh NAME",
		short: "Look at a repository now",
		long: `Fetches the repository now and waits until its newest commit is planned, built and tested. A commit that failed before, or
whose candidate can't be released any more, is tried again.`,
		example: `$ imx source refresh shop`,
		exits:   asking(status{3, "there is no such source"}, status{5, "the commit, or the repository, can't be used: the error says why"}, status{exitInterrupted, "interrupted"}),
		least:   1,
		most:    1,
	}.command(func(ctx context.Context, args []string) error {
		v, err := track(g, t, func(report imx.Report) (imx.SourceView, error) { return g.client().RefreshSource(ctx, args[0], report) })
		if err != nil {
			return err
		}
		if g.JSON {
			err = printJSON(t.Out, v)
		} else {
			err = showSources(t.Out, []imx.SourceView{v}, time.Now())
		}
		if fault := v.Unread + v.Fault; err == nil && fault != "" {
			err = imx.Errorf(imx.Refused, "source %s: %s", v.Name, fault)
		}
		return err
	})
}

func newSourceStatusCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "status NAME [COMMIT]",
		short: "Say what became of a repository's newest commit, or of an earlier one",
		long: `Prints what became of the newest commit that was seen, or of COMMIT, by the beginning of its name, if it is known still. With --json it is the commit status that GitHub, Gitea and Forgejo take:
POST it to /repos/OWNER/REPO/statuses/SHA.`,
		example: `
$ imx source status shop
$ imx source status shop --json > status.json`,
		exits: asking(status{3, "there is no such source, or of COMMIT nothing is known"}),
		least: 1,
		most:  2,
	}.command(func(ctx context.Context, args []string) error {
		v, err := g.client().Source(ctx, args[0])
		if err != nil {
			return err
		}
		is, err := statusOf(v, args[1:]...)
		if err != nil {
			return err
		}
		if g.JSON {
			return printJSON(t.Out, is)
		}
		_, err = fmt.Fprintf(t.Out, "%s %.12s %s\n", statusWord(t.Out.Ink, is.State), is.Commit, term.Clean(is.Description))
		return err
	})
}

// statusOf is the status of a source's newest commit, or of the one that is wanted.
func statusOf(v imx.SourceView, wanted ...string) (imx.CommitStatus, error) {
	if len(wanted) == 0 {
		return v.Status, nil
	}
	for _, is := range append([]imx.CommitStatus{v.Status}, v.Earlier...) {
		if is.Commit != "" && strings.HasPrefix(is.Commit, wanted[0]) {
			return is, nil
		}
	}
	return imx.CommitStatus{}, imx.Errorf(imx.NotFound, "of the commit %q of %s nothing is known", wanted[0], v.Name).WithHint("imx review lists the candidates that there were")
}

func newSourceRemoveCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:     "remove NAME",
		short:   "Stop following a repository",
		long:    `Stops following the repository and removes its copy and its webhook's secret. Its candidates and releases stay.`,
		example: `$ imx source remove shop`,
		exits:   asking(status{3, "there is no such source"}),
		least:   1,
		most:    1,
	}.command(func(ctx context.Context, args []string) error {
		if err := g.client().RemoveSource(ctx, args[0]); err != nil {
			return err
		}
		if g.JSON {
			return printJSON(t.Out, struct {
				Removed string `json:"removed"`
			}{args[0]})
		}
		_, err := fmt.Fprintf(t.Out, "source %s isn't followed any more\n", t.Out.Ink.Name(args[0]))
		return err
	})
}
