package build

import (
	"archive/tar"
	"crypto/md5" //nolint:gosec // what dpkg's database has
	"encoding/hex"
	"errors"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"imx"
	"imx/internal/build/take"
	"imx/internal/deb"
)

// Unpacking most packages is no more than putting their files into place, which dpkg does at ten times
// the cost. So the builder places files itself, with the records that dpkg would make:
//
//   - of a simple package it does all;
//   - a package with a script before unpacking, or with triggers to set up, goes to dpkg without its
//     files: dpkg runs the script and makes the records, then the files are placed;
//   - a package for which dpkg has to choose goes to dpkg as it is: one whose relations concern another
//     that is there, or whose paths are taken, diverted, overridden or owned by others than root.

// placement is the placing of packages in one root.
type placement struct {
	x      *extractor
	db     *database
	filter take.Filter
	// bootstrap places also the files of those that dpkg will unpack, so that there is a dpkg.
	bootstrap bool
	entangled map[*parcel]bool
	claimed   map[string]bool // paths of packages whose files will be placed later
}

// laid is what was found out about a package while its files were placed.
type laid struct {
	paths  []string // as in dpkg's lists: absolute, in the package's own order and spelling
	placed []string // those of paths that weren't filtered out
	summed bool     // the package has an md5sums file itself
	md5    []string // lines of one that it lacks
}

// over calls f with the placement open over a root.
func (pl *placement) over(root string, f func() error) error {
	var err error
	if pl.x, err = openExtractor(root); err != nil {
		return err
	}
	defer pl.x.close()
	if pl.db, err = openDatabase(pl.x); err != nil {
		return err
	}
	pl.filter = take.NewFilter()
	return f()
}

// place places the simple packages and returns the others, for dpkg. each is called before each.
func (pl *placement) place(parcels []*parcel, dir func(imx.Package) string, each func(*parcel) error) (left []*parcel, err error) {
	pl.entangled = entangled(append(slices.Clone(pl.db.installed), parcels...))
	for _, p := range parcels {
		done := false
		if pl.recordable(p) && !p.scripted() {
			done, err = pl.simple(p, dir(p.pkg), each)
		}
		if err != nil {
			return nil, unpacking(err, p.pkg)
		}
		if !done {
			left = append(left, p)
		}
	}
	for _, p := range left {
		p.plain = pl.recordable(p)
		if pl.bootstrap {
			err = pl.thin(p, dir(p.pkg), pl.add)
		}
		if err != nil {
			return nil, err
		}
	}
	return left, pl.db.write()
}

// simple places a package for which dpkg has nothing to do, unless there is something to choose.
func (pl *placement) simple(p *parcel, dir string, each func(*parcel) error) (done bool, err error) {
	if err := each(p); err != nil {
		return false, err
	}
	l, err := pl.files(p, dir, pl.add)
	if errors.Is(err, errTaken) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, inOrder(func() error { return pl.db.stanza(p) }, func() error { return pl.db.files(p, l) })
}

// thin finds out whether dpkg needs to see no more of a package than its control files: whether put
// meets no choice for any of its files.
func (pl *placement) thin(p *parcel, dir string, put func(*entry) error) error {
	_, err := pl.files(p, dir, put)
	p.lean = err == nil && p.plain
	if errors.Is(err, errTaken) {
		return nil
	}
	return err
}

// finish places the files of packages that dpkg took without them.
func (pl *placement) finish(parcels []*parcel, dir func(imx.Package) string) error {
	for _, p := range parcels {
		l, err := pl.files(p, dir(p.pkg), pl.settle)
		if errors.Is(err, errTaken) {
			err = imx.Errorf(imx.Invalid, "the script before unpacking put something in the place of a directory")
		}
		if err == nil {
			err = pl.db.files(p, l)
		}
		if err != nil {
			return unpacking(err, p.pkg)
		}
	}
	return pl.db.write()
}

// recordable reports whether a package's control files leave dpkg nothing to choose.
func (pl *placement) recordable(p *parcel) bool {
	_, ok := p.conffiles()
	return ok && !pl.entangled[p]
}

// scripted reports whether unpacking a package takes more than placing its files.
func (p *parcel) scripted() bool {
	_, script := p.file("preinst")
	return script || slices.ContainsFunc(p.directives(), func(words []string) bool {
		return len(words) != 2 || !strings.HasPrefix(words[0], "activate")
	})
}

// entangled returns the packages that may not be together with another of the list, or may take
// files of one, and those others.
func entangled(all []*parcel) map[*parcel]bool {
	found := map[*parcel]bool{}
	called := map[string][]*parcel{}
	for _, p := range all {
		for _, name := range append(p.provides(), p.pkg.Name) {
			called[name] = append(called[name], p)
		}
	}
	for _, p := range all {
		for _, field := range []string{"conflicts", "breaks", "replaces"} {
			for _, r := range slices.Concat(p.relations[field]...) {
				for _, q := range called[r.Name] {
					if p != q && q.meets(r) {
						found[p], found[q] = true, true
					}
				}
			}
		}
	}
	return found
}

