//go:build !client

package foreign

import (
	"bytes"
	"errors"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"mvdan.cc/sh/v3/syntax"
)

// readDockerfile makes of a Dockerfile what trivy-checks wants: its stages with their instructions.
func readDockerfile(name string, text []byte) document {
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		line := 1
		var located *parser.ErrorLocation
		if errors.As(err, &located) && len(located.Locations) > 0 && len(located.Locations[0]) > 0 {
			line = located.Locations[0][0].Start.Line
		}
		return document{broken: unread(name, Dockerfile, line, err.Error())}
	}
	var stages []any
	shell := map[string]any{}
	var stage map[string]any
	for _, n := range parsed.AST.Children {
		c := instruction(n, max(0, len(stages)-1))
		switch cmd := c["Cmd"].(string); {
		case cmd == "from" || stage == nil:
			stage = map[string]any{"Name": strings.TrimSpace(strings.Join(words(n), " ")), "Commands": []any{}}
			stages = append(stages, stage)
			c["Stage"] = len(stages) - 1
		case cmd == "run":
			command := strings.Join(words(n), " ")
			shell[command] = commands(command)
		}
		list, _ := stage["Commands"].([]any)
		stage["Commands"] = append(list, c)
	}
	return document{input: map[string]any{"Stages": stages, "shell": shell}}
}

// instruction is one instruction with its arguments: a list, or one text of a shell.
func instruction(n *parser.Node, stage int) map[string]any {
	value, flags := []any{}, []any{}
	for _, w := range words(n) {
		value = append(value, w)
	}
	for _, f := range n.Flags {
		flags = append(flags, f)
	}
	c := map[string]any{
		"Cmd": strings.ToLower(n.Value), "SubCmd": "", "Flags": flags, "Value": value, "Original": n.Original,
		"JSON": n.Attributes["json"], "Stage": stage, "Path": "", "StartLine": n.StartLine, "EndLine": n.EndLine,
	}
	if n.Next != nil && len(n.Next.Children) > 0 { // ONBUILD, HEALTHCHECK
		c["SubCmd"] = strings.ToLower(n.Next.Children[0].Value)
	}
	return c
}

// words are an instruction's arguments; those of an instruction within it (ONBUILD RUN ...) too.
func words(n *parser.Node) []string {
	var all []string
	for next := n.Next; next != nil; next = next.Next {
		if len(next.Children) > 0 {
			for _, child := range next.Children {
				all = append(append(all, child.Value), words(child)...)
			}
			continue
		}
		all = append(all, next.Value)
	}
	return all
}

// commands splits a text of a shell into its simple commands, each with its words; none where it is no such text.
func commands(text string) []any {
	all := []any{}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
	if err != nil || nested(text) {
		return all
	}
	printer := syntax.NewPrinter()
	syntax.Walk(file, func(n syntax.Node) bool {
		call, ok := n.(*syntax.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		var tokens []any
		for _, word := range call.Args {
			var b strings.Builder
			if printer.Print(&b, word) == nil {
				tokens = append(tokens, strings.Trim(b.String(), `"'`))
			}
		}
		all = append(all, tokens)
		return true
	})
	return all
}

// maxNesting is how deep brackets may stand in each other: parsers that descend recursively would run out of stack.
const maxNesting = 200

// nested reports whether brackets stand in each other deeper than that, anywhere, also in quotes.
func nested(text string) bool {
	depth := 0
	for _, c := range []byte(text) {
		switch c {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth = max(0, depth-1)
		}
		if depth > maxNesting {
			return true
		}
	}
	return false
}
