// Package changeset lays the layers of an OCI image over each other (OCI image specification, "Image Layer
// Filesystem Changeset"), whatever is known of each path, and takes the compression off them. Layers are
// taken for hostile: the work of a layer is in proportion to what it and those below it hold.
package changeset

import (
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
)

// Stack is what the layers so far come to, with something of type E for each path. Paths are relative,
// and cleaned by the stack. The zero value is empty, and before its first layer.
type Stack[E any] struct {
	root  node[E]
	layer int // number of the layer at hand
	names int
}

type node[E any] struct {
	entry    E
	layer    int // that the entry is of; 0 for a name that only others lie below
	cleared  int // the last layer that took away what those before it had below
	children map[string]*node[E]
}

// Layer begins the next layer.
func (s *Stack[E]) Layer() { s.layer++ }

// Whiteout does what an entry's name says, if that takes something away from the layers below; it
// reports whether it is such a name. What the layer at hand itself has stays.
func (s *Stack[E]) Whiteout(name string) bool {
	dir, base := path.Split(clean(name))
	hidden, ok := strings.CutPrefix(base, ".wh.")
	switch {
	case !ok:
		return false
	case base == ".wh..wh..opq":
		if n := s.find(dir); n != nil {
			s.clear(n)
		}
	default:
		parent := s.find(dir)
		if parent == nil || parent.children[hidden] == nil {
			return true
		}
		n := parent.children[hidden]
		s.clear(n)
		if n.layer < s.layer {
			n.layer = 0
		}
		s.prune(parent, hidden)
	}
	return true
}

// Put adds an entry of the layer at hand in the place of what is at its path. What is below stays: it is a
// directory's.
func (s *Stack[E]) Put(name string, e E) {
	n := s.make(name)
	n.entry, n.layer = e, s.layer
}

// PutLeaf adds an entry that nothing can be below: what was is taken away.
func (s *Stack[E]) PutLeaf(name string, e E) {
	s.Put(name, e)
	n := s.make(name)
	s.names -= n.count()
	n.children = nil
}

// Remove takes a path away with all below it, whichever layer has it.
func (s *Stack[E]) Remove(name string) {
	dir, base := path.Split(clean(name))
	parent := s.find(dir)
	if parent == nil || parent.children[base] == nil {
		return
	}
	s.names -= parent.children[base].count() + 1
	delete(parent.children, base)
}

// Get returns the entry of a path.
func (s *Stack[E]) Get(name string) (e E, ok bool) {
	n := s.find(clean(name))
	if n == nil || n.layer == 0 {
		return e, false
	}
	return n.entry, true
}

// Names is how many names the stack keeps in memory: at least those of its entries and of the folders above them.
func (s *Stack[E]) Names() int { return s.names }

// All yields the entries, each after those above it.
func (s *Stack[E]) All() iter.Seq2[string, E] {
	return func(yield func(string, E) bool) { s.root.all(".", yield) }
}

func (n *node[E]) all(name string, yield func(string, E) bool) bool {
	if n.layer > 0 && !yield(name, n.entry) {
		return false
	}
	for _, base := range slices.Sorted(maps.Keys(n.children)) {
		if !n.children[base].all(path.Join(name, base), yield) {
			return false
		}
	}
	return true
}

// clean makes of a name a path that doesn't leave the root; the root is "".
func clean(name string) string { return strings.Trim(path.Join("/", name), "/") }

// find returns the node of a path, nil where there is none.
func (s *Stack[E]) find(name string) *node[E] {
	n := &s.root
	for part := range strings.SplitSeq(name, "/") {
		if part == "" {
			continue
		}
		if n = n.children[part]; n == nil {
			return nil
		}
	}
	return n
}

// make returns the node of a path, which it makes where there is none.
func (s *Stack[E]) make(name string) *node[E] {
	n := &s.root
	for part := range strings.SplitSeq(clean(name), "/") {
		if part == "" {
			continue
		}
		next := n.children[part]
		if next == nil {
			if n.children == nil {
				n.children = map[string]*node[E]{}
			}
			next = &node[E]{}
			n.children[part] = next
			s.names++
		}
		n = next
	}
	return n
}

// clear takes away what layers below the one at hand have below a node. Once that was done for a layer
// there is nothing left to do, however often it says so.
func (s *Stack[E]) clear(n *node[E]) {
	if n.cleared == s.layer {
		return
	}
	n.cleared = s.layer
	for base, child := range n.children {
		s.clear(child)
		if child.layer < s.layer {
			child.layer = 0
		}
		s.prune(n, base)
	}
}

// prune forgets a child that neither is an entry nor has any below it.
func (s *Stack[E]) prune(n *node[E], base string) {
	if child := n.children[base]; child.layer == 0 && len(child.children) == 0 {
		delete(n.children, base)
		s.names--
	}
}

// count returns how many names are below a node.
func (n *node[E]) count() int {
	all := len(n.children)
	for _, child := range n.children {
		all += child.count()
	}
	return all
}