// meets reports whether the package, or a name that it goes by, is what a relation names.
func (p *parcel) meets(r deb.Relation) bool {
	if r.Name == p.pkg.Name {
		return r.Allows(p.pkg.Version)
	}
	for _, g := range p.relations["provides"] {
		for _, provided := range g {
			if provided.Name == r.Name && r.Allows(provided.Version) {
				return true
			}
		}
	}
	return false
}

// files calls put for each entry of a package that isn't filtered out. The error is errTaken where put
// met a choice; the rest is placed nevertheless, for a bootstrap.
func (pl *placement) files(p *parcel, dir string, put func(*entry) error) (laid, error) {
	var l laid
	var met error
	names, _ := p.conffiles()
	_, l.summed = p.file("md5sums")
	sums := map[string]string{}
	err := eachEntry(filepath.Join(dir, dataTar), maxData, func(h *tar.Header, r io.Reader) error {
		name := listed(h.Name)
		l.paths = append(l.paths, name)
		place := h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeSymlink
		if name == "/." || deb.IsMergeLink(h) || pl.filter.Skips(name, place) {
			return nil
		}
		l.placed = append(l.placed, name)
		sum := md5.New() //nolint:gosec // what dpkg's database has
		if !l.summed {
			r = io.TeeReader(r, sum)
		}
		err := put(&entry{p: p, name: name, conffile: slices.Contains(names, name), Header: h, content: r})
		if errors.Is(err, errTaken) {
			met = err
			return nil
		}
		if err != nil || l.summed {
			return err
		}
		_, err = io.Copy(io.Discard, r) // as far as put didn't
		l.md5 = appendSum(l.md5, sums, h, hex.EncodeToString(sum.Sum(nil)))
		return err
	})
	return l, errors.Join(err, met)
}

// listed is a path as dpkg's lists have it.
func listed(name string) string {
	name = path.Clean("/" + name)
	if name == "/" {
		return "/."
	}
	return name
}

// appendSum adds a file's line to an md5sums file. A hard link has its target's sum.
func appendSum(lines []string, sums map[string]string, h *tar.Header, sum string) []string {
	name := strings.TrimPrefix(listed(h.Name), "/")
	switch h.Typeflag {
	case tar.TypeReg:
	case tar.TypeLink:
		sum = sums[strings.TrimPrefix(listed(h.Linkname), "/")]
	default:
		return lines
	}
	sums[name] = sum
	return append(lines, sum+"  "+name)
}

// entry is one path of a package.
type entry struct {
	*tar.Header
	p        *parcel
	name     string // as in dpkg's lists
	conffile bool
	content  io.Reader
}

// place is where an entry belongs in a root, if its name is that. A configuration file gets the name
// under which dpkg looks for it when it configures the package.
func (e *entry) place(name string) (string, error) {
	place, err := deb.CleanPath(strings.TrimPrefix(name, "/"))
	if e.conffile {
		place += ".dpkg-new"
	}
	return place, err
}

// add puts an entry where nothing is yet.
func (pl *placement) add(e *entry) error {
	place, err := e.place(e.name)
	if err != nil {
		return err
	}
	if err := pl.choose(e, place); err != nil {
		return err
	}
	return pl.x.entry(place, e.Header, e.content)
}

// choose reports with errTaken that somebody has to choose what happens with an entry.
func (pl *placement) choose(e *entry, place string) error {
	if pl.db.chosen(e.name) || !pl.db.mayOwn(e.Header) || e.conffile && e.Typeflag != tar.TypeReg {
		return errTaken
	}
	if e.conffile {
		there, err := pl.x.exists(strings.TrimSuffix(place, ".dpkg-new"))
		if there {
			err = errTaken
		}
		return err
	}
	return nil
}

// claim reserves an entry's place, if nothing is there.
func (pl *placement) claim(e *entry) error {
	place, err := e.place(e.name)
	if err != nil {
		return err
	}
	if err := pl.choose(e, place); err != nil {
		return err
	}
	there, err := pl.x.exists(place)
	switch {
	case err != nil:
		return err
	case e.Typeflag == tar.TypeDir && there:
		_, err := pl.x.dir(place)
		return err
	case e.Typeflag == tar.TypeDir:
		return nil
	case there || pl.claimed[place]:
		return errTaken
	}
	pl.claimed[place] = true
	return nil
}

// settle puts an entry where diversions want it, whatever is there. Overrides of owner and mode that a
// script before unpacking brings count from the next run on, as with dpkg.
func (pl *placement) settle(e *entry) error {
	place, err := e.place(pl.db.diverted(e.p, e.name))
	if err != nil {
		return err
	}
	if same, err := pl.x.same(place, e.Header); same || err != nil {
		return err
	}
	return pl.x.replace(place, e.Header, e.content)
}
