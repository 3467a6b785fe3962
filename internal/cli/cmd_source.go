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
	Unhook                    bool
	flags                     *pflag.FlagSet
}

func (o *sourceOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Branch, "branch", "main", "follow this `BRANCH`")
	f.StringVar(&o.Folder, "folder", "", "the template is in `DIR` of the repository")
	lengthVar(f, &o.Every, "every", imx.Duration(time.Minute), "look at it so often: `TIME`, from 1s to 24h")
	f.BoolVar(&o.Release, "release", false, "release a candidate by itself as soon as the policy admits it")
	f.BoolVar(&o.Notes, "notes", false, "write what became of a commit back as a Git note on it (refs/notes/imx)")
	f.StringVar(&o.SecretFile, "hook-secret-file", "", "calls of its webhook are signed with what is in `FILE`")
	f.BoolVar(&o.Unhook, "no-hook", false, "take its webhook's secret away: no call wakes the server any more")
	o.flags = f
}

// apply changes what flags were given of.
func (o *sourceOptions) apply(s *imx.GitSource) {
	for name, set := range map[string]func(){
		"branch": func() { s.Branch = o.Branch }, "folder": func() { s.Folder = o.Folder },
		"every":   func() { s.Every = o.Every },
		"release": func() { s.Release = o.Release }, "notes": func() { s.Notes = o.Notes },
	} {
		if o.flags.Changed(name) {
			set()
		}
	}
}

func newSourceAddCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts sourceOptions
	cmd := page{
		use:   "add NAME URL [--branch BRANCH] [--folder DIR] [--every TIME] [--release] [--notes] [--hook-secret-file FILE | --no-hook]",
		short: "Follow a repository, or change how",
		long: `Follows a branch of the repository at URL: a path, file://, ssh://, https://, or USER@HOST:PATH. The server's own Git
fetches it, with the ssh keys and credential helpers of the user that runs the server. The template needs its imx.lock
committed beside it. With a secret, POST /hooks/NAME on the server's TCP address has it looked at right away.

Of a source that is followed already only what is given changes: --release=false, --notes=false and --no-hook end what was
asked for before.`,
		example: `
$ imx source add shop /srv/git/shop.git --folder deploy
$ imx source add shop https://git.example.org/shop.git --release --hook-secret-file secret
$ imx source add shop https://git.example.org/shop.git --release=false`,
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
	now, err := g.client().Source(ctx, opts.Name)
	if err != nil && imx.KindOf(err) != imx.NotFound {
		return err
	}
	req := imx.SourceRequest{Source: now.GitSource, Unhook: imx.Unhook(opts.Unhook)}
	req.Source.Name, req.Source.URL = opts.Name, opts.URL
	opts.apply(&req.Source)
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
	_, err = fmt.Fprintf(t.Out, "follows branch %s of %s as %s: %s\n", term.Clean(v.Branch), term.Clean(v.URL), t.Out.Ink.Name(v.Name), howFollowed(v.GitSource))
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
	table := term.Table{
		Head:  []string{"SOURCE", "REPOSITORY", "BRANCH", "HOW", "COMMIT", "SEEN", "STATE"},
		Wraps: []string{"REPOSITORY", "HOW"}, Drops: []string{"SEEN"},
	}
	for _, v := range list {
		seen := ""
		if !v.At.IsZero() {
			seen = term.Age(v.At, now)
		}
		table.Add(out.Ink.Name(v.Name), term.Clean(v.URL), term.Clean(v.Branch), howFollowed(v.GitSource), v.Seen[:min(12, len(v.Seen))], seen, statusWord(out.Ink, v.Status.State))
	}
	var b strings.Builder
	for _, v := range list {
		for _, line := range []string{v.Status.Description, v.Notice} {
			if line != "" {
				b.WriteString(out.Ink.Name(v.Name) + ": " + term.Clean(line) + "\n")
			}
		}
		if v.Refused > 0 {
			fmt.Fprintf(&b, "%s: %s of its webhook had a wrong signature since the server's start\n", out.Ink.Name(v.Name), term.Count(v.Refused, "call"))
		}
	}
	_, err := io.WriteString(out, table.Text(out.Ink, out.Columns())+term.Wrap(b.String(), out.Columns()))
	return err
}

// howFollowed says what is done with a source, and how often: "folder deploy, every 1m, released by itself, notes, webhook".
func howFollowed(src imx.GitSource) string {
	var words []string
	if src.Folder != "" {
		words = append(words, "folder "+term.Clean(src.Folder))
	}
	words = append(words, "every "+shortDuration(src.Every))
	if src.Release {
		words = append(words, "released by itself")
	}
	if src.Notes {
		words = append(words, "notes")
	}
	if src.Hook != "" {
		words = append(words, "webhook")
	}
	return strings.Join(words, ", ")
}

// shortDuration is a duration without the units that it has none of: "24h", "1m30s".
func shortDuration(d imx.Duration) string {
	text := d.String()
	for _, none := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, none) {
			text = text[:len(text)-2]
		}
	}
	return text
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
		exits:   asking(status{3, "there is no such source"}, status{5, "the commit can't be used: the error says why"}, status{6, "the repository can't be read: the error says why"}, status{exitInterrupted, "interrupted"}),
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
		if err == nil {
			err = faultOf(v)
		}
		return err
	})
}

// faultOf is an error where a source's newest commit can't be had, or used.
func faultOf(v imx.SourceView) error {
	switch {
	case v.Unread != "":
		return imx.Errorf(imx.Unavailable, "source %s: %s", v.Name, v.Unread)
	case v.Fault != "":
		return imx.Errorf(imx.Refused, "source %s: %s", v.Name, v.Fault)
	}
	return nil
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
