package template

import (
	"io/fs"
	"iter"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"imx"
)

// Parse reads every *.imx.hcl in the root of root, in the order of their names, and the files
// that they name, and returns the template with everything there is to say about it. The template
// can be used if Diagnostics.Err() is nil; its Notices are also among the diagnostics. Source is
// left empty: the caller knows Git.
//
// Parse refuses names that leave the folder; that links in it don't leave it either is up to
// root (os.Root.FS does that).
func Parse(root fs.FS) (imx.Template, imx.Diagnostics) {
	r := newReport()
	d := newDecoder(root, r)
	blocks := d.parse()
	if r.failed || !d.outline(blocks) {
		return imx.Template{}, r.done()
	}
	d.locals()
	t := imx.Template{}
	for _, b := range blocks {
		d.top(&t, b)
	}
	for files := range fileLists(&t) {
		for i, f := range files {
			files[i].Digest, files[i].Size = imx.DigestBytes(f.Content), int64(len(f.Content))
		}
	}
	placePackages(&t, r)
	inferHealth(&t, r)
	inferDeploy(&t, r)
	allowNone(&t, r)
	checkTemplate(&t, r)
	d.checkUses(&t)
	d.settle()
	if !r.failed {
		t.Places = r.addresses()
	}
	ds := r.done()
	for _, n := range ds {
		if n.Severity == imx.SeverityNotice {
			t.Notices = append(t.Notices, n)
		}
	}
	return t, ds
}

// placePackages says where each package is asked for: a mistake in its name is found only when it is resolved.
func placePackages(t *imx.Template, r *report) {
	places := func(block place, packages []string) (all []imx.Pos) {
		for j := range packages {
			all = append(all, r.at(block.setting("packages").part(index(j))))
		}
		return all
	}
	for i := range t.Images {
		t.Images[i].PackagesAt = places(place("").block("image", i), t.Images[i].Packages)
	}
	for i := range t.Tests {
		for j := range t.Tests[i].Commands {
			command := &t.Tests[i].Commands[j]
			command.PackagesAt = places(place("").block("test", i).block("command", j), command.Packages)
		}
	}
}

// Check checks a Template that came as JSON by the same rules as Parse, and that each file's
// digest and size are those of its content. A mistake is placed at the block that it is in.
func Check(t imx.Template) imx.Diagnostics {
	r := newReport()
	w := walker{r: r}
	w.each(templateBlock(), &t, where{})
	checkContents(&t, r)
	if !r.tooMany {
		checkTemplate(&t, r)
	}
	return r.done()
}

// parse returns the top-level blocks of all files as written, or reports why it can't.
func (d *decoder) parse() hclsyntax.Blocks {
	texts, problem := d.folder.templates()
	if problem != nil {
		d.r.failAt(imx.Pos{}, *problem)
		return nil
	}
	var blocks hclsyntax.Blocks
	for _, f := range texts {
		d.r.addSource(f.name, f.text)
		if problem := tooDeep(f.name, f.text, hclsyntax.LexConfig); problem != nil {
			d.r.failAt(d.r.pos(problem.at), problem.flaw)
			continue
		}
		file, diags := hclsyntax.ParseConfig(f.text, f.name, hcl.InitialPos)
		d.r.addHCL(diags)
		body, ok := file.Body.(*hclsyntax.Body)
		if !ok || diags.HasErrors() {
			continue
		}
		for _, a := range inOrder(body.Attributes) {
			d.r.failAt(d.r.pos(a.NameRange), flaw{
				summary: "the setting " + quote(a.Name) + " stands outside of any block",
				hint:    "move it into an image or service block, or into locals { } to use it as local." + a.Name,
			})
		}
		blocks = append(blocks, body.Blocks...)
	}
	return blocks
}

// fileLists yields the files of each image and service, with the block that they are in.
func fileLists(t *imx.Template) iter.Seq2[[]imx.File, where] {
	return func(yield func([]imx.File, where) bool) {
		for i, im := range t.Images {
			if !yield(im.Files, top("image", i, im.Name)) {
				return
			}
		}
		for i, s := range t.Services {
			if !yield(s.Files, top("service", i, s.Name)) {
				return
			}
		}
	}
}
