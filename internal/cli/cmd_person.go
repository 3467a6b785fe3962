package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/term"
)

func newPersonCommand(g *Global, t *term.Terminal) *cobra.Command {
	cmd := page{
		use:   "person",
		short: "Say who may review, and whose commits are known",
		long: `People sign with keys that they have: SSH keys, and for commits OpenPGP keys too. A reviewer's approvals count,
an author's signed commits are theirs.`,
		example: `
$ imx person add ada --key ada.pub --email ada@example.org --login ada --role reviewer --role author
$ imx person list`,
	}.command(nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(newPersonAddCommand(g, t), newPersonListCommand(g, t), newPersonRemoveCommand(g))
	return cmd
}

type personAddOptions struct {
	Name   string
	Keys   []string
	Emails []string
	Roles  []string
	Logins []string
}

func (o *personAddOptions) addFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.Keys, "key", nil, "`FILE` with a public key: SSH's (id_ed25519.pub), or an armored OpenPGP one; given once for each")
	f.StringArrayVar(&o.Emails, "email", nil, "`ADDRESS` in their commits; given once for each")
	f.StringArrayVar(&o.Logins, "login", nil, "`ACCOUNT` of theirs on the server's machine; given once for each")
	f.StringArrayVar(&o.Roles, "role", nil, "`ROLE`: reviewer, or author; given once for each")
}

func newPersonAddCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts personAddOptions
	cmd := page{
		use:   "add NAME [--key FILE]... [--email ADDRESS]... [--login ACCOUNT]... [--role ROLE]...",
		short: "Make somebody known, or change what is known of them",
		long: `Makes NAME known. Of somebody who is known already, roles, addresses and logins that are given take the place of those
before, and keys are added. A key counts from now on: what it signed earlier doesn't. Plain SSH keys count
(Ed25519, ECDSA, RSA of 2048 bits or more), those in hardware tokens don't.

What is asked from an account that is a login of NAME's is asked by NAME, through sudo and su too: the kernel keeps who
logged in. An account has one holder.`,
		example: `
$ imx person add ada --key ada.pub --email ada@example.org --login ada --role reviewer --role author
$ imx person add ada --key new-laptop.pub`,
		exits: asking(
			status{2, "NAME, ROLE, ADDRESS or ACCOUNT can't be one, or FILE has no public key"}, status{3, "there is no such FILE"},
			status{4, "the key is somebody else's, or ended, or the account is somebody else's"}, status{5, "the key is of a kind that doesn't count"},
		),
		least: 1,
		most:  1,
	}.command(func(ctx context.Context, args []string) error {
		opts.Name = args[0]
		return runPersonAdd(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

// maxKeyFile is the most that a file with a public key may have, in bytes: OpenPGP keys gather signatures.
const maxKeyFile = 1 << 20

func runPersonAdd(ctx context.Context, opts personAddOptions, g *Global, t *term.Terminal) error {
	req := imx.PersonRequest{Name: imx.Principal(opts.Name), Emails: opts.Emails, Logins: opts.Logins}
	for _, role := range opts.Roles {
		req.Roles = append(req.Roles, imx.Role(role))
	}
	for _, name := range opts.Keys {
		text, err := readKeyFile(name)
		if err != nil {
			return err
		}
		req.Keys = append(req.Keys, text)
	}
	p, err := g.client().SetPerson(ctx, req)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(t.Out, p)
	}
	if err := showPeople(t.Out, []imx.KnownPerson{p}, time.Now()); err != nil {
		return err
	}
	for _, lack := range reviewerLacks(p) {
		if _, err := fmt.Fprintf(t.Err, "%s %s\n", t.Err.Ink.Warn("notice:"), term.Clean(lack)); err != nil {
			return err
		}
	}
	return nil
}

// reviewerLacks says what isn't known of a reviewer, so that their answers can't be what they are for.
func reviewerLacks(p imx.KnownPerson) []string {
	if !p.Has(imx.RoleReviewer) {
		return nil
	}
	var lacks []string
	if len(p.Emails) == 0 && len(p.Logins) == 0 {
		lacks = append(lacks, fmt.Sprintf("nothing tells which commits and accounts are %s's, who could approve work of their own: --email ADDRESS, --login ACCOUNT", p.Name))
	}
	if !slices.ContainsFunc(p.Keys, func(k imx.Key) bool { return strings.HasPrefix(k.ID, "SHA256:") }) {
		lacks = append(lacks, fmt.Sprintf("%s has no SSH key, and can't answer any candidate: --key FILE.pub", p.Name))
	}
	return lacks
}

// readKeyFile reads a public key, and sends no private one to anybody.
func readKeyFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", imx.Errorf(imx.NotFound, "the key can't be read: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read from
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	switch {
	case err != nil:
		return "", imx.Errorf(imx.Invalid, "the key %s can't be read: %w", name, err)
	case len(b) > maxKeyFile:
		return "", imx.Errorf(imx.Invalid, "the file %s is larger than any with a public key", name)
	case strings.Contains(string(b), "PRIVATE KEY"):
		return "", imx.Errorf(imx.Invalid, "the file %s has a private key, which stays with you", name).WithHint("give the public one: %s.pub", name)
	}
	return string(b), nil
}

func newPersonListCommand(g *Global, t *term.Terminal) *cobra.Command {
	return page{
		use:     "list",
		short:   "Show who is known",
		long:    `Lists people with their roles, addresses and logins. Of their keys it shows those that count.`,
		example: `$ imx person list`,
		exits:   asking(),
	}.command(func(ctx context.Context, _ []string) error {
		people, err := g.client().People(ctx)
		if err != nil {
			return err
		}
		if g.JSON {
			return printJSON(t.Out, people)
		}
		if len(people) == 0 {
			_, err := fmt.Fprintln(t.Out, "nobody is known yet: imx person add NAME --key FILE.pub --role reviewer")
			return err
		}
		return showPeople(t.Out, people, time.Now())
	})
}

// showPeople prints a table of people, a line for each of their keys that count.
func showPeople(out term.Stream, people []imx.KnownPerson, now time.Time) error {
	table := term.Table{
		Head:  []string{"PERSON", "ROLES", "ADDRESSES", "LOGINS", "KEY"},
		Wraps: []string{"ROLES", "ADDRESSES", "LOGINS"},
	}
	for _, p := range people {
		var keys []string
		for _, k := range p.Keys {
			if !k.Compromised && (k.Until.IsZero() || k.Until.After(now)) {
				keys = append(keys, keyID(out, k.ID))
			}
		}
		first := append(keys, "none")[0]
		table.Add(out.Ink.Name(string(p.Name)), joined(p.Roles), term.Clean(strings.Join(p.Emails, ", ")), term.Clean(strings.Join(p.Logins, ", ")), first)
		for i := 1; i < len(keys); i++ {
			table.Add("", "", "", "", keys[i])
		}
	}
	_, err := io.WriteString(out, table.Text(out.Ink, out.Columns()))
	return err
}

type personRemoveOptions struct {
	Reason string
}

func newPersonRemoveCommand(g *Global) *cobra.Command {
	var opts personRemoveOptions
	cmd := page{
		use:      "remove NAME [--reason WHY]",
		short:    "End what somebody may do",
		long:     `Ends what NAME may do, and their keys with it. What they sign from now on doesn't count.`,
		example:  `$ imx person remove ada --reason "left"`,
		exits:    asking(status{3, "nobody is known by that name"}),
		least:    1,
		most:     1,
		complete: completePeople(g),
	}.command(func(ctx context.Context, args []string) error {
		return g.client().RemovePerson(ctx, imx.Principal(args[0]), opts.Reason)
	})
	cmd.Flags().StringVar(&opts.Reason, "reason", "", "`WHY`; it stays on the log")
	return cmd
}

func completePeople(g *Global) cobra.CompletionFunc {
	return onlyFirst(func(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), patience)
		defer cancel()
		people, err := g.client().People(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, p := range people {
			names = append(names, string(p.Name))
		}
		return unused(names, nil, start), cobra.ShellCompDirectiveNoFileComp
	})
}
