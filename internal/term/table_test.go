package term_test

// Tables hold coloured cells, wide characters and empty columns, and still line up.

import (
	"strings"
	"testing"

	"charm.land/lipgloss/v2"
	"pgregory.net/rapid"

	"imx/internal/term"
)

func TestTableAlignsWhatAPersonSees(t *testing.T) {
	table := term.Table{Head: []string{"NAME", "EMPTY", "N"}}
	table.Add(term.Coloured().Good("web"), "", "1")
	table.Add("日本", "", "22")
	got := table.Text(term.Ink{}, 0)
	plain := "NAME  N\n" + term.Coloured().Good("web") + "   1\n日本  22\n"
	if got != plain {
		t.Errorf("got\n%s\nwant\n%s", got, plain)
	}
}

func TestNoLineOfATableIsWiderThanTheTerminal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := term.Table{Head: []string{"A", "B", "C"}}
		cell := rapid.StringOfN(rapid.RuneFrom([]rune("aé日 ")), 0, 12, -1)
		for range rapid.IntRange(0, 5).Draw(t, "rows") {
			table.Add(cell.Draw(t, "a"), cell.Draw(t, "b"), cell.Draw(t, "c"))
		}
		columns := rapid.IntRange(1, 40).Draw(t, "columns")
		for line := range strings.Lines(table.Text(term.Ink{}, columns)) {
			if w := lipgloss.Width(strings.TrimSuffix(line, "\n")); w > columns {
				t.Fatalf("%d columns wide, not %d: %q", w, columns, line)
			}
		}
	})
}

func TestWithoutInkTextStaysAsItIs(t *testing.T) {
	var none term.Ink
	for _, ink := range []func(string) string{none.Bold, none.Dim, none.Good, none.Warn, none.Bad, none.Name} {
		if got := ink("text"); got != "text" {
			t.Errorf("got %q", got)
		}
	}
	if got := term.Coloured().Bad("text"); !strings.Contains(got, "\x1b[31m") {
		t.Errorf("no red in %q", got)
	}
}
