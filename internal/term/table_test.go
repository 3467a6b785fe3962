package term_test

// Tables hold coloured cells, wide characters and empty columns, and still line up.

import (
	"strings"
	"testing"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
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
		names := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"A", "B", "C"}), func(s string) string { return s })
		table := term.Table{Head: []string{"A", "B", "C"}, Wraps: names.Draw(t, "wraps"), Drops: names.Draw(t, "drops")}
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

func TestANarrowTableWrapsAndThenLeavesOutWhatMattersLeast(t *testing.T) {
	table := term.Table{Head: []string{"KEY", "SINCE", "SAYS"}, Wraps: []string{"SAYS"}, Drops: []string{"SINCE"}}
	table.Add("a1", "3 h ago", term.Coloured().Bad("compromised: the laptop was stolen"))
	red := func(s string) string { return term.Coloured().Bad(s) }
	for _, c := range []struct {
		columns int
		want    string
	}{
		{0, "KEY  SINCE    SAYS\na1   3 h ago  " + red("compromised: the laptop was stolen") + "\n"},
		{34, "KEY  SINCE    SAYS\na1   3 h ago  " + red("compromised: the") + "\n              " + red("laptop was stolen") + "\n"},
		{25, "KEY  SAYS\na1   " + red("compromised: the") + "\n     " + red("laptop was stolen") + "\n"},
		{12, "KEY  SAYS\na1   " + red("compro…") + "\n     " + red("laptop…") + "\n     " + red("stolen") + "\n"},
	} {
		if got := table.Text(term.Ink{}, c.columns); got != c.want {
			t.Errorf("in %d columns\n%q\nwant\n%q", c.columns, got, c.want)
		}
	}
}

func TestWrappedTextLosesNothingAndIsNoWiderThanTheTerminal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringOfN(rapid.RuneFrom([]rune("aé日-/")), 1, 30, -1)
		coloured := rapid.Custom(func(t *rapid.T) string {
			if s := word.Draw(t, "word"); !rapid.Bool().Draw(t, "coloured") {
				return s
			}
			return term.Coloured().Warn(word.Draw(t, "word") + " " + word.Draw(t, "word"))
		})
		text := strings.Repeat(" ", rapid.IntRange(0, 6).Draw(t, "indent")) + strings.Join(rapid.SliceOf(coloured).Draw(t, "words"), " ") + "\n"
		columns := rapid.IntRange(4, 60).Draw(t, "columns")
		got := term.Wrap(text, columns)
		for line := range strings.Lines(got) {
			if w := lipgloss.Width(strings.TrimSuffix(line, "\n")); w > columns {
				t.Fatalf("%d columns wide, not %d: %q", w, columns, line)
			}
		}
		bare := func(s string) string { return strings.Join(strings.Fields(ansi.Strip(s)), "") }
		if bare(got) != bare(text) {
			t.Fatalf("%q became %q", text, got)
		}
		if term.Wrap(text, 0) != text {
			t.Fatal("without a terminal it isn't as it was")
		}
	})
}

func TestTextIsBrokenBetweenWords(t *testing.T) {
	const text = "hint: reviews: imx review shows what waits, imx approve --key FILE says yes\n"
	const want = "hint: reviews: imx\n  review shows what\n  waits, imx approve\n  --key FILE says yes\n"
	if got := term.Wrap(text, 21); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
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
