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

// sampleTree nests the samples.
func sampleTree(b *strings.Builder, s *block) {
	b.WriteString(strings.TrimSuffix(sampleOf(s, ""), "}\n"))
	for _, n := range s.blocks {
		if s.name == "health" && (n.name == "tcp" || n.name == "grpc" || n.name == "command") { // it has one check
			continue
		}
		sampleTree(b, n)
	}
	b.WriteString("}\n")
}
