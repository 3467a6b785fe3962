package template

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const (
	// maxNesting is how deep brackets, blocks, quotes and directives may stand in each other. The
	// HCL parser descends recursively, and a full stack, which no Go program can catch, was seen
	// below 100,000 levels of each kind; people stay below ten.
	maxNesting = 100
	// maxOperators is how many operators, indices and attribute steps one expression may chain:
	// each is a level that the parser or the evaluation descends.
	maxOperators = 1000
)

// located is a flaw at a range.
type located struct {
	flaw
	at hcl.Range
}

// lexer is hclsyntax.LexConfig or LexTemplate, which don't recurse.
type lexer func(src []byte, filename string, start hcl.Pos) (hclsyntax.Tokens, hcl.Diagnostics)

// level is a bracket, quote or directive that is open.
type level struct {
	open      hclsyntax.TokenType
	operators int // in the expression that is being read
}

// TooDeep reports whether a text in HCL would make its parser recurse without bound.
func TooDeep(text []byte) bool { return tooDeep("", text, hclsyntax.LexConfig) != nil }

// tooDeep finds the first thing in a text that would make the HCL parser, or the evaluation of
// what it returns, recurse without bound.
func tooDeep(name string, text []byte, lex lexer) *located {
	tokens, _ := lex(text, name, hcl.InitialPos)
	closer, chaining := closers(), chaining()
	levels, directives := []level{{open: hclsyntax.TokenOBrace}}, 0
	for i, t := range tokens {
		top := &levels[len(levels)-1]
		switch {
		case t.Type == hclsyntax.TokenComma, t.Type == hclsyntax.TokenNewline && top.open == hclsyntax.TokenOBrace:
			top.operators = 0
		case slices.Contains(chaining, t.Type):
			top.operators++
		}
		if top.operators > maxOperators {
			return &located{at: t.Range, flaw: flaw{
				summary: fmt.Sprintf("one expression chains more than %d operators", maxOperators),
				hint:    "use join() or format(), or split it in locals { }",
			}}
		}
		switch {
		case closer[t.Type] != 0:
			levels = append(levels, level{open: t.Type})
		case len(levels) > 1 && closer[top.open] == t.Type:
			levels = levels[:len(levels)-1]
		}
		directives += directive(tokens, i)
		if len(levels)+directives > maxNesting+1 {
			return &located{at: t.Range, flaw: flaw{
				summary: fmt.Sprintf("brackets, blocks and quotes are nested more than %d deep", maxNesting),
				hint:    "give the inner parts names in locals { }",
			}}
		}
	}
	return nil
}

// closers are the tokens that open a level, each with the one that closes it.
func closers() map[hclsyntax.TokenType]hclsyntax.TokenType {
	return map[hclsyntax.TokenType]hclsyntax.TokenType{
		hclsyntax.TokenOBrace:          hclsyntax.TokenCBrace,
		hclsyntax.TokenOBrack:          hclsyntax.TokenCBrack,
		hclsyntax.TokenOParen:          hclsyntax.TokenCParen,
		hclsyntax.TokenOQuote:          hclsyntax.TokenCQuote,
		hclsyntax.TokenOHeredoc:        hclsyntax.TokenCHeredoc,
		hclsyntax.TokenTemplateInterp:  hclsyntax.TokenTemplateSeqEnd,
		hclsyntax.TokenTemplateControl: hclsyntax.TokenTemplateSeqEnd,
	}
}

// directive says whether an %{ if } or %{ for } starts (1) or ends (-1) at a token: what stands
// between the two is a level too, although the braces of both are closed.
func directive(tokens hclsyntax.Tokens, i int) int {
	if tokens[i].Type != hclsyntax.TokenTemplateControl || i+1 == len(tokens) {
		return 0
	}
	switch string(tokens[i+1].Bytes) {
	case "if", "for":
		return 1
	case "endif", "endfor":
		return -1
	}
	return 0
}

// chaining are the tokens that continue or prefix an expression.
func chaining() []hclsyntax.TokenType {
	return []hclsyntax.TokenType{
		hclsyntax.TokenBang, hclsyntax.TokenMinus, hclsyntax.TokenPlus, hclsyntax.TokenStar, hclsyntax.TokenSlash,
		hclsyntax.TokenPercent, hclsyntax.TokenAnd, hclsyntax.TokenOr, hclsyntax.TokenEqualOp, hclsyntax.TokenNotEqual,
		hclsyntax.TokenLessThan, hclsyntax.TokenLessThanEq, hclsyntax.TokenGreaterThan, hclsyntax.TokenGreaterThanEq,
		hclsyntax.TokenQuestion, hclsyntax.TokenColon, hclsyntax.TokenDot, hclsyntax.TokenOBrack,
	}
}
