package erofs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"imx"
)

// BlockSize is that of an image with parts, in bytes: what a tar archive is aligned to, so that the
// archive of a layer is a part as it is.
const BlockSize = 512

// maxParts is how many parts an image can have: what a chunk's index has room for, less one.
const maxParts = 1<<16 - 2

// Part is a file that images have content in. It lies beside the image, under the name of PartFile.
type Part struct {
	Digest imx.Digest // of all of it
	Size   int64
}

// Place is where a file's content is.
type Place struct {
	Part   int   // its number in WriteIndex's list
	Offset int64 // of its first byte, a multiple of BlockSize
}

// PartFile returns the path under which an image's part must be for Mount.
func PartFile(image string, part imx.Digest) string {
	return filepath.Join(filepath.Dir(image), part.Hex()+".part")
}

// WriteIndex is Write for entries whose content lies in parts, as far as their In says so. Parts that no entry has
// content in don't become the image's. The image's bytes decide about the parts' too: it names each by its
// digest. With no parts it is Write.
func WriteIndex(w io.WriteSeeker, entries []Entry, parts []Part, epoch time.Time) error {
	entries, parts, err := used(entries, parts)
	if err != nil {
		return err
	}
	if err := write(w, entries, parts, epoch); err != nil {
		return err
	}
	return label(w, parts)
}

// used returns the parts that entries have content in, and the entries with these parts' numbers.
func used(entries []Entry, parts []Part) ([]Entry, []Part, error) {
	there := make([]bool, len(parts))
	for _, e := range entries {
		if !e.outside() {
			continue
		}
		if err := e.In.check(e, parts); err != nil {
			return nil, nil, err
		}
		there[e.In.Part] = true
	}
	var left []Part
	numbers := make([]int, len(parts))
	for i, p := range parts {
		if there[i] {
			numbers[i] = len(left)
			left = append(left, p)
		}
	}
	renumbered := make([]Entry, 0, len(entries))
	for _, e := range entries {
		if e.outside() {
			e.In = &Place{Part: numbers[e.In.Part], Offset: e.In.Offset}
		}
		renumbered = append(renumbered, e)
	}
	if len(left) > maxParts {
		return nil, nil, invalid("%d parts, an image can have %d", len(left), maxParts)
	}
	return renumbered, left, nil
}

// outside reports whether the entry's content is in a part. That of a file with attributes isn't: go-erofs
// doesn't align the index that follows them.
func (e Entry) outside() bool {
	return e.In != nil && e.Mode.IsRegular() && e.Size > 0 && len(e.Xattrs) == 0
}

func (p *Place) check(e Entry, parts []Part) error {
	switch {
	case p.Part < 0 || p.Part >= len(parts):
		return invalid("the content of %q is in part %d, of %d", e.Path, p.Part, len(parts))
	case p.Offset < 0 || p.Offset%BlockSize != 0:
		return invalid("the content of %q begins at %d, which is within a block", e.Path, p.Offset)
	case e.Size < 0 || p.Offset > parts[p.Part].Size || e.Size > parts[p.Part].Size-p.Offset:
		return invalid("the content of %q goes beyond the end of its part", e.Path)
	}
	return nil
}

// Where the on-disk format has the device table and what tells of it (struct erofs_super_block and struct
// erofs_deviceslot, fs/erofs/erofs_fs.h in Linux).
const (
	superOffset  = 1024
	superSize    = 128
	magic        = 0xe0f5e1e2
	featuresAt   = 80 // in the superblock: feature_incompat
	countAt      = 86 // extra_devices
	tableAt      = 88 // devt_slotoff, in slots
	deviceTable  = 0x8
	slotSize     = 128
	tagSize      = 64 // a slot begins with a tag, which has room for just a SHA-256's hex digits
	blocksAt     = 64 // in the slot: blocks
	firstSlot    = superOffset + superSize
	slotsToTable = firstSlot / slotSize
)

// label writes the parts' digests into the device table of an image that go-erofs wrote, and corrects where
// the table is, which go-erofs gives in a unit of its own.
func label(w io.WriteSeeker, parts []Part) error {
	if len(parts) == 0 {
		return nil
	}
	at := func(offset int64, b []byte) error {
		if _, err := w.Seek(offset, io.SeekStart); err != nil {
			return err
		}
		_, err := w.Write(b)
		return err
	}
	err := at(superOffset+tableAt, binary.LittleEndian.AppendUint16(nil, slotsToTable))
	for i, p := range parts {
		if len(p.Digest.Hex()) != tagSize {
			return invalid("part %d has the digest %q", i, p.Digest)
		}
		err = errors.Join(err, at(int64(firstSlot+i*slotSize), []byte(p.Digest.Hex())))
	}
	return err
}

// Parts returns the parts of an image file. Their sizes are rounded up to whole blocks. Errors: NotFound
// without the image, Refused for a file that is none.
func Parts(image string) ([]Part, error) {
	f, err := os.Open(image)
	if errors.Is(err, os.ErrNotExist) {
		return nil, imx.Errorf(imx.NotFound, "erofs: %w", err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() // read-only
	return ReadParts(f)
}

// ReadParts is Parts of an image that is open.
func ReadParts(image io.ReaderAt) ([]Part, error) {
	super := make([]byte, superSize)
	if _, err := image.ReadAt(super, superOffset); err != nil || binary.LittleEndian.Uint32(super) != magic {
		return nil, imx.Errorf(imx.Refused, "the file is not an EROFS image")
	}
	if binary.LittleEndian.Uint32(super[featuresAt:])&deviceTable == 0 {
		return nil, nil
	}
	table := make([]byte, int(binary.LittleEndian.Uint16(super[countAt:]))*slotSize)
	if _, err := image.ReadAt(table, int64(binary.LittleEndian.Uint16(super[tableAt:]))*slotSize); err != nil && len(table) > 0 {
		return nil, imx.Errorf(imx.Refused, "the EROFS image ends within its list of parts")
	}
	var parts []Part
	for i := 0; i < len(table); i += slotSize {
		d, err := imx.ParseDigest("sha256:" + string(table[i:i+tagSize]))
		if err != nil {
			return nil, imx.Errorf(imx.Refused, "the EROFS image has a part without a digest: %w", err)
		}
		blocks := binary.LittleEndian.Uint32(table[i+blocksAt:])
		parts = append(parts, Part{Digest: d, Size: int64(blocks) * BlockSize})
	}
	return parts, nil
}

// openParts opens the files beside the image.
func openParts(image string, parts []Part) (files []*os.File, err error) {
	for _, p := range parts {
		f, err := os.Open(PartFile(image, p.Digest))
		if errors.Is(err, os.ErrNotExist) {
			err = imx.Errorf(imx.NotFound, "the part %s of image %s is not there", p.Digest.Short(), filepath.Base(image)).
				WithHint("build the image again with `imx build`")
		}
		if err != nil {
			closeAll(files)
			return nil, fmt.Errorf("erofs: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

// closeAll closes files that were only read.
func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
