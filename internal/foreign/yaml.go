//go:build !client

package foreign

import (
	"bytes"
	"errors"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of what one YAML text may grow to: aliases repeat what they name.
const (
	maxNodes     = 100_000
	maxDocuments = 500
)

var errTooMuch = errors.New("it grows too large, or is nested too deep")

// readYAML reads the documents of a text.
func readYAML(text []byte) ([]*yaml.Node, error) {
	if nested(string(text)) {
		return nil, errTooMuch
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var all []*yaml.Node
	for {
		var n yaml.Node
		switch err := d.Decode(&n); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return all, err
		case len(all) == maxDocuments:
			return all, errTooMuch
		}
		if len(n.Content) == 1 {
			all = append(all, n.Content[0])
		}
	}
}

// lineOf is the line that a parser's message speaks of, 1 if it names none.
func lineOf(err error) int {
	m := regexp.MustCompile(`line (\d+)`).FindStringSubmatch(err.Error())
	if m == nil {
		return 1
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 1
	}
	return n
}

// reader turns nodes into what JSON has.
type reader struct {
	name  string
	left  int
	lined bool // maps say on which lines they stand, as trivy-checks wants it
	tag   func(n *yaml.Node, v any) any
	see   func(way []string, n *yaml.Node)
}

func (r *reader) value(n *yaml.Node, way []string) (any, error) {
	if r.left--; r.left < 0 || len(way) > maxNesting {
		return nil, errTooMuch
	}
	if r.see != nil && n.Kind != yaml.AliasNode {
		r.see(way, n)
	}
	var v any
	var err error
	switch n.Kind {
	case yaml.AliasNode:
		return r.value(n.Alias, append(way, "*"))
	case yaml.MappingNode:
		v, err = r.mapping(n, way)
	case yaml.SequenceNode:
		v, err = r.sequence(n, way)
	default:
		v = scalar(n)
	}
	if err == nil && r.tag != nil {
		v = r.tag(n, v)
	}
	return v, err
}

func (r *reader) mapping(n *yaml.Node, way []string) (any, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, child := n.Content[i], n.Content[i+1]
		v, err := r.value(child, append(way[:len(way):len(way)], key.Value))
		if err != nil {
			return nil, err
		}
		if r.see != nil {
			r.see(append(way[:len(way):len(way)], key.Value), key)
		}
		m[key.Value] = v
	}
	if r.lined {
		m["__defsec_metadata"] = map[string]any{"startline": n.Line, "endline": lastLine(n), "filepath": r.name, "offset": 0}
	}
	return m, nil
}

func (r *reader) sequence(n *yaml.Node, way []string) (any, error) {
	all := []any{}
	for i, child := range n.Content {
		v, err := r.value(child, append(way[:len(way):len(way)], strconv.Itoa(i)))
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// lastLine is where a node ends, as far as its last part's beginning tells.
func lastLine(n *yaml.Node) int {
	for len(n.Content) > 0 {
		n = n.Content[len(n.Content)-1]
	}
	return n.Line
}

func scalar(n *yaml.Node) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		var f float64
		if n.Decode(&f) == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
	}
	return n.Value
}

// readKubernetes makes of each object in a text a document.
func readKubernetes(name string, text []byte) []document {
	nodes, err := readYAML(text)
	var all []document
	for _, n := range nodes {
		r := &reader{name: name, left: maxNodes, lined: true}
		v, failed := r.value(n, nil)
		if failed != nil {
			err = failed
			continue
		}
		object, _ := v.(map[string]any)
		if object["kind"] == nil || object["apiVersion"] == nil {
			continue
		}
		all = append(all, document{input: object, places: map[string]lines{"": {n.Line, lastLine(n)}}})
	}
	if err != nil {
		all = append(all, document{broken: unread(name, Kubernetes, lineOf(err), strings.TrimPrefix(err.Error(), "yaml: "))})
	}
	return all
}
