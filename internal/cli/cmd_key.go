package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/sign"
	"imx/internal/term"
)

func newKeyCommand(g *Global, t *term.Terminal) *cobra.Command {
	cmd := page{
		use:   "key",
		short: "See, renew and end the keys whose signatures count",
		long: `imx signs what it states of images with one key for each role: builder, scanner, tester and releaser. What a
key signs counts for its role's statements alone, and from when it was made until it ends. People have keys
of their own: "imx person". docs/signing.md tells more.`,
		example: `
$ imx key list
$ imx key show builder --pem > builder.pem
$ imx key rotate builder`,
	}.command(nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(newKeyListCommand(g, t), newKeyShowCommand(g, t), newKeyRotateCommand(g, t), newKeyEndCommand(g, t), newKeyExportCommand(g, t))
	return cmd
}

func newKeyListCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "list",
		short: "Show all keys, and since and until when they count",
		long:  `Lists imx's own keys first, by role, then people's, and then those of upstreams by their environment. Those that ended are listed too.`,
		example: `
$ imx key list
$ imx key list --json | jq -r '.[] | select(.compromised) | .id'`,
		exits: asking(),
	}.command(func(ctx context.Context, _ []string) error {
		keys, err := g.client().Keys(ctx)
		if err != nil {
			return err
		}
		if g.JSON {
			return printJSON(t.Out, keys)
		}
		_, err = io.WriteString(t.Out, keysText(t.Out, keys, time.Now()))
		return err
	})
}

func keysText(out term.Stream, keys []imx.Key, now time.Time) string {
	table := term.Table{
		Head:  []string{"KEY", "OWNER", "ROLE", "SINCE", "STATE"},
		Wraps: []string{"STATE"}, Drops: []string{"SINCE"},
	}
	for _, k := range keys {
		table.Add(out.Ink.Name(keyID(out, k.ID)), term.Clean(keyOwner(k)), string(k.Role), term.Age(k.From, now)+" ago", keyState(out.Ink, k, now))
	}
	return table.Text(out.Ink, out.Columns())
}

// keyOwner is whose a key is: imx's own, a person's, or an upstream's by its environment.
func keyOwner(k imx.Key) string {
	if k.Environment != "" {
		return string(k.Owner) + " in " + k.Environment
	}
	return string(k.Owner)
}

func keyState(ink term.Ink, k imx.Key, now time.Time) string {
	switch {
	case k.Compromised:
		return ink.Bad("compromised: " + term.Clean(k.Reason))
	case k.Until.IsZero():
		return ink.Good("counts")
	case k.Until.After(now):
		return ink.Warn("counts until " + term.Stamp(k.Until))
	}
	return "ended " + term.Age(k.Until, now) + " ago: " + term.Clean(k.Reason)
}

type keyShowOptions struct {
	Key string
	PEM bool
}

func newKeyShowCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts keyShowOptions
	cmd := page{
		use:   "show KEY [--pem]",
		short: "Show a public key, also in the form that cosign reads",
		long: `KEY is a key's ID, the beginning of one, or a role: then the key that signs for it now. Without --pem the
public key is printed as SSH has it.`,
		example: `
$ imx key show builder --pem > builder.pem
$ cosign verify-attestation --key builder.pem --type slsaprovenance1 --insecure-ignore-tlog 127.0.0.1:5050/web@sha256:...`,
		exits:    asking(status{2, "several keys begin with KEY"}, status{3, "there is no such key"}, status{5, "it is an OpenPGP key, which has no such form"}),
		least:    1,
		most:     1,
		complete: completeKeys(g),
	}.command(func(ctx context.Context, args []string) error {
		opts.Key = args[0]
		return runKeyShow(ctx, opts, g, t)
	})
	cmd.Flags().BoolVar(&opts.PEM, "pem", false, "print it in PEM form")
	return cmd
}

func runKeyShow(ctx context.Context, opts keyShowOptions, g *Global, t *term.Terminal) error {
	keys, err := g.client().Keys(ctx)
	if err != nil {
		return err
	}
	k, err := findKey(keys, opts.Key)
	if err != nil {
		return err
	}
	if opts.PEM {
		p, err := sign.ParsePublic(k.Public)
		if err != nil {
			return imx.Errorf(imx.Refused, "the key %s has no PEM form: %w", k.ID, err).WithHint("imx key show %s prints it as it is", k.ID)
		}
		_, err = io.WriteString(t.Out, p.PEM())
		return err
	}
	if g.JSON {
		return printJSON(t.Out, k)
	}
	_, err = fmt.Fprintln(t.Out, strings.TrimSpace(k.Public))
	return err
}

// findKey returns the key that a person means, as imx.FindKey.
func findKey(keys []imx.Key, wanted string) (imx.Key, error) {
	byID := map[string]imx.Key{}
	for _, k := range keys {
		byID[k.ID] = k
	}
	return imx.FindKey(byID, wanted)
}

