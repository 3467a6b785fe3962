package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
	"imx/internal/vuln"
)

func newFeedCommand(g *Global, t *term.Terminal) *cobra.Command {
	cmd := page{
		use:   "feed",
		short: "Keep what is known of vulnerabilities: advisories, exploits, statements",
		long: `What "imx scan" finds, it knows from feeds: Debian's advisory lists (DSA-list, DLA-list) and the JSON of its
tracker, OSV records, the catalogue of known exploited vulnerabilities (KEV), and OpenVEX documents. They come
from files, which needs no network, or from a mirror that you name. One feed imx makes by itself: from the
changelogs of packages that are newer in the archive than in an image.`,
		example: `
$ imx feed add DSA-list
$ imx feed add https://mirror.example/kev.json
$ imx feed refresh
$ imx feed list`,
	}.command(nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(newFeedAddCommand(g, t), newFeedListCommand(g, t), newFeedRefreshCommand(g, t), newFeedRemoveCommand(g))
	return cmd
}

type feedAddOptions struct {
	Source string
	Name   string
	Format string
	Anyway bool
	Once   bool
}

func (o *feedAddOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Name, "name", "", "`NAME` of the feed; the file's without its ending, unless given")
	f.StringVar(&o.Format, "format", "", "`FORMAT`, where it can't be found out: dsa, tracker, osv, kev or openvex")
	f.BoolVar(&o.Anyway, "anyway", false, "take it though it is older or much smaller than the one that it replaces")
	f.BoolVar(&o.Once, "once", false, "of a URL: fetch it again only with imx feed refresh, not every hour")
}

func newFeedAddCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts feedAddOptions
	cmd := page{
		use:   "add FILE|DIR|URL [--name NAME]",
		short: "Add a feed, or replace it by a newer one",
		long: `Sends a feed to the server, which keeps it in place of the one by its name: whole, or not at all. Of DIR
every .json file is taken. It may be compressed with gzip, or a zip of JSON files. "-" reads standard input.
A URL is fetched by the server: now, every hour from then on, and with each "imx feed refresh".`,
		example: `
$ imx feed add DSA-list
$ imx feed add --name debian osv/`,
		exits: asking(
			status{2, "NAME or FORMAT can't be one, or the URL is of another kind than http and https"},
			status{3, "there is no such file or URL, or it is neither a regular file nor a folder"},
			status{4, "another feed has that name"},
			status{5, "it breaks its format's rules, ends in the middle, comes from the future, or is older or much smaller than the one it would replace"},
			status{7, "the server's disk is full"},
		),
		least: 1, most: 1,
		complete: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
	}.command(func(ctx context.Context, args []string) error {
		opts.Source = args[0]
		return runFeedAdd(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func runFeedAdd(ctx context.Context, opts feedAddOptions, g *Global, t *term.Terminal) error {
	if strings.HasPrefix(opts.Source, "http://") || strings.HasPrefix(opts.Source, "https://") {
		req := imx.RefreshRequest{URL: opts.Source, Name: opts.Name, Anyway: opts.Anyway, Once: opts.Once}
		return refreshFeeds(ctx, req, g, t)
	}
	if kind, _, ok := strings.Cut(opts.Source, "://"); ok {
		return imx.Errorf(imx.Invalid, "a feed can't be fetched by %q, only by http and https", kind)
	}
	name := opts.Name
	if name == "" {
		name = vuln.FeedName(opts.Source)
	}
	if err := vuln.CheckFeedName(name); err != nil {
		return err
	}
	r, date, err := openFeed(opts.Source, t.In)
	if err != nil {
		return imx.Errorf(imx.NotFound, "the feed can't be read: %w", err)
	}
	defer func() { _ = r.Close() }() // it was only read from
	f, err := g.client().AddFeed(ctx, imx.FeedRequest{
		Name: name, Format: imx.FeedFormat(opts.Format), Source: filepath.Base(opts.Source), Date: date, Anyway: opts.Anyway,
	}, r)
	if err != nil {
		return err
	}
	return showFeeds(g, t, []imx.Feed{f})
}

// openFeed opens a file, standard input for "-", or all JSON files of a folder one after the other; and returns how new
// the newest of them is.
func openFeed(name string, in io.Reader) (io.ReadCloser, time.Time, error) {
	if name == "-" {
		return io.NopCloser(in), time.Time{}, nil
	}
	st, err := os.Stat(name)
	if err != nil {
		return nil, time.Time{}, err
	}
	if !st.IsDir() {
		f, err := openRegular(name)
		if err != nil {
			return nil, time.Time{}, err // no *os.File that is nil
		}
		return f, st.ModTime(), nil
	}
	var files []string
	var newest time.Time
	err = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json") {
			return err
		}
		info, err := d.Info()
		if err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
		files = append(files, path)
		return err
	})
	if err == nil && len(files) == 0 {
		err = errors.New(name + " has no .json file in it")
	}
	slices.Sort(files)
	return &fileChain{left: files}, newest, err
}

// openRegular opens a file that has an end: a pipe without a writer would be waited for where no signal reaches.
func openRegular(name string) (*os.File, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	return os.Open(name)
}

// readRegular reads such a file.
func readRegular(name string) ([]byte, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read from
	return io.ReadAll(f)
}

// fileChain reads files one after the other, opening each when it comes to it.
type fileChain struct {
	left []string
	open *os.File
}

