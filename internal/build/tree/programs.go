package tree

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"path"
	"slices"
)

// Program is what an ELF file tells of itself.
type Program struct {
	Runs    bool     `json:"runs,omitempty"`    // it can be started; otherwise it is a library
	Listens bool     `json:"listens,omitempty"` // it calls listen(2)
	Needs   []string `json:"needs,omitempty"`   // the libraries that it is linked with
}

// Programs reads the ELF files among the items that can say whether something listens, by path.
func Programs(items []*Item) (map[string]Program, error) {
	found := map[string]Program{}
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
func (it *Item) elf(f func(*elf.File)) error {
	if it.Size < elfHeader {
		return nil
	}
	r, err := it.Open()
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
func readProgram(f *elf.File) (Program, error) {
	p := Program{Runs: f.Type == elf.ET_EXEC || slices.ContainsFunc(f.Progs, func(h *elf.Prog) bool { return h.Type == elf.PT_INTERP })}
	if flags, err := f.DynValue(elf.DT_FLAGS_1); err == nil && len(flags) > 0 && flags[0]&uint64(elf.DF_1_PIE) != 0 {
		p.Runs = true
	}
	if f.Section(".go.buildinfo") != nil {
		found, err := goListens(f)
		if err != nil {
			return Program{}, err
		}
		p.Listens = found
	}
	needs, err := f.ImportedLibraries()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return Program{}, err
	}
	p.Needs = needs
	dynamic, err := f.ImportedSymbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return Program{}, err
	}
	p.Listens = p.Listens || slices.ContainsFunc(dynamic, func(s elf.ImportedSymbol) bool { return s.Name == "listen" })
	if len(p.Needs) == 0 && !p.Listens && p.Runs {
		static, err := f.Symbols()
		if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
			return Program{}, err
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

// Listens returns which of the programs, by path, can open a listening socket where the tree has them: by
// themselves, or by a library that they are linked with. The C library only offers listen(2), so it calls it
// no more than any other does.
func (t Tree) Listens(all map[string]Program) map[string]bool {
	libraries := map[string][]string{}
	for _, it := range t.Sorted() {
		place, err := t.Resolve(it.Path)
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
func hears(name string, all map[string]Program, libraries map[string][]string, seen map[string]bool) bool {
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

// Imports reports whether a file is an ELF object that takes a function from another. What isn't one, or
// is damaged, takes none.
func (it *Item) Imports(function string) (bool, error) {
	found := false
	err := it.elf(func(f *elf.File) {
		names := f.SectionByType(elf.SHT_STRTAB)
		if s := f.Section(".dynstr"); s != nil {
			names = s
		}
		if names == nil {
			return
		}
		if all, err := names.Data(); err != nil || !bytes.Contains(all, []byte("\x00"+function+"\x00")) {
			return
		}
		imported, err := f.ImportedSymbols()
		found = err == nil && slices.ContainsFunc(imported, func(s elf.ImportedSymbol) bool { return s.Name == function })
	})
	return found, err
}
