package sbom

import (
	"context"
	"fmt"
	"io"
	"strings"

	"imx"
)

// What one image, and one file of it, may cost beside being read once: the largest programs and archives that people
// run need a fraction of it.
const (
	imageUnpacked = 1 << 30 // bytes of archives in files, packed ones that are read and unpacked ones
	fileUnpacked  = 256 << 20
	imageEntries  = 1_000_000 // of archives, and of lists of modules
	fileEntries   = 300_000
	imageParts    = 200_000 // components
	fileParts     = 20_000
	imageTexts    = 128 << 20 // bytes that are kept: copyright files, and what components are called
)

// Missed is a file that an image's documents don't say all of.
type Missed struct {
	Path string
	Why  string
}

// maxMissed bounds how many are named each.
const maxMissed = 100

// budget is what is left to spend.
type budget struct {
	unpacked int64
	entries  int64
	parts    int64
	why      string // what it was too small for, first
}

func imageBudget() budget {
	return budget{unpacked: imageUnpacked, entries: imageEntries, parts: imageParts}
}

// forFile is a file's part of an image's budget.
func (b *budget) forFile() budget {
	return budget{unpacked: min(b.unpacked, fileUnpacked), entries: min(b.entries, fileEntries), parts: min(b.parts, fileParts)}
}

// spend takes off what a file with a budget has spent of it.
func (b *budget) spend(before, after budget) {
	b.unpacked -= before.unpacked - after.unpacked
	b.entries -= before.entries - after.entries
	b.parts -= before.parts - after.parts
}

// miss notes why something of the file isn't known.
func (b *budget) miss(format string, args ...any) {
	if b.why == "" {
		b.why = fmt.Sprintf(format, args...)
	}
}

// over ends what is read beyond the budget, which says why.
type over struct{}

func (over) Error() string { return "over the budget" }

// take takes off a number of entries, and reports whether so many were left.
func (b *budget) take(entries int) bool {
	if int64(entries) > b.entries {
		b.miss("it has more entries than are looked at: %d in a file, %d in an image", int64(fileEntries), int64(imageEntries))
		return false
	}
	b.entries -= int64(entries)
	return true
}

// add takes in components, as far as the budget goes.
func (b *budget) add(found []Component, more ...Component) []Component {
	for _, c := range more {
		if b.parts == 0 {
			b.miss("it has more components than are taken in: %d in a file, %d in an image", fileParts, imageParts)
			return found
		}
		if c.Name == "" {
			continue
		}
		if max(len(c.Group), len(c.Name), len(c.Version)) > maxName {
			b.miss("it has a component whose name has more than %d bytes", maxName)
			continue
		}
		// A clone, because these may be pieces of something larger.
		found = append(found, Component{Kind: c.Kind, Group: strings.Clone(c.Group), Name: strings.Clone(c.Name), Version: strings.Clone(c.Version)})
		b.parts--
	}
	return found
}

// maxName is how long what a component is called may be, in bytes.
const maxName = 512

// reader is r, for as long as the budget lasts and ctx does.
func (b *budget) reader(ctx context.Context, r io.Reader) io.Reader {
	return &spender{ctx: ctx, from: r, budget: b}
}

type spender struct {
	ctx    context.Context //nolint:containedctx // it is of one call, whose reader this is
	from   io.Reader
	budget *budget
}

func (s *spender) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	if s.budget.unpacked <= 0 {
		s.budget.miss("what is packed in it is more than is looked at: %s in a file, %s in an image", imx.Size(fileUnpacked), imx.Size(imageUnpacked))
		return 0, over{}
	}
	n, err := s.from.Read(p[:min(int64(len(p)), s.budget.unpacked)])
	s.budget.unpacked -= int64(n)
	return n, err
}

// patient is a reader that ends with ctx.
type patient struct {
	ctx  context.Context //nolint:containedctx // as above
	from io.Reader
}

func (p patient) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.from.Read(b)
}