func completeKeys(g *Global) cobra.CompletionFunc {
	return onlyFirst(func(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), patience)
		defer cancel()
		keys, err := g.client().Keys(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, k := range keys {
			names = append(names, k.ID)
		}
		return unused(names, nil, start), cobra.ShellCompDirectiveNoFileComp
	})
}

func newKeyRotateCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:   "rotate ROLE",
		short: "Give a role a new key",
		long: `Makes a new key of ROLE (builder, scanner, tester or releaser), which signs from now on. The old one ends, its
private part is gone, and what it signed still counts.`,
		example: `$ imx key rotate builder`,
		exits:   asking(status{2, "imx has no key of ROLE"}, status{7, "the server's disk is full"}),
		least:   1,
		most:    1,
	}.command(func(ctx context.Context, args []string) error {
		k, err := g.client().RotateKey(ctx, imx.Role(args[0]))
		if err != nil {
			return err
		}
		if g.JSON {
			return printJSON(t.Out, k)
		}
		_, err = fmt.Fprintf(t.Out, "%s signs as %s from now on\n", k.ID, k.Role)
		return err
	})
}

type keyEndOptions struct {
	Key         string
	At          string
	Compromised bool
	Reason      string
	Yes         bool
}

func (o *keyEndOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.At, "at", "", "`TIME` from which what it signs doesn't count: a day, a moment, or how long ago (10d); now, unless given")
	f.BoolVar(&o.Compromised, "compromised", false, "somebody else had it: nothing that it ever signed counts")
	f.StringVar(&o.Reason, "reason", "", "`WHY`; it stays on the log, and is shown where something doesn't count for it")
	f.BoolVar(&o.Yes, "yes", false, "don't ask before a key is made compromised")
}

func newKeyEndCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts keyEndOptions
	cmd := page{
		use:   "end KEY --reason WHY [--at TIME] [--compromised] [--yes]",
		short: "End a key",
		long: `From TIME on, what KEY signs doesn't count; what it signed before still does, unless it is compromised. When
something was signed, the server's log says, and no signature. An end can be brought forward, but not put
off. A key of imx's own that signs now gets a successor at once. KEY is a key's ID, the beginning of one, or a role.

That a key is compromised can't be undone. What it hits is shown first: what it stated of images, the releases that run them, and its
answers to candidates. Then it is asked about, or --yes is to be said.`,
		example: `
$ imx key end SHA256:uNiVztksCsDhcc0u9e8BrrJXVGDm8 --reason "laptop sold"
$ imx key end SHA256:47DEQpj8HBSa --compromised --reason "laptop stolen"`,
		exits: asking(
			status{2, "TIME is none, WHY is missing, several keys begin with KEY, or nobody is there to ask"}, status{3, "there is no such key"},
			status{4, "it ended before"}, status{5, "it wasn't confirmed"},
		),
		least:    1,
		most:     1,
		complete: completeKeys(g),
	}.command(func(ctx context.Context, args []string) error {
		opts.Key = args[0]
		return runKeyEnd(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

func runKeyEnd(ctx context.Context, opts keyEndOptions, g *Global, t *term.Terminal) error {
	req := imx.KeyEndRequest{Key: opts.Key, Compromised: opts.Compromised, Reason: opts.Reason}
	var err error
	if req.At, err = parseBack(opts.At, time.Now()); err != nil {
		return err
	}
	if opts.Compromised {
		if err := confirmCompromised(ctx, opts, g, t); err != nil {
			return err
		}
	}
	k, err := g.client().EndKey(ctx, req)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, k)
	}
	says := "what it signs from " + term.Stamp(k.Until) + " on doesn't count"
	if k.Compromised {
		says = "nothing that it ever signed counts"
	}
	_, err = fmt.Fprintf(t.Out, "%s: %s\n", k.ID, says)
	return err
}

// confirmCompromised says what a key's compromise hits, and asks unless it was said before that it shall be so.
func confirmCompromised(ctx context.Context, opts keyEndOptions, g *Global, t *term.Terminal) error {
	if opts.Reason == "" {
		return nil // which the server refuses
	}
	if !opts.Yes {
		if err := nobodyAsked(g, t, "key end --compromised", "imx key list"); err != nil {
			return err
		}
	}
	keys, err := g.client().Keys(ctx)
	if err != nil {
		return err
	}
	k, err := findKey(keys, opts.Key)
	if err != nil {
		return err
	}
	now, err := g.client().Status(ctx, time.Time{})
	if err != nil {
		return err
	}
	text := fmt.Sprintf("What %s signed counts no more: %s. It can't be undone.\n", shortKey(k.ID), hitOf(now.State, k.ID))
	if _, err := io.WriteString(t.Err, term.Wrap(text, t.Err.Columns())); err != nil || opts.Yes {
		return err
	}
	if yes, err := t.Confirm(ctx, "End the key as compromised?"); err != nil || yes {
		return err
	}
	return errDeclined()
}
