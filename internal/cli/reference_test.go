package cli_test

// docs/cli.md is made from the commands' own help, so that the two can't disagree. After a change
// of help: go test ./internal/cli -run Reference -update

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"imx/internal/cli"
	"imx/internal/term"
)

var update = flag.Bool("update", false, "rewrite the golden files and docs/cli.md; read the diff before you keep it")

const reference = "../../docs/cli.md"

func root() *cobra.Command {
	none := term.Plain(strings.NewReader(""), &strings.Builder{}, &strings.Builder{})
	return cli.Root(cli.Process{Terminal: none, Env: func(string) string { return "" }})
}

func commands(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		if !sub.Hidden {
			all = append(all, commands(sub)...)
		}
	}
	return all
}

func TestReferenceIsUpToDate(t *testing.T) {
	var b strings.Builder
	b.WriteString("# imx command line\n\nMade from the commands' help; `imx COMMAND --help` shows the same.\n")
	for _, cmd := range commands(root()) {
		fmt.Fprintf(&b, "\n## %s\n", cmd.CommandPath())
		for _, s := range cli.Sections(cmd) {
			switch s.Title {
			case "GLOBAL FLAGS": // once, under imx itself
			case "":
				fmt.Fprintf(&b, "\n%s\n", s.Text)
			default:
				fmt.Fprintf(&b, "\n**%s%s**\n\n```\n%s\n```\n", s.Title[:1], strings.ToLower(s.Title[1:]), s.Text)
			}
		}
	}
	compare(t, reference, b.String())
}

// compare holds got against a golden file, or makes it the file with -update.
func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s isn't up to date; look whether the change is right, then run the test with -update (-file +now):\n%s", file, diff)
	}
}

func TestEveryCommandHasExampleAndExitStatus(t *testing.T) {
	for _, cmd := range commands(root()) {
		has := map[string]string{}
		for _, s := range cli.Sections(cmd) {
			has[s.Title] = s.Text
		}
		for _, title := range []string{"", "USAGE", "EXAMPLE", "EXIT STATUS"} {
			if has[title] == "" {
				t.Errorf("%s --help has no section %q", cmd.CommandPath(), title)
			}
		}
		if cmd.HasParent() && strings.Count(has[""], ".") < 2 {
			t.Errorf("%s --help doesn't say in two sentences what it does: %q", cmd.CommandPath(), has[""])
		}
		if !strings.Contains(has["EXAMPLE"], "imx") {
			t.Errorf("%s: the example doesn't call imx", cmd.CommandPath())
		}
	}
}
