package deb

import (
	"slices"
	"strings"
)

// Relation is one package that a relation field names, with what it demands of it: in
// "libc6:any (>= 2.36) [amd64]" all parts are there.
type Relation struct {
	Name          string
	Qualifier     string   // "any", "native" or an architecture; "" means the depending package's own
	Op            string   // "<<", "<=", "=", ">=", ">>"; "" means any version
	Version       string   // "" where Op is
	Architectures []string // the relation holds on these alone, or on all but these where they begin with "!"
}

// Group is one relation of a field: alternatives, of which one is enough. Fields other than the
// Depends family have groups of one.
type Group []Relation

// ParseRelations reads the value of a relation field: Depends, Pre-Depends, Provides, Conflicts,
// Breaks, Replaces (Debian policy 7.1). An empty value has no groups. Build profiles ("<!nocheck>")
// are refused: only source packages have them.
func ParseRelations(field string) ([]Group, error) {
	if strings.TrimSpace(field) == "" {
		return nil, nil
	}
	groups := make([]Group, 0, strings.Count(field, ",")+1)
	for part := range strings.SplitSeq(field, ",") {
		if strings.TrimSpace(part) == "" {
			continue // dpkg lets an empty one pass, as behind a comma at the end
		}
		var g Group
		for alternative := range strings.SplitSeq(part, "|") {
			r, err := parseRelation(alternative)
			if err != nil {
				return nil, err
			}
			g = append(g, r)
		}
		groups = append(groups, g)
	}
	return groups, nil
}

func parseRelation(s string) (Relation, error) {
	text := strings.TrimSpace(s)
	end := strings.IndexAny(text, " \t\n([")
	if end < 0 {
		end = len(text)
	}
	name, qualifier, qualified := strings.Cut(text[:end], ":")
	r := Relation{Name: name, Qualifier: qualifier}
	if CheckName(name) != nil || qualified && CheckArchitecture(qualifier) != nil {
		return Relation{}, refused("relation %.60q names no package", text)
	}
	rest := strings.TrimSpace(text[end:])
	if inner, after, ok := cutBrackets(rest, '(', ')'); ok {
		if r.Op, r.Version, ok = parseConstraint(inner); !ok {
			return Relation{}, refused("relation %.60q has no usable version", text)
		}
		rest = after
	}
	if inner, after, ok := cutBrackets(rest, '[', ']'); ok {
		r.Architectures = strings.Fields(inner)
		rest = after
	}
	if rest != "" {
		return Relation{}, refused("relation %.60q has %.20q too much", text, rest)
	}
	return r, nil
}

func cutBrackets(s string, left, right byte) (inner, after string, ok bool) {
	if s == "" || s[0] != left {
		return "", s, false
	}
	end := strings.IndexByte(s, right)
	if end < 0 {
		return "", s, false
	}
	return s[1:end], strings.TrimSpace(s[end+1:]), true
}

// parseConstraint reads ">= 1.0". A lone "<" or ">" is the obsolete way to write "<=" and ">=".
func parseConstraint(s string) (op, version string, ok bool) {
	s = strings.TrimSpace(s)
	op = s[:len(s)-len(strings.TrimLeft(s, "<>="))]
	version = strings.TrimSpace(s[len(op):])
	switch op {
	case "<<", "<=", "=", ">=", ">>":
	case "<":
		op = "<="
	case ">":
		op = ">="
	default:
		return "", "", false
	}
	return op, version, CheckVersion(version) == nil
}

// Allows reports whether the version meets the relation's demand. A relation without one allows
// any version; an unknown version, "", meets no demand: so it is with unversioned Provides.
func (r Relation) Allows(version string) bool {
	if r.Op == "" {
		return true
	}
	if version == "" {
		return false
	}
	c := Compare(version, r.Version)
	switch r.Op {
	case "<<":
		return c < 0
	case "<=":
		return c <= 0
	case "=":
		return c == 0
	case ">=":
		return c >= 0
	}
	return c > 0
}

// On reports whether the relation holds at all on the architecture.
func (r Relation) On(architecture string) bool {
	if len(r.Architectures) == 0 {
		return true
	}
	if strings.HasPrefix(r.Architectures[0], "!") {
		return !slices.Contains(r.Architectures, "!"+architecture)
	}
	return slices.Contains(r.Architectures, architecture)
}

// String writes the relation as a control file does.
func (r Relation) String() string {
	s := r.Name
	if r.Qualifier != "" {
		s += ":" + r.Qualifier
	}
	if r.Op != "" {
		s += " (" + r.Op + " " + r.Version + ")"
	}
	if len(r.Architectures) > 0 {
		s += " [" + strings.Join(r.Architectures, " ") + "]"
	}
	return s
}

// String writes the alternatives as a control file does.
func (g Group) String() string {
	parts := make([]string, 0, len(g))
	for _, r := range g {
		parts = append(parts, r.String())
	}
	return strings.Join(parts, " | ")
}
