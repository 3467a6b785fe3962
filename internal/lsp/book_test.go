package lsp_test

// A template that is being typed is most often broken. These tests ask at a place, written | in the text, what a
// person would ask there; the laws and the fuzzer hold for any text and any place.

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/lsp"
	"imx/internal/template"
)

const main = "main.imx.hcl"

// asked returns a folder with a text, and the place of the | in it.
func asked(text string) (lsp.Book, int) {
	at := strings.IndexByte(text, '|')
	return lsp.NewBook(map[string]string{
		main: text[:at] + text[at+1:],
		"other.imx.hcl": `
locals {
  zone = "UTC"
}
archive "debian" {}
image "web" {}
service "db" {
  image = image.web
  port "pg" { container = 5432 }
}`,
	}, []string{main, "conf/nginx.conf", "other.imx.hcl", "shop.py"}), at
}

func TestCompletionOffersWhatMayStandThere(t *testing.T) {
	t.Parallel()
	rules := []imx.Rule{{ID: "root-user", Title: "x"}}
	for name, c := range map[string]struct {
		text string
		want []string // among others
		not  []string
	}{
		"blocks at the outermost level":            {"|", []string{"image", "service", "locals", "waiver"}, []string{"port", "packages"}},
		"a block that is begun":                    {"ser|", []string{"service"}, nil},
		"settings and blocks of a block":           {"service \"a\" {\n  |\n}", []string{"replicas", "port", "health"}, []string{"packages"}},
		"no setting twice":                         {"service \"a\" {\n  replicas = 1\n  |\n}", []string{"image"}, []string{"replicas"}},
		"a block in a block":                       {"service \"a\" {\n  health {\n    http {\n      |", []string{"path", "port"}, []string{"every"}},
		"a block on one line":                      {"service \"a\" {\n  port \"x\" { con|", []string{"container"}, nil},
		"names behind a dot, of all files":         {"service \"a\" {\n  image = image.|\n}", []string{"web"}, []string{"db"}},
		"a name that is begun":                     {"service \"a\" {\n  image = image.w|\n}", []string{"web"}, nil},
		"whole references without a dot":           {"service \"a\" {\n  connect = [|\n}", []string{"service.db.port.pg", "image.web", "local.zone"}, nil},
		"the word port behind a service":           {"service \"a\" {\n  connect = [service.db.|]\n}", []string{"port"}, nil},
		"ports":                                    {"service \"a\" {\n  connect = [service.db.port.|]\n}", []string{"pg"}, nil},
		"what a port has":                          {"service \"a\" {\n  environment = { DB = service.db.port.pg.| }\n}", []string{"address", "host", "number"}, nil},
		"inside of text":                           {"service \"a\" {\n  environment = { DB = \"x${service.db.port.|", []string{"pg"}, nil},
		"the host's archive":                       {"image \"a\" {\n  from = archive.|", []string{"host", "debian"}, nil},
		"functions":                                {"locals {\n  a = |\n}", []string{"file", "join"}, nil},
		"files":                                    {"image \"a\" {\n  file \"/x\" {\n    content = file(\"|\")", []string{"shop.py", "conf/nginx.conf"}, []string{main}},
		"a service's own ports in quotes":          {"service \"a\" {\n  port \"http\" {}\n  health {\n    http {\n      port = \"|", []string{"http"}, []string{"pg"}},
		"a tested service's ports":                 {"test \"a\" {\n  service = service.db\n  tcp \"x\" {\n    port = \"|", []string{"pg"}, nil},
		"true and false":                           {"image \"a\" {\n  recommends = |", []string{"true", "false"}, nil},
		"rules that a waiver is of":                {"waiver \"|\" {}", []string{"root-user"}, nil},
		"after a quote left open further up":       {"image \"a\" {\n  user = \"x\n  command = [\"a\"]\n}\nservice \"b\" {\n  image = image.|", []string{"web"}, nil},
		"after brackets left open further up":      {"image \"a\" {\n  packages = [\"x\",\n\nservice \"b\" {\n  image = image.|", []string{"web"}, nil},
		"nothing in a text that is no name's":      {"image \"a\" {\n  user = \"|", nil, []string{"image.web", "file"}},
		"nothing in a heredoc":                     {"locals {\n  a = <<E\n|", nil, []string{"file"}},
		"nothing where a block of no kind is open": {"nonsense {\n  |", nil, []string{"image"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, at := asked(c.text)
			var got []string
			for _, o := range b.Complete(main, at, rules) {
				got = append(got, o.Label)
			}
			for _, w := range c.want {
				if !slices.Contains(got, w) {
					t.Errorf("%q isn't offered, but %q", w, got)
				}
			}
			for _, w := range c.not {
				if slices.Contains(got, w) {
					t.Errorf("%q is offered", w)
				}
			}
		})
	}
}

