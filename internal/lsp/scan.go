package lsp

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const (
	// maxScanned is how long a text may be to be scanned: a template may have 1 MiB.
	maxScanned = 2 << 20
	// maxMended is in how many lines an open quote is closed; each takes reading the rest of the text again.
	maxMended = 50
	// maxDepth is how deep blocks are kept in each other: the language has three levels.
	maxDepth = 100
)

// Span is a part of a text, in bytes.
type Span struct{ From, To int }

func (s Span) touches(offset int) bool { return s.From <= offset && offset <= s.To }

// Name is a word of a text and where it stands, without quotes.
type Name struct {
	Text string
	Span Span
}

// Item is a block or a setting as it is written; the root of a page is one without a name.
type Item struct {
	Name   Name
	Labels []Name
	Span   Span // all of it
	IsSet  bool // a setting
	Items  []*Item
	In     *Item // nil for the root
}

// path are the names of the blocks around and of the item itself, as template.Help takes them.
func (it *Item) path() string {
	var names []string
	for ; it != nil && it.In != nil; it = it.In {
		names = append(names, it.Name.Text)
	}
	slices.Reverse(names)
	return strings.Join(names, ".")
}

// label returns the first label, "" where there is none.
func (it *Item) label() string {
	if len(it.Labels) == 0 {
		return ""
	}
	return it.Labels[0].Text
}

// outermost returns the top-level block that an item is in, or is.
func (it *Item) outermost() *Item {
	for it.In != nil && it.In.In != nil {
		it = it.In
	}
	return it
}

// Use is a reference, image.web, or the call of a function, which has one step.
type Use struct {
	Steps []Name // the last is empty behind a dot that nothing follows
	Call  bool
	In    *Item
}

func (u Use) span() Span { return Span{u.Steps[0].Span.From, u.Steps[len(u.Steps)-1].Span.To} }

// Literal is a quoted text in a value.
type Literal struct {
	Name

	Call string // the function whose first argument it is, "" for none
	In   *Item
}

// Page is a scanned text.
type Page struct {
	File     string // its name in the folder
	Text     string
	Root     *Item
	Uses     []Use
	Literals []Literal
	end      state
}

// state is what a text ends in the middle of.
type state struct {
	block  *Item
	set    *Item // the setting whose value has begun
	header []Name
	quote  *Literal // a quoted text that isn't closed; of a value, or of a block's label where set is nil
	inText bool     // in a heredoc
}

// scanner goes through the tokens of a text.
type scanner struct {
	page   *Page
	tokens hclsyntax.Tokens
	i      int
	block  *Item
	depth  int
	set    *Item
	header []Name
	open   []hclsyntax.TokenType // brackets in the value
	quote  *Literal
	tops   []string // names of top-level blocks
}

// Scan reads a text, whatever it is; tops are the names of the blocks that stand outside of all others. A text that is
// too long to be a template has nothing in it.
func Scan(file, text string, tops []string) *Page {
	root := &Item{Span: Span{0, len(text)}}
	p := &Page{File: file, Text: text, Root: root}
	s := scanner{page: p, block: root, tops: tops}
	if len(text) <= maxScanned {
		s.tokens = tokens(text)
	}
	for ; s.i < len(s.tokens); s.i++ {
		s.step(s.tokens[s.i])
	}
	p.end = state{block: s.block, set: s.set, header: s.header, quote: s.quote, inText: s.top() == hclsyntax.TokenOHeredoc}
	s.endSetting(len(text))
	for s.block.In != nil {
		s.endBlock(len(text))
	}
	return p
}

