package sbom

import (
	"debug/elf"
	"encoding/binary"

	"imx"
)

// maxSections bounds the names of a program's sections, in bytes: debug/elf makes a string of each, and each may be
// all of the table that they are in.
const maxSections = 64 << 20

// isParsable reports whether an ELF file's sections are few enough to be read. What is no ELF file is for others to say.
func (b *budget) isParsable(content []byte) bool {
	number, table, ok := sections(content)
	if ok && number*table > maxSections {
		b.miss("the names of its %d sections can have more than %s together", number, imx.Size(maxSections))
		return false
	}
	return ok
}

// sections returns the number of an ELF file's sections and the size of the table of their names. It is not ok where
// the number isn't in the header, or the table is packed: no program that is meant to run is like that.
func sections(content []byte) (number, table uint64, ok bool) {
	const header = 64
	if len(content) < header {
		return 0, 0, false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if elf.Data(content[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	wide := elf.Class(content[elf.EI_CLASS]) == elf.ELFCLASS64
	at, counts := uint64(order.Uint32(content[0x20:])), content[0x2e:]
	if wide {
		at, counts = order.Uint64(content[0x28:]), content[0x3a:]
	}
	size, index := uint64(order.Uint16(counts)), uint64(order.Uint16(counts[4:]))
	number = uint64(order.Uint16(counts[2:]))
	if at == 0 {
		return 0, 0, true
	}
	if number == 0 || index >= number || size < 40 || at > uint64(len(content)) || at+(index+1)*size > uint64(len(content)) {
		return 0, 0, false
	}
	names := content[at+index*size:]
	flags, table := uint64(order.Uint32(names[0x08:])), uint64(order.Uint32(names[0x14:]))
	if wide {
		if size < header {
			return 0, 0, false
		}
		flags, table = order.Uint64(names[0x08:]), order.Uint64(names[0x20:])
	}
	return number, min(table, uint64(len(content))), flags&uint64(elf.SHF_COMPRESSED) == 0
}
