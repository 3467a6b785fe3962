// Package pack makes an image of a tree: it cuts the tree into layers that a patch moves few of, packs them, and makes
// a root file system of them that images with the same layers share most of. It knows nothing of how the tree
// came about, installs nothing and mounts nothing.
package pack

import (
	"imx/internal/blob"
	"imx/internal/build/store"
	"imx/internal/erofs"
)

// The kinds of results that a Packer keeps:
//
//	layers/<digest of the items>     a layer (JSON; bytes in the blob store)
//	roots/<digest of the manifest>   the digest of the image's root file system: roots/<digest>.erofs
//	roots/<digest of a layer>.part   a layer without compression, where roots have their files' content
const (
	layersKind = "layers"
	rootsKind  = "roots"
)

// Kinds are the kinds of results that a Packer's store must have been opened with.
func Kinds() []string { return []string{layersKind, rootsKind} }

// Packer packs into a blob store, and keeps in a store what it needs not do again. Its methods may be called
// from several goroutines at once.
type Packer struct {
	store   *store.Store
	blobs   *blob.Store
	checker erofs.Checker // of roots
}

// New returns a packer. The store has the kinds of Kinds.
func New(s *store.Store, blobs *blob.Store) *Packer { return &Packer{store: s, blobs: blobs} }