func TestDefinitionIsWhereANameIsDeclared(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, file, word string }{
		"an image":         {"service \"a\" {\n  image = image.w|eb\n}", "other.imx.hcl", "web"},
		"by its root":      {"service \"a\" {\n  image = im|age.web\n}", "other.imx.hcl", "web"},
		"a service's port": {"service \"a\" {\n  connect = [service.db.port.p|g]\n}", "other.imx.hcl", "pg"},
		"a service":        {"service \"a\" {\n  connect = [service.d|b.port.pg]\n}", "other.imx.hcl", "db"},
		"a local":          {"image \"a\" {\n  user = local.zo|ne\n}", "other.imx.hcl", "zone"},
		"a port by text":   {"service \"a\" {\n  port \"http\" {}\n  health {\n    tcp { port = \"ht|tp\" }\n  }\n}", main, "http"},
		"a file":           {"locals {\n  a = file(\"shop|.py\")\n}", "shop.py", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, at := asked(c.text)
			got := b.Define(main, at)
			if len(got) != 1 || got[0].File != c.file || word(b, got[0]) != c.word {
				t.Errorf("%+v", got)
			}
		})
	}
	b, at := asked("service \"a\" {\n  image = image.nob|ody\n}")
	if got := b.Define(main, at); len(got) != 0 {
		t.Errorf("a name that nobody declares is declared at %+v", got)
	}
}

func word(b lsp.Book, p lsp.Place) string {
	for _, page := range b.Pages {
		if page.File == p.File {
			return page.Text[p.Span.From:p.Span.To]
		}
	}
	return ""
}

func TestRenamingCoversEachPlaceOfAName(t *testing.T) {
	t.Parallel()
	b, at := asked("service \"a\" {\n  connect = [service.db.port.p|g]\n}\ntest \"x\" {\n  service = service.db\n  tcp \"y\" { port = \"pg\" }\n}")
	places, err := b.Rename(main, at, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, p := range places {
		if word(b, p) != "pg" {
			t.Errorf("%q would be renamed", word(b, p))
		}
		files = append(files, p.File)
	}
	if diff := cmp.Diff([]string{"other.imx.hcl", main, main}, files); diff != "" {
		t.Error(diff)
	}
	if _, err := b.Rename(main, at, "No Name"); imx.KindOf(err) != imx.Invalid {
		t.Errorf("a name that can't be one: %v", err)
	}
	b, at = asked("service \"a\" {\n  replicas = |1\n}")
	if _, err := b.Rename(main, at, "x"); imx.KindOf(err) != imx.NotFound {
		t.Errorf("a number was renamed: %v", err)
	}
}

func TestHoverExplainsWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"serv|ice \"a\" {}":                     "A service: instances of an image",
		"service \"a\" {\n  repl|icas = 1\n}":   "How many instances run;",
		"service \"a\" {\n  image = image.we|b": "image \"web\" {}",
		"locals {\n  a = jo|in(\",\", [])\n}":   "with a separator between",
	} {
		b, at := asked(text)
		if got, _ := b.Hover(main, at); !strings.Contains(got, want) {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestAPositionAndItsByteLeadToEachOther(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("a é🛒\n\t\u0301\"{"))).Draw(t, "text")
		at := rapid.IntRange(0, len(text)).Draw(t, "at")
		if !utf8.RuneStart((text + "x")[at]) {
			t.Skip("in the middle of a character")
		}
		p := lsp.PositionOf(text, at)
		if got := lsp.Offset(text, p); got != at {
			t.Errorf("%q: byte %d is at %v, which is byte %d", text, at, p, got)
		}
	})
}

func TestAPositionOutsideOfItsLineIsItsNearestEnd(t *testing.T) {
	t.Parallel()
	const text = "ab\r\n🛒c"
	for p, want := range map[lsp.Position]int{
		{Line: 0, Character: 99}: 2, {Line: 1, Character: 1}: 4, {Line: 1, Character: 2}: 8, {Line: 9, Character: 9}: 9,
		{Line: -1, Character: -1}: 0, {Line: 0, Character: -5}: 0,
	} {
		if got := lsp.Offset(text, p); got != want {
			t.Errorf("%v is byte %d, not %d", p, got, want)
		}
	}
}

