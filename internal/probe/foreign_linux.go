package probe

import (
	"encoding/binary"
	"runtime"
)

// foreignStatus is what the foreign program exits with.
const foreignStatus = 42

// foreign returns the smallest program that there is: a static ELF executable of one segment that ends with
// foreignStatus. It depends on nothing, so that what refuses it refuses every program.
func foreign() []byte {
	const base, header, segment = 0x400000, 64, 56
	machine, code := uint16(0x3e), []byte{
		0xbf, foreignStatus, 0, 0, 0, // mov edi, 42
		0xb8, 60, 0, 0, 0, // mov eax, 60 (exit)
		0x0f, 0x05, // syscall
	}
	if runtime.GOARCH == "arm64" {
		machine, code = 0xb7, []byte{
			0x40, 0x05, 0x80, 0xd2, // mov x0, #42
			0xa8, 0x0b, 0x80, 0xd2, // mov x8, #93 (exit)
			0x01, 0x00, 0x00, 0xd4, // svc #0
		}
	}
	size := uint64(header + segment + len(code))
	le := binary.LittleEndian
	b := append([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, make([]byte, 9)...)
	b = le.AppendUint16(b, 2) // an executable
	b = le.AppendUint16(b, machine)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, base+header+segment) // where it begins
	b = le.AppendUint64(b, header)
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{header, segment, 1, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // loaded,
	b = le.AppendUint32(b, 5) // to be read and run
	for _, v := range []uint64{0, base, base, size, size, 0x1000} {
		b = le.AppendUint64(b, v)
	}
	return append(b, code...)
}
