//go:build !client

package foreign

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readCloudFormation makes of a CloudFormation template, in YAML or JSON, a list of its resources and one of its
// parameters. What only CloudFormation knows is the text "${...}".
func readCloudFormation(name string, text []byte) document {
	nodes, err := readYAML(text)
	if err != nil {
		return document{broken: unread(name, CloudFormation, lineOf(err), strings.TrimPrefix(err.Error(), "yaml: "))}
	}
	doc := document{input: map[string]any{}, places: map[string]lines{}}
	if len(nodes) == 0 {
		return doc
	}
	found := map[string]lines{}
	r := &reader{name: name, left: maxNodes, tag: intrinsic, see: func(way []string, n *yaml.Node) {
		found[strings.Join(way, "\x00")] = lines{n.Line, lastLine(n)}
	}}
	v, err := r.value(nodes[0], nil)
	if err != nil {
		return document{broken: unread(name, CloudFormation, 1, err.Error())}
	}
	root, _ := v.(map[string]any)
	for kind, list := range map[string]string{"Resources": "resources", "Parameters": "parameters"} {
		things, _ := root[kind].(map[string]any)
		all := []any{}
		for _, id := range slices.Sorted(maps.Keys(things)) {
			thing, _ := things[id].(map[string]any)
			values := thing
			from := kind + "\x00" + id
			at := strconv.Itoa(len(all))
			if kind == "Parameters" {
				at = "parameter" + at
			}
			doc.places[at] = found[from]
			if kind == "Resources" {
				values, _ = thing["Properties"].(map[string]any)
				from += "\x00Properties"
			}
			for way, where := range found {
				if rest, ok := strings.CutPrefix(way, from+"\x00"); ok {
					doc.places[at+"\x00"+rest] = where
				}
			}
			if values == nil {
				values = map[string]any{}
			}
			all = append(all, map[string]any{"language": "cloudformation", "mode": "resource", "type": thing["Type"], "name": id, "values": values})
		}
		doc.input[list] = all
	}
	return doc
}

// intrinsic writes what is worked out later as "${...}": !Ref X, and the same in its long form.
func intrinsic(n *yaml.Node, v any) any {
	if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		return "${" + strings.TrimPrefix(n.Tag, "!") + " " + n.Value + "}"
	}
	m, ok := v.(map[string]any)
	if !ok || len(m) != 1 {
		return v
	}
	for key := range m {
		if key == "Ref" || strings.HasPrefix(key, "Fn::") {
			return "${" + key + "}"
		}
	}
	return v
}