func TestAColumnIsWhatAPersonSeesAsOneCharacter(t *testing.T) {
	t.Parallel()
	// A family is one character, eight UTF-16 units; an e with an accent on it is one, two units.
	got := lsp.RangeInLine("👨‍👩‍👧e\u0301x", imx.Pos{Line: 3, Column: 3, End: 4})
	want := lsp.Range{Start: lsp.Position{Line: 2, Character: 10}, End: lsp.Position{Line: 2, Character: 11}}
	if got != want {
		t.Errorf("%+v", got)
	}
}

// FuzzAnswers asks everything at any place of any text.
func FuzzAnswers(f *testing.F) {
	for _, text := range []string{
		"service \"a\" {\n  image = image.", "image \"a\" {\n  user = \"x\n  command = [\"a\"", "a { b { c = <<E\n${x.", "}}}]])\"\n\"\n",
		"locals {\n a = file(\"x", "waiver \"", "a = { b = \"${c[\"", "test \"t\" {\n service = service.a\n tcp \"x\" { port = \"p\" }\n}", "/* x", "\xff\"\xfe",
	} {
		f.Add(text, len(text), 1, 3)
	}
	f.Fuzz(func(t *testing.T, text string, at, line, character int) {
		b := lsp.NewBook(map[string]string{main: text}, []string{main, "x"})
		for _, at := range []int{max(0, min(at, len(text))), lsp.Offset(text, lsp.Position{Line: line, Character: character})} {
			for _, o := range b.Complete(main, at, []imx.Rule{{ID: "r"}}) {
				if o.Over.From > at || o.Over.To != at || o.Over.From < 0 {
					t.Errorf("%q would be written over %+v, asked at %d", o.Label, o.Over, at)
				}
			}
			_, span := b.Hover(main, at)
			places := append(b.Define(main, at), b.References(main, at)...)
			more, _ := b.Rename(main, at, "n")
			for _, p := range append(append(places, more...), lsp.Place{File: main, Span: span}) {
				if p.Span.From < 0 || p.Span.To < p.Span.From || p.File == main && p.Span.To > len(text) {
					t.Errorf("%+v", p)
				}
			}
		}
		lsp.Symbols(b.Pages[0])
	})
}

// FuzzReadMessage reads what may come from anything that isn't an editor.
func FuzzReadMessage(f *testing.F) {
	f.Add([]byte("Content-Length: 2\r\n\r\n{}"))
	f.Add([]byte("Content-Length: 99999999999\r\n\r\n{}"))
	f.Add([]byte("content-length:2\n\n{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := lsp.ReadMessage(b)
		if (err == nil) != (len(m) > 0) {
			t.Errorf("%q, %v", m, err)
		}
	})
}

func TestMessagesThatCantBeTakenAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]imx.Kind{
		"Content-Length: 8388609\r\n\r\n":     imx.Exhausted,
		"Content-Length: x\r\n\r\n":           imx.Invalid,
		"Content-Length: 5\r\n\r\n{}":         imx.Unavailable,
		"Content-Length: 2\r\n\r\n{x":         imx.Invalid,
		strings.Repeat("x", 100_000) + "\r\n": imx.Invalid,
		"Content-Type: x\r\n\r\n{}":           imx.Invalid,
		"Content-Length: -1\r\n\r\n{}":        imx.Invalid,
		"y\n":                                 imx.Invalid,
		strings.Repeat("X-Y: z\r\n", 1_000):   imx.Invalid,
		"Content-Length: 2\r\n":               imx.Invalid,
	} {
		if _, err := lsp.ReadMessage([]byte(text)); imx.KindOf(err) != want {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func TestATemplateOfTheLargestSizeIsScanned(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("service \"a\" {\n  image = image.web\n}\n", 1<<20/36)
	b := lsp.NewBook(map[string]string{main: text}, nil)
	if n := len(b.Pages[0].Uses); n != 1<<20/36 {
		t.Errorf("%d references were found", n)
	}
	if n := lsp.Symbols(b.Pages[0]); n != 2000 {
		t.Errorf("%d symbols are shown", n)
	}
	if !template.IsTemplate(main) {
		t.Error("it would be of no template")
	}
}

func TestOpenDocumentsHaveBounds(t *testing.T) {
	t.Parallel()
	if n := lsp.OpenUntilFull(10); n != 500 {
		t.Errorf("%d small documents are open", n)
	}
	if n := lsp.OpenUntilFull(1 << 20); n != 64 {
		t.Errorf("%d documents of 1 MiB are open", n)
	}
}