// tokens lexes a text. A quote that is left open ends with its line: else all that follows, up to the next quote,
// would be taken for text.
func tokens(text string) hclsyntax.Tokens {
	var all hclsyntax.Tokens
	start := hcl.InitialPos
	for mended := 0; ; mended++ {
		ts, _ := hclsyntax.LexConfig([]byte(text[start.Byte:]), "", start)
		cut := slices.IndexFunc(ts, func(t hclsyntax.Token) bool {
			return t.Type == hclsyntax.TokenQuotedNewline || t.Type == hclsyntax.TokenQuotedLit && strings.Contains(string(t.Bytes), "\n")
		})
		if cut < 0 || mended == maxMended {
			return append(all, ts...)
		}
		t := ts[cut]
		line := strings.IndexByte(string(t.Bytes), '\n')
		all = append(all, ts[:cut]...)
		if line > 0 {
			t.Bytes = t.Bytes[:line]
			t.Range.End.Byte = t.Range.Start.Byte + line
			all = append(all, t)
		}
		at := hcl.Pos{Byte: t.Range.Start.Byte + line, Line: t.Range.Start.Line, Column: 1}
		all = append(all, hclsyntax.Token{Type: hclsyntax.TokenCQuote, Range: hcl.Range{Start: at, End: at}})
		start = at
	}
}

func (s *scanner) top() hclsyntax.TokenType {
	if len(s.open) == 0 {
		return hclsyntax.TokenNil
	}
	return s.open[len(s.open)-1]
}

// next returns the type of the token i places further.
func (s *scanner) next(i int) hclsyntax.TokenType {
	if s.i+i >= len(s.tokens) || s.i+i < 0 {
		return hclsyntax.TokenEOF
	}
	return s.tokens[s.i+i].Type
}

func named(t hclsyntax.Token) Name {
	return Name{string(t.Bytes), Span{t.Range.Start.Byte, t.Range.End.Byte}}
}

func (s *scanner) step(t hclsyntax.Token) {
	if s.startsOver(t) {
		s.endSetting(t.Range.Start.Byte)
		for s.block.In != nil {
			s.endBlock(t.Range.Start.Byte)
		}
	}
	if s.set != nil {
		s.inValue(t)
		return
	}
	s.inBlock(t)
}

// startsOver reports a top-level block at a line's start: what was left open before it is over.
func (s *scanner) startsOver(t hclsyntax.Token) bool {
	if t.Type != hclsyntax.TokenIdent || t.Range.Start.Column != 1 || s.block.In == nil && s.set == nil {
		return false
	}
	follows := s.next(1)
	return (follows == hclsyntax.TokenOQuote || follows == hclsyntax.TokenOBrace) && slices.Contains(s.tops, string(t.Bytes))
}

func (s *scanner) inBlock(t hclsyntax.Token) {
	switch t.Type { //nolint:exhaustive // most tokens mean nothing here
	case hclsyntax.TokenNewline, hclsyntax.TokenComment:
		s.header, s.quote = nil, nil
	case hclsyntax.TokenIdent:
		s.header = append(s.header, named(t))
	case hclsyntax.TokenOQuote:
		s.quote = &Literal{Name: Name{Span: Span{t.Range.End.Byte, t.Range.End.Byte}}, In: s.block}
	case hclsyntax.TokenQuotedLit:
		if s.quote != nil {
			s.quote.Name = named(t)
		}
	case hclsyntax.TokenCQuote:
		if s.quote != nil {
			s.header = append(s.header, s.quote.Name)
		}
		s.quote = nil
	case hclsyntax.TokenEqual:
		if len(s.header) == 1 {
			s.set = &Item{Name: s.header[0], Span: s.header[0].Span, IsSet: true, In: s.block}
			s.block.Items = append(s.block.Items, s.set)
		}
		s.header = nil
	case hclsyntax.TokenOBrace:
		s.beginBlock(t)
	case hclsyntax.TokenCBrace:
		s.endBlock(t.Range.End.Byte)
	}
}

func (s *scanner) beginBlock(t hclsyntax.Token) {
	s.depth++
	if s.depth <= maxDepth {
		b := &Item{Span: Span{From: t.Range.Start.Byte}, In: s.block}
		if len(s.header) > 0 {
			b.Name, b.Labels = s.header[0], s.header[1:]
			b.Span.From = b.Name.Span.From
		}
		s.block.Items = append(s.block.Items, b)
		s.block = b
	}
	s.header, s.quote = nil, nil
}

