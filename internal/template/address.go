package template

import (
	"strconv"
	"strings"

	"imx"
)

// addresses returns where everything stands that was written in a block with a name of its own, which waivers
// don't have: there may be several for one rule.
func (r *report) addresses() map[string]imx.Pos {
	all := make(map[string]imx.Pos, len(r.places))
	for p, at := range r.places {
		if !strings.HasPrefix(string(p), "/waiver[") {
			all[imx.Address(r.way(p)...)] = at
		}
	}
	return all
}

// way returns the steps that lead to a place, in a template's words: blocks by their labels.
func (r *report) way(p place) []string {
	var way []string
	rest := string(p)
	for strings.HasPrefix(rest, "/") {
		end := strings.IndexByte(rest, ']') + 1
		name, i, _ := strings.Cut(rest[1:end], "[")
		way = append(way, name)
		rest = rest[end:]
		if label, ok := r.labels[p[:len(p)-len(rest)]]; ok {
			way = append(way, label)
		} else if i != "0]" { // of blocks without a label, the first is the one
			way = append(way, strings.TrimSuffix(i, "]"))
		}
	}
	setting, part, isPart := strings.Cut(strings.TrimPrefix(rest, "."), "[")
	if setting != "" {
		way = append(way, setting)
	}
	if !isPart {
		return way
	}
	part = strings.TrimSuffix(part, "]")
	if name, err := strconv.Unquote(part); err == nil {
		part = name
	}
	return append(way, part)
}