// Read implements io.Reader.
func (c *fileChain) Read(p []byte) (int, error) {
	for {
		if c.open == nil {
			if len(c.left) == 0 {
				return 0, io.EOF
			}
			f, err := openRegular(c.left[0])
			if err != nil {
				return 0, err
			}
			c.open, c.left = f, c.left[1:]
		}
		n, err := c.open.Read(p)
		if errors.Is(err, io.EOF) {
			err = c.Close()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Close closes the file that is open.
func (c *fileChain) Close() error {
	if c.open == nil {
		return nil
	}
	err := c.open.Close()
	c.open = nil
	return err
}

func newFeedListCommand(g *Global, t *term.Terminal) *cobra.Command {
	var moment string
	cmd := page{
		use:   "list [--at TIME]",
		short: "Show the feeds, and how old each is",
		long: `Shows each feed: its format, how many entries it has, of when it is and where it came from. One that is
older than a week is stale: it knows nothing of what came since. With --at it shows the feeds that stood at a past
moment, by the log.`,
		example: `
$ imx feed list
$ imx feed list --at "2026-05-01 09:30"
$ imx feed list --json | jq -r '.[] | select(.stale) | .name'`,
		exits: asking(status{2, "TIME isn't understood"}, status{3, "TIME is before the log's first event"}),
	}.command(func(ctx context.Context, _ []string) error { return listFeeds(ctx, moment, g, t) })
	cmd.Flags().StringVar(&moment, "at", "", "the feeds that stood at `TIME`: 2026-05-01T09:30:00Z, \"2026-05-01 09:30\" (UTC) or 90m ago")
	return cmd
}

func listFeeds(ctx context.Context, moment string, g *Global, t *term.Terminal) error {
	at, err := parseMoment(moment, time.Now())
	if err != nil {
		return err
	}
	feeds, err := g.client().Feeds(ctx, at)
	switch {
	case err != nil:
		return err
	case len(feeds) > 0 || g.JSON:
		return showFeeds(g, t, feeds)
	case !at.IsZero():
		_, err = fmt.Fprintln(t.Out, "there was no feed at "+term.Stamp(at))
	default:
		_, err = fmt.Fprintln(t.Out, "there is no feed yet: imx feed add FILE or URL")
	}
	return err
}

func newFeedRefreshCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "refresh [FEED]",
		short: "Fetch feeds anew, and read newer packages' changelogs",
		long: `Has the server fetch FEED, or all feeds that came from a URL, and read the changelogs of packages that are
newer in the host's archive than in an image. A feed that can't be had stays as it was.`,
		example: `
$ imx feed refresh
$ imx feed refresh changelogs`,
		exits: asking(
			status{3, "there is no such feed, or its URL has nothing"},
			status{4, "the feed came as a file"},
			status{5, "what came breaks its format's rules"},
		),
		most:     1,
		complete: completeFeeds(g),
	}.command(func(ctx context.Context, args []string) error {
		var req imx.RefreshRequest
		if len(args) > 0 {
			req.Name = args[0]
		}
		return refreshFeeds(ctx, req, g, t)
	})
}

func refreshFeeds(ctx context.Context, req imx.RefreshRequest, g *Global, t *term.Terminal) error {
	feeds, err := track(g, t, func(report imx.Report) ([]imx.Feed, error) { return g.client().RefreshFeeds(ctx, req, report) })
	if err != nil {
		return err
	}
	return showFeeds(g, t, feeds)
}

func newFeedRemoveCommand(g *Global) *cobra.Command {
	return page{
		use:      "remove FEED",
		short:    "Forget a feed",
		long:     `Forgets FEED. What it alone knew is found no more.`,
		example:  `$ imx feed remove kev`,
		exits:    asking(status{3, "there is no such feed"}),
		least:    1,
		most:     1,
		complete: completeFeeds(g),
	}.command(func(ctx context.Context, args []string) error {
		if err := vuln.CheckFeedName(args[0]); err != nil && args[0] != vuln.Changelogs {
			return imx.Errorf(imx.NotFound, "there is no feed %q", args[0]).WithHint("imx feed list shows those that there are")
		}
		return g.client().RemoveFeed(ctx, args[0])
	})
}

func completeFeeds(g *Global) cobra.CompletionFunc {
	return onlyFirst(func(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), patience)
		defer cancel()
		feeds, err := g.client().Feeds(ctx, time.Time{})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, f := range feeds {
			names = append(names, f.Name)
		}
		return unused(names, nil, start), cobra.ShellCompDirectiveNoFileComp
	})
}

// showFeeds prints feeds, a line each, and what was left out of them below.
func showFeeds(g *Global, t *term.Terminal, feeds []imx.Feed) error {
	if g.JSON {
		return printJSON(t.Out, feeds)
	}
	_, err := io.WriteString(t.Out, feedsText(t.Out.Ink, t.Out.Columns(), feeds, time.Now()))
	return err
}

func feedsText(ink term.Ink, columns int, feeds []imx.Feed, now time.Time) string {
	table := term.Table{
		Head:  []string{"FEED", "FORMAT", "ENTRIES", "OF", "AGE", "FROM"},
		Wraps: []string{"FROM"}, Drops: []string{"FORMAT"},
	}
	var notes strings.Builder
	for _, f := range feeds {
		age := term.Age(f.Date, now)
		if f.Stale {
			age = ink.Warn(age + ", stale")
		}
		table.Add(ink.Name(f.Name), string(f.Format), term.Number(f.Entries), f.Date.Format(time.DateOnly), age, term.Clean(f.Source))
		for i, skip := range f.Skips {
			if i == 3 {
				fmt.Fprintf(&notes, "%s: %s more were left out\n", f.Name, term.Number(f.Skipped-3))
				break
			}
			fmt.Fprintf(&notes, "%s: left out %s\n", f.Name, term.Clean(skip))
		}
	}
	return table.Text(ink, columns) + ink.Dim(notes.String())
}