func (s *scanner) endBlock(at int) {
	s.header, s.quote = nil, nil
	if s.block.In == nil {
		return
	}
	if s.depth <= maxDepth {
		s.block.Span.To = at
		s.block = s.block.In
	}
	s.depth--
}

func (s *scanner) endSetting(at int) {
	if s.set != nil {
		s.set.Span.To = max(at, s.set.Span.From)
	}
	s.set, s.open, s.quote = nil, nil, nil
}

func (s *scanner) inValue(t hclsyntax.Token) {
	switch t.Type { //nolint:exhaustive // most tokens mean nothing here
	case hclsyntax.TokenOQuote:
		s.open = append(s.open, t.Type)
		s.quote = &Literal{Name: Name{Span: Span{t.Range.End.Byte, t.Range.End.Byte}}, In: s.set, Call: s.called()}
	case hclsyntax.TokenQuotedLit:
		if s.quote != nil {
			s.quote.Name = named(t)
		}
	case hclsyntax.TokenCQuote:
		if s.quote != nil {
			s.page.Literals = append(s.page.Literals, *s.quote)
		}
		s.quote = nil
		s.pop(hclsyntax.TokenOQuote)
	case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenOHeredoc:
		s.open = append(s.open, t.Type)
	case hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
		s.quote = nil // it isn't one text
		s.open = append(s.open, t.Type)
	case hclsyntax.TokenCBrace:
		if len(s.open) == 0 {
			s.endSetting(t.Range.Start.Byte)
			s.endBlock(t.Range.End.Byte)
			return
		}
		s.pop(hclsyntax.TokenOBrace)
	case hclsyntax.TokenCBrack:
		s.pop(hclsyntax.TokenOBrack)
	case hclsyntax.TokenCParen:
		s.pop(hclsyntax.TokenOParen)
	case hclsyntax.TokenCHeredoc:
		s.pop(hclsyntax.TokenOHeredoc)
	case hclsyntax.TokenTemplateSeqEnd:
		s.pop(hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl)
	case hclsyntax.TokenNewline, hclsyntax.TokenComment:
		if len(s.open) == 0 && strings.HasSuffix(string(t.Bytes), "\n") {
			s.endSetting(t.Range.Start.Byte)
		}
	case hclsyntax.TokenIdent:
		s.use(t)
	}
}

// pop closes the innermost bracket, if it is of such a kind.
func (s *scanner) pop(kinds ...hclsyntax.TokenType) {
	if slices.Contains(kinds, s.top()) {
		s.open = s.open[:len(s.open)-1]
	}
}

// called returns the function whose first argument begins here.
func (s *scanner) called() string {
	if s.next(-1) == hclsyntax.TokenOParen && s.next(-2) == hclsyntax.TokenIdent {
		return string(s.tokens[s.i-2].Bytes)
	}
	return ""
}

// use reads a reference to its end.
func (s *scanner) use(t hclsyntax.Token) {
	follows := s.next(1)
	if s.top() == hclsyntax.TokenOBrace && (follows == hclsyntax.TokenEqual || follows == hclsyntax.TokenColon) {
		return // a key
	}
	u := Use{Steps: []Name{named(t)}, Call: follows == hclsyntax.TokenOParen, In: s.set}
	for s.next(1) == hclsyntax.TokenDot {
		s.i++
		dot := s.tokens[s.i].Range.End.Byte
		if s.next(1) != hclsyntax.TokenIdent || s.tokens[s.i+1].Range.Start.Byte != dot {
			u.Steps = append(u.Steps, Name{Span: Span{dot, dot}})
			break
		}
		s.i++
		u.Steps = append(u.Steps, named(s.tokens[s.i]))
	}
	s.page.Uses = append(s.page.Uses, u)
}
