package deb_test

// Control stanzas come from mirrors and from inside packages: what one reader takes and another
// doesn't is a way to smuggle something past the one that checks.

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/deb"
)

// read returns the fields of all stanzas, or the first error.
func read(r io.Reader) ([]map[string]string, error) {
	var all []map[string]string
	stanzas := deb.ReadStanzas(r, "text")
	for {
		s, err := stanzas.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		m := map[string]string{}
		for name, value := range s.Fields() {
			m[string(name)] = string(value)
		}
		all = append(all, m)
	}
}

func TestStanzasAreRead(t *testing.T) {
	text := "\n\nPackage: a\nDepends: b,\n c,\n\td \nEmpty:\nDescription: first  \n second\n .\n third\n\n\n\nPACKAGE:x"
	want := []map[string]string{
		{"package": "a", "depends": "b,\n c,\n\td", "empty": "", "description": "first\n second\n .\n third"},
		{"package": "x"},
	}
	for name, r := range map[string]io.Reader{
		"whole": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text)),
	} {
		got, err := read(r)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestStanzasThatReadersDisagreeAboutAreRefused(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a field that stands twice", "A: 1\na: 2\n", `text: line 2 repeats the field "a"`},
		{"a continuation of nothing", " x\n", "text: line 1 continues a field, but none came before"},
		{"a line of blanks", "A: 1\n \nB: 2\n", "text: line 2 has nothing but blanks"},
		{"a carriage return", "A: 1\r\n", "text: line 1 has a control character"},
		{"a NUL", "A: 1\nB: \x00\n", "text: line 2 has a control character"},
		{"no colon", "A: 1\nnonsense\n", `text: line 2 is neither a field nor the continuation of one: "nonsense"`},
		{"a blank in a name", "A B: 1\n", `text: line 1 is neither a field nor the continuation of one: "A B: 1"`},
		{"a comment", "# A: 1\n", `text: line 1 is neither a field nor the continuation of one: "# A: 1"`},
		{"a line without end", "A: 1\nB: " + strings.Repeat("x", 2<<20), "text: line 2 is longer than 1048576 bytes"},
		{"a stanza without end", strings.Repeat("A: 1\n"+strings.Repeat(" "+strings.Repeat("x", 1<<19)+"\n", 20), 1), "text: line 17 makes a stanza longer than 8388608 bytes"},
		{"fields without end", manyFields(300), "text: line 257 begins field 257 of one stanza"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(strings.NewReader(c.text))
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if imx.KindOf(err) != imx.Refused {
				t.Errorf("kind %s", imx.KindOf(err))
			}
		})
	}
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("F" + strings.Repeat("x", i) + ": 1\n")
	}
	return b.String()
}

func TestAReaderThatFailsIsNotTheStanzasFault(t *testing.T) {
	broken := errors.New("the cable is out")
	_, err := read(io.MultiReader(strings.NewReader("A: 1\nB: "), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || imx.KindOf(err) != imx.Unavailable {
		t.Errorf("got %v of kind %s", err, imx.KindOf(err))
	}
}

func FuzzStanzas(f *testing.F) {
	f.Add("Package: a\nDepends: b,\n c\n\nPackage: x\n")
	f.Add(" \n:\nA:\n B\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := read(strings.NewReader(text))
		if err != nil {
			return
		}
		// What was read writes back to a text that reads the same.
		var b strings.Builder
		for _, m := range got {
			for name, value := range m {
				b.WriteString(name + ": " + value + "\n")
			}
			b.WriteString("\n")
		}
		again, err := read(strings.NewReader(b.String()))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, again); diff != "" {
			t.Error(diff)
		}
	})
}
