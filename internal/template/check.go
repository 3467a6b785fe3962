package template

import (
	"fmt"
	"slices"
	"strings"

	"imx"
)

// Everything here looks at a whole Template, and is the same for one that was just read and one
// that came as JSON. Places are those that the decoder or the walker gave to blocks.

func checkTemplate(t *imx.Template, r *report) {
	c := checker{t: t, r: r}
	c.archives()
	for i := range t.Images {
		c.image(i)
	}
	for i := range t.Services {
		c.service(i)
	}
	for i := range t.Tests {
		c.test(i)
	}
	c.twiceNamed("test", len(t.Tests), func(i int) string { return t.Tests[i].Name })
	c.twiceNamed("image", len(t.Images), func(i int) string { return t.Images[i].Name })
	c.twiceNamed("service", len(t.Services), func(i int) string { return t.Services[i].Name })
	c.published()
	c.circles()
}

type checker struct {
	t *imx.Template
	r *report
}

func top(kind string, i int, name string) where {
	return where{place("").block(kind, i), kind + " " + quote(name)}
}

// once remembers what was seen, and where.
type once[K comparable] map[K]place

// first returns the place where k was seen before, or remembers it.
func (o once[K]) first(k K, p place) (place, bool) {
	before, ok := o[k]
	if !ok {
		o[k] = p
	}
	return before, ok
}

// again is the hint for something that stands twice.
func (c checker) again(first place) string {
	if at := c.r.at(first); at != (imx.Pos{}) {
		return "it is first at " + at.String() + "; leave one of them out"
	}
	return "leave one of them out"
}

func (c checker) twiceNamed(kind string, n int, name func(int) string) {
	seen := once[string]{}
	for i := range n {
		w := top(kind, i, name(i))
		if before, ok := seen.first(name(i), w.place); ok {
			c.r.fail(w.place, flaw{summary: "there are two " + kind + "s named " + quote(name(i)), hint: c.again(before)})
		}
	}
}

func (c checker) archives() {
	c.twiceNamed("archive", len(c.t.Archives), func(i int) string { return c.t.Archives[i].Name })
	for i, a := range c.t.Archives {
		if a.Name == imx.HostArchive {
			c.r.fail(place("").block("archive", i), flaw{
				summary: "the archive " + quote(a.Name) + " is there already: the machine's own apt sources",
				hint:    "give this one another name",
			})
		}
	}
}

func (c checker) archiveNames() []string {
	names := []string{imx.HostArchive}
	for _, a := range c.t.Archives {
		names = append(names, a.Name)
	}
	return names
}

// packagesOnce checks that the packages of a block name none twice, and returns them by name.
func (c checker) packagesOnce(subject string, at place, packages []string) once[string] {
	seen := once[string]{}
	for j, p := range packages {
		name := imx.ReadRequest(p).Name
		at := at.setting("packages").part(index(j))
		if _, ok := seen.first(name, at); ok {
			c.r.fail(at, flaw{summary: subject + ": packages has " + quote(name) + " twice", hint: "leave one of them out"})
		}
	}
	return seen
}

func (c checker) image(i int) {
	im := &c.t.Images[i]
	w := top("image", i, im.Name)
	names := c.archiveNames()
	for j, from := range im.From {
		if at := w.place.setting("from"); !slices.Contains(names, from) && !c.r.isBroken(at) {
			if len(im.From) > 1 {
				at = at.part(index(j))
			}
			c.r.fail(at, flaw{
				summary: w.subject + ": there is no archive named " + quote(from), hint: known(from, names, "archive.", ""),
			})
		}
	}
	seen := c.packagesOnce(w.subject, w.place, im.Packages)
	for j, name := range im.Without {
		at := w.place.setting("without").part(index(j))
		if _, both := seen.first(name, at); both {
			c.r.fail(at, flaw{summary: w.subject + ": " + quote(name) + " stands twice in packages and without", hint: "leave it out of one of them"})
		}
	}
	c.firstArgument(w, im.Command)
	paths := c.files(w, im.Files)
	for j, d := range im.Directories {
		at := w.place.block("directory", j)
		if before, ok := paths.first(d.Path, at); ok {
			c.r.fail(at, flaw{summary: w.subject + ": " + d.Path + " stands twice", hint: c.again(before)})
		}
	}
	for j, f := range im.Files {
		if f.Mode&0o6000 != 0 && !slices.Contains(im.Setuid, f.Path) {
			c.r.fail(w.place.block("file", j).setting("mode"), flaw{
				summary: fmt.Sprintf("%s: %s has mode %v, and its setuid or setgid bit would be taken off", w.subject, f.Path, f.Mode),
				hint:    "add setuid = [" + quote(f.Path) + "], or leave the bit out",
			})
		}
	}
}

