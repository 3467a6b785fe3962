package template

import "strings"

// Samples returns one template with the example of every setting of the table.
func Samples() string {
	var b strings.Builder
	for _, n := range templateBlock().blocks {
		sampleTree(&b, n)
	}
	return b.String()
}

// sampleTree nests the samples; of a health's two checks it takes the first.
func sampleTree(b *strings.Builder, s *block) {
	b.WriteString(strings.TrimSuffix(sampleOf(s, ""), "}\n"))
	for _, n := range s.blocks {
		if n.name == "tcp" {
			continue
		}
		sampleTree(b, n)
	}
	b.WriteString("}\n")
}
