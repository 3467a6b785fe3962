package eventlog

import (
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// tileHeight is the height of a tile in levels of the tree, as C2SP tlog-tiles has it: a full
// tile holds 256 hashes.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// tree is a Merkle tree as far as it is needed to grow it: the hashes in the last tile of each
// tile level, which isn't full yet. The zero tree is empty.
type tree struct {
	size int64
	edge [][]tlog.Hash // by tile level; at most 255 each
}

// tile is a tile with its hashes.
type tile struct {
	level  int
	number int64
	hashes []tlog.Hash
}

func (t *tree) clone() tree {
	c := tree{size: t.size, edge: make([][]tlog.Hash, len(t.edge))}
	for i, e := range t.edge {
		c.edge[i] = slices.Clone(e)
	}
	return c
}

// add appends a record's hash and returns the tiles that it made full.
func (t *tree) add(h tlog.Hash) []tile {
	var full []tile
	t.size++
	for level := 0; ; level++ {
		if level == len(t.edge) {
			t.edge = append(t.edge, nil)
		}
		t.edge[level] = append(t.edge[level], h)
		if len(t.edge[level]) < tileWidth {
			return full
		}
		hashes := t.edge[level]
		t.edge[level] = nil
		full = append(full, tile{level: level, number: t.size>>(tileHeight*(level+1)) - 1, hashes: hashes})
		h = join(hashes)
	}
}

// partial returns the tiles that aren't full.
func (t *tree) partial() []tile {
	var list []tile
	for level, hashes := range t.edge {
		if len(hashes) > 0 {
			list = append(list, tile{level: level, number: t.size >> (tileHeight * (level + 1)), hashes: hashes})
		}
	}
	return list
}

// root is the hash of the whole tree (RFC 6962, section 2.1): of the complete subtrees that it is
// made of, from the largest on the left to the smallest on the right.
func (t *tree) root() tlog.Hash {
	var subtrees []tlog.Hash
	for _, hashes := range slices.Backward(t.edge) {
		for len(hashes) > 0 {
			n := 1 << (bits.Len(uint(len(hashes))) - 1)
			subtrees = append(subtrees, join(hashes[:n]))
			hashes = hashes[n:]
		}
	}
	if len(subtrees) == 0 {
		empty, _ := tlog.TreeHash(0, nil) // it reads nothing for an empty tree
		return empty
	}
	h := subtrees[len(subtrees)-1]
	for _, left := range slices.Backward(subtrees[:len(subtrees)-1]) {
		h = tlog.NodeHash(left, h)
	}
	return h
}

// join is the hash of the complete subtree over a power of two of hashes.
func join(hashes []tlog.Hash) tlog.Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	half := len(hashes) / 2
	return tlog.NodeHash(join(hashes[:half]), join(hashes[half:]))
}
