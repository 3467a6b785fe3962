package deb

import (
	"encoding/binary"
	"hash/crc32"

	"imx"
)

// SealList makes the checksums of a stored list fit a changed index, as no damage would: what is then
// refused is refused for what the index says.
func SealList(text, index []byte, key imx.Digest) []byte {
	end := append([]byte(listMagic), keyBytes(key)...)
	end = binary.LittleEndian.AppendUint64(end, uint64(len(text)))
	end = binary.LittleEndian.AppendUint64(end, uint64(len(index)))
	end = binary.LittleEndian.AppendUint32(end, crc32.Checksum(index, castagnoli()))
	end = binary.LittleEndian.AppendUint32(end, crc32.Checksum(end, castagnoli()))
	return append(append(append([]byte{}, text...), index...), end...)
}

// FooterSize is how many bytes the end of a stored list has.
const FooterSize = footerSize
