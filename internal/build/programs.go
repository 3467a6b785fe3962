package build

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
)

// program is what an ELF file tells of itself.
type program struct {
	Runs    bool     `json:"runs,omitempty"`    // it can be started; otherwise it is a library
	Listens bool     `json:"listens,omitempty"` // it calls listen(2)
	Needs   []string `json:"needs,omitempty"`   // the libraries that it is linked with
}

// programs reads the ELF files among the items that can say whether something listens.
func programs(items []*item) (map[string]program, error) {
	found := map[string]program{}
	for _, it := range items {
		if !it.Mode.IsRegular() {
			continue
		}
		err := it.elf(func(f *elf.File) {
			if p, err := readProgram(f); err == nil {
				found[it.Path] = p
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

const elfHeader = 64 // bytes of the header of a 64-bit file

// elf calls f with a file's content as an ELF object. It calls nothing for any other file, and for one that
// no kernel could run either.
func (it *item) elf(f func(*elf.File)) error {
	if it.Size < elfHeader {
		return nil
	}
	r, err := it.open()
	if err != nil {
		return err
	}
	defer r.Close()
	at, ok := r.(io.ReaderAt)
	if !ok { // a file of the template, which is small: it came in a request
		content, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		at = bytes.NewReader(content)
	}
	if object, err := elf.NewFile(at); err == nil {
		f(object)
	}
	return nil
}

// readProgram reads what dynamic linking needs to know, and looks into Go's own tables, because Go
// calls the kernel without a library. A program that is linked statically and no Go program says
// nothing of what it calls, unless it has its symbols.
func readProgram(f *elf.File) (program, error) {
	p := program{Runs: f.Type == elf.ET_EXEC || slices.ContainsFunc(f.Progs, func(h *elf.Prog) bool { return h.Type == elf.PT_INTERP })}
	if flags, err := f.DynValue(elf.DT_FLAGS_1); err == nil && len(flags) > 0 && flags[0]&uint64(elf.DF_1_PIE) != 0 {
		p.Runs = true
	}
	if f.Section(".go.buildinfo") != nil {
		found, err := goListens(f)
		if err != nil {
			return program{}, err
		}
		p.Listens = found
	}
	needs, err := f.ImportedLibraries()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return program{}, err
	}
	p.Needs = needs
	dynamic, err := f.ImportedSymbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return program{}, err
	}
	p.Listens = p.Listens || slices.ContainsFunc(dynamic, func(s elf.ImportedSymbol) bool { return s.Name == "listen" })
	if len(p.Needs) == 0 && !p.Listens && p.Runs {
		static, err := f.Symbols()
		if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
			return program{}, err
		}
		p.Listens = slices.ContainsFunc(static, func(s elf.Symbol) bool { return s.Name == "listen" || s.Name == "__listen" })
	}
	return p, nil
}

// goListens looks for the two methods that Go's listeners of streams come through; what dials has neither. The
// linker leaves out what no code calls, and a stripped program keeps the names of its functions for
// stack traces, each with a NUL behind it.
func goListens(f *elf.File) (bool, error) {
	for _, s := range f.Sections {
		if s.Type != elf.SHT_PROGBITS || s.Flags&elf.SHF_EXECINSTR != 0 || s.Flags&elf.SHF_ALLOC == 0 {
			continue
		}
		found, err := contains(s.Open(), "net.(*sysListener).listenTCP\x00", "net.(*sysListener).listenUnix\x00")
		if err != nil || found {
			return found, err
		}
	}
	return false, nil
}

// contains looks for any of the texts in what r gives.
func contains(r io.Reader, texts ...string) (bool, error) {
	buf := make([]byte, 0, 1<<18)
	longest := 0
	for _, text := range texts {
		longest = max(longest, len(text))
	}
	for {
		n, err := io.ReadFull(r, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if slices.ContainsFunc(texts, func(text string) bool { return bytes.Contains(buf, []byte(text)) }) {
			return true, nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		kept := copy(buf, buf[len(buf)-longest:])
		buf = buf[:kept]
	}
}

// listens returns the paths of the tree's programs that can open a listening socket: by themselves, or
// by a library that they are linked with. The C library only offers listen(2), so it calls it no more
// than any other does.
func (t tree) listens(layers []layer) map[string]bool {
	all := map[string]program{}
	for _, l := range layers {
		maps.Copy(all, l.Programs)
	}
	libraries := map[string][]string{}
	for _, it := range t.sorted() {
		place, err := t.resolve(it.Path)
		if err != nil {
			continue // a link that goes in circles is no library
		}
		if _, ok := all[place]; ok {
			libraries[path.Base(it.Path)] = append(libraries[path.Base(it.Path)], place)
		}
	}
	found := map[string]bool{}
	for name, p := range all {
		it := t[name]
		if p.Runs && it != nil && it.Mode&0o111 != 0 && hears(name, all, libraries, map[string]bool{}) {
			found[name] = true
		}
	}
	return found
}

// hears reports whether a program or a library that it needs listens.
func hears(name string, all map[string]program, libraries map[string][]string, seen map[string]bool) bool {
	if seen[name] {
		return false
	}
	seen[name] = true
	if all[name].Listens {
		return true
	}
	for _, needed := range all[name].Needs {
		for _, place := range libraries[needed] {
			if hears(place, all, libraries, seen) {
				return true
			}
		}
	}
	return false
}
