package template

import (
	_ "embed"
	"fmt"
	"strings"

	"imx"
)

//go:embed example.imx.hcl
var example string

// Reference returns the Markdown of docs/template.md, the reference of the language, as the table
// of settings has it.
func Reference() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# The template language

A template is one folder: every file in it whose name ends in `+"`%s`"+`, read in the order of their
names as if they were one, and the files that these take in with `+"`file()`"+`. The language is HCL 2,
with the blocks, references and functions below. `+"`imx check`"+` reports every mistake at once.

## An example

`+"```hcl\n%s```"+`

## References

| write | it stands for |
|---|---|
| `+"`archive.NAME`, `image.NAME`"+` | the block of that name; `+"`archive.host`"+` is the machine's own apt sources |
| `+"`service.NAME.port.PORT`"+` | a port of a service, in `+"`connect`"+` |
| `+"`service.NAME.port.PORT.address`"+` | `+"`\"db:5432\"`"+`; also `+"`.host`"+`, `+"`\"db\"`"+`, and `+"`.number`"+`, `+"`5432`"+`: in any text, of a service in `+"`connect`"+` |
| `+"`service.NAME`"+` | a service as a whole, in a waiver's `+"`for`"+` |
| `+"`local.NAME`"+` | a value that is named once in `+"`locals { NAME = ... }`"+` and used in many places |

## Functions

Paths are relative to the template's folder and may not leave it.

| example | gives |
|---|---|
`, suffix, example)
	for _, f := range newDecoder(nil, newReport()).functions() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", f.usage, f.doc)
	}
	for _, s := range templateBlock().blocks {
		writeSection(&b, s, "", 2)
	}
	fmt.Fprintf(&b, `
## Limits

Names are %s. The `+"`%s`"+` files may have %v together, and with the files that they
take in %v; a file for `+"`templatefile()`"+` %v. There may be %d blocks and %d locals, brackets, blocks and
quotes nested %d deep, and %d operators in one expression. Text is kept in Unicode's normal form C; a whole
`+"`content = file(\"x\")`"+` takes any bytes unchanged.
`, nameForm, suffix, maxText, maxTotal, maxText, maxDeclared, maxDeclared, maxNesting, maxOperators)
	return b.String()
}

// writeSection writes a block's part of the reference and those of the blocks inside of it.
func writeSection(b *strings.Builder, s *block, outer string, level int) {
	name := strings.TrimPrefix(outer+"."+s.name, ".")
	fmt.Fprintf(b, "\n%s %s\n\n%s\n\n", strings.Repeat("#", level), name, s.doc)
	fmt.Fprintf(b, "```hcl\n%s```\n\n| setting | type | default | what it is |\n|---|---|---|---|\n", sampleOf(s, ""))
	for _, st := range s.settings {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", st.name, st.word, st.otherwise(), st.doc)
	}
	for _, n := range s.blocks {
		writeSection(b, n, name, level+1)
	}
}

// otherwise says what holds where a setting isn't written.
func (s setting) otherwise() string {
	switch {
	case s.need == required:
		return "**required**"
	case s.def != "":
		return "`" + s.def + "`"
	}
	return s.unset
}

// sampleOf writes a block with the example of each of its settings.
func sampleOf(s *block, indent string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s {\n", indent, s.header(s.sample))
	width := 0
	for _, st := range s.settings {
		width = max(width, len(st.name))
	}
	for _, st := range s.settings {
		fmt.Fprintf(&b, "%s  %-*s = %s\n", indent, width, st.name, st.example)
	}
	fmt.Fprintf(&b, "%s}\n", indent)
	return b.String()
}

// find returns the block that a path such as "service.port" names, and the setting where its last
// word is one.
func find(path string) (*block, setting, error) {
	b := templateBlock()
	if path == "" {
		return b, setting{}, nil
	}
	words := strings.Split(path, ".")
	for i, word := range words {
		if n, ok := b.block(word); ok {
			b = n
			continue
		}
		if s, ok := b.setting(word); ok && i == len(words)-1 {
			return b, s, nil
		}
		return nil, setting{}, imx.Errorf(imx.NotFound, "the template language has no %q", path).
			WithHint("%s", known(word, append(b.blockNames(), b.settingNames()...), strings.TrimPrefix(strings.Join(words[:i], ".")+".", "."), ""))
	}
	return b, setting{}, nil
}

// Help explains, as plain text, one block or setting by its path, "service.health" or
// "service.health.every", and lists the blocks of a template for "". The error is of kind NotFound and names the nearest.
func Help(path string) (string, error) {
	s, st, err := find(path)
	if err != nil {
		return "", err
	}
	plainText := strings.NewReplacer("`", "", "**", "")
	if st.name != "" {
		return plainText.Replace(fmt.Sprintf("%s (%s; default: %s)\n  %s\n\n  %s = %s\n", path, st.word, st.otherwise(), st.doc, st.name, st.example)), nil
	}
	var b strings.Builder
	if s.name != "" {
		fmt.Fprintf(&b, "%s\n  %s\n\n%s\n", path, s.doc, sampleOf(s, "  "))
	}
	for _, st := range s.settings {
		fmt.Fprintf(&b, "  %-12s %s (%s; default: %s)\n", st.name, st.doc, st.word, st.otherwise())
	}
	for _, n := range s.blocks {
		fmt.Fprintf(&b, "  %-12s %s\n", n.name+" {}", n.doc)
	}
	return plainText.Replace(b.String()), nil
}

// Complete returns the paths for Help that begin with a prefix, as far as the next dot, each with
// a tab and its description: the form that shells' completions take. A path that more can follow
// stands with and without its dot.
func Complete(prefix string) []string {
	outer, b := "", templateBlock()
	if i := strings.LastIndexByte(prefix, '.'); i >= 0 {
		found, st, err := find(prefix[:i])
		if err != nil || st.name != "" {
			return nil
		}
		outer, b = prefix[:i+1], found
	}
	var all []string
	offer := func(word, doc string) {
		if strings.HasPrefix(outer+word, prefix) {
			all = append(all, outer+word+"\t"+strings.ReplaceAll(doc, "`", ""))
		}
	}
	for _, n := range b.blocks {
		offer(n.name, n.doc)
		offer(n.name+".", "what stands in "+n.name)
	}
	for _, s := range b.settings {
		offer(s.name, s.doc)
	}
	return all
}
