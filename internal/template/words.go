package template

import (
	"slices"
	"strings"

	"imx"
)

// Word is a block, a setting or a function of the language, as an editor offers it.
type Word struct {
	Name string
	Doc  string // one sentence, in Markdown
	// Type is a setting's; "" for a block and a function.
	Type string
	// Label is an example of a block's label; "" where it has none.
	Label string
	// Example is a value of a setting, or a call of a function, as it is written.
	Example string
	// Needed are the settings that must be written in a block, and whether this setting must.
	Needed []Word
	Must   bool
}

// Inside returns what may stand in the block of a path, "service.health": its settings and its blocks, in the order of
// the reference; nothing for a path that isn't a block's. The path of a template as a whole is "".
func Inside(path string) (settings, blocks []Word) {
	b, st, err := find(path)
	if err != nil || st.name != "" {
		return nil, nil
	}
	for _, s := range b.settings {
		settings = append(settings, s.inWord())
	}
	for _, n := range b.blocks {
		w := Word{Name: n.name, Doc: n.doc, Label: n.sample}
		for _, s := range n.settings {
			if s.need == required {
				w.Needed = append(w.Needed, s.inWord())
			}
		}
		blocks = append(blocks, w)
	}
	if path == "" {
		blocks = append(blocks, Word{Name: "locals", Doc: "Values that are named once, `NAME = ...`, and used in many places as `local.NAME`."})
	}
	return settings, blocks
}

func (s setting) inWord() Word {
	return Word{Name: s.name, Doc: s.doc, Type: s.word, Example: s.example, Must: s.need == required}
}

// Functions returns the functions that expressions may call.
func Functions() []Word {
	var all []Word
	for _, f := range newDecoder(nil, newReport()).functions() {
		all = append(all, Word{Name: f.name, Doc: f.doc, Example: f.usage})
	}
	return slices.SortedStableFunc(slices.Values(all), func(a, b Word) int { return strings.Compare(a.Name, b.Name) })
}

// IsTemplate reports whether a file of that name is part of a template.
func IsTemplate(name string) bool {
	return strings.HasSuffix(name, suffix) && !strings.HasPrefix(name, ".")
}

// Name says what is wrong with a text as the name of a block, nil if nothing is. The error is of kind Invalid.
func Name(text string) error {
	if f := isName(text); f.summary != "" {
		e := imx.Errorf(imx.Invalid, "the name %s", f.summary)
		if f.hint != "" {
			return e.WithHint("%s", f.hint)
		}
		return e
	}
	return nil
}