// files checks that no file stands twice, or where another file would have to be a folder.
func (c checker) files(w where, files []imx.File) once[string] {
	paths := once[string]{}
	for j, f := range files {
		at := w.place.block("file", j)
		if before, ok := paths.first(f.Path, at); ok {
			c.r.fail(at, flaw{summary: w.subject + ": the file " + f.Path + " stands twice", hint: c.again(before)})
		}
	}
	for j, f := range files {
		for i, b := range f.Path {
			if outer, ok := paths[f.Path[:i]]; ok && b == '/' {
				c.r.fail(w.place.block("file", j), flaw{
					summary: fmt.Sprintf("%s: %s is below %s, which is a file", w.subject, f.Path, f.Path[:i]),
					hint:    "the other is at " + c.r.at(outer).String() + "; rename one of them",
				})
			}
		}
	}
	return paths
}

func (c checker) firstArgument(w where, command []string) {
	if len(command) > 0 && command[0] == "" {
		c.r.fail(w.place.setting("command"), flaw{summary: w.subject + ": command has no program", hint: `write the program's path first: ["/usr/bin/app"]`})
	}
}

// published finds two ports of services, or previews of them, that want one port of the machine.
func (c checker) published() {
	type holder struct {
		number              int
		service, what, does string
		at                  place
	}
	var all []holder
	for i, s := range c.t.Services {
		w := top("service", i, s.Name)
		for j, p := range s.Ports {
			if p.Publish != 0 {
				at := w.place.block("port", j).setting("publish")
				all = append(all, holder{p.Publish, s.Name, fmt.Sprintf("port %q", p.Name), "publishes", at})
			}
		}
		if how := s.Deploy; how != nil && how.Preview != 0 {
			all = append(all, holder{how.Preview, s.Name, "preview", "is on", w.place.block("deploy", 0).setting("preview")})
		}
	}
	seen := map[int]holder{}
	for _, h := range all {
		before, ok := seen[h.number]
		if !ok {
			seen[h.number] = h
			continue
		}
		c.r.fail(h.at, flaw{
			summary: fmt.Sprintf("service %q: %s %s %d, as %s of service %q does", h.service, h.what, h.does, h.number, before.what, before.service),
			hint:    withPlace("choose another port for one of them", c.r.at(before.at)),
		})
	}
}

func withPlace(hint string, at imx.Pos) string {
	if at == (imx.Pos{}) {
		return hint
	}
	return hint + "; the other is at " + at.String()
}

// circles finds services that connect to each other in a circle: none of them could be the first
// to start.
func (c checker) circles() {
	var names []string
	refs := map[string][]imx.PortRef{}
	for _, s := range c.t.Services {
		if _, ok := refs[s.Name]; !ok {
			names = append(names, s.Name)
		}
		refs[s.Name] = append(refs[s.Name], s.Connect...)
	}
	_, circles := walk(names, func(n string) []string {
		var next []string
		for _, ref := range refs[n] {
			if _, ok := refs[ref.Service]; ok && ref.Service != n {
				next = append(next, ref.Service)
			}
		}
		return next
	})
	for _, circle := range circles {
		c.circle(circle, refs)
	}
}

func (c checker) circle(circle []string, refs map[string][]imx.PortRef) {
	var at imx.Pos
	steps := make([]string, 0, len(circle))
	for i, from := range circle {
		to := circle[(i+1)%len(circle)]
		j := slices.IndexFunc(refs[from], func(ref imx.PortRef) bool { return ref.Service == to })
		pos := refs[from][j].At
		if i == 0 {
			at = pos
		}
		steps = append(steps, strings.TrimSuffix(fmt.Sprintf("%s to %s at %v", from, to, pos), " at "))
	}
	c.r.failAt(at, flaw{
		summary: "services connect in a circle: " + strings.Join(append(circle, circle[0]), " -> "),
		hint:    "leave one of these out: " + strings.Join(steps, ", "),
	})
}

// checkContents checks that each file is what it says it is, for a Template from outside.
func checkContents(t *imx.Template, r *report) {
	var total imx.Size
	for files, w := range fileLists(t) {
		for i, f := range files {
			total += imx.Size(len(f.Content))
			at := w.nested(w.place.block("file", i), "file "+quote(f.Path))
			if digest := imx.DigestBytes(f.Content); f.Digest != digest || f.Size != int64(len(f.Content)) {
				r.fail(at.place, flaw{
					summary: fmt.Sprintf("%s: it says %s and %d bytes, and its content has %s and %d bytes", at.subject, f.Digest, f.Size, digest, len(f.Content)),
					hint:    "send the template again",
				})
			}
		}
	}
	for _, a := range t.Archives {
		total += imx.Size(len(a.Keyring))
	}
	if total > maxTotal {
		r.failAt(imx.Pos{}, flaw{
			summary: fmt.Sprintf("the template is too large: its files have %v together, and may have %v", total, maxTotal),
			hint:    "put large files into a package or a volume",
		})
	}
}
