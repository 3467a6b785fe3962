package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"imx"
	"imx/internal/inventory"
	"imx/internal/term"
)

const (
	// largest is how many packages, folders and the like `imx image show` names before it only counts.
	largest = 8
	// grave is the same for what may be dangerous.
	grave = 30
)

// showImageList prints a table of images, or that there are none.
func showImageList(out term.Stream, images []imx.ImageView, now time.Time) error {
	if len(images) == 0 {
		_, err := fmt.Fprintln(out, "no images: imx build makes some")
		return err
	}
	table := term.Table{
		Head:  []string{"IMAGE", "DIGEST", "SIZE", "PACKAGES", "FILES", "BUILT", "RUN BY"},
		Wraps: []string{"RUN BY"}, Drops: []string{"FILES", "PACKAGES"},
	}
	for _, v := range images {
		row := []string{out.Ink.Name(v.Name), v.Digest.Short(), "", "", "", term.Age(v.Built, now) + " ago", runBy(out.Ink, v.RunBy)}
		if v.Pushed {
			row[5] = "pushed " + row[5]
		} else {
			row[2], row[3], row[4] = v.Size.String(), strconv.Itoa(v.Packages), term.Number(int64(v.Files))
		}
		table.Add(row...)
	}
	_, err := io.WriteString(out, table.Text(out.Ink, out.Columns()))
	return err
}

// runBy names services: "web 3, app 2 (not yet)".
func runBy(ink term.Ink, uses []imx.ImageUse) string {
	var words []string
	for _, u := range uses {
		word := fmt.Sprintf("%s %d", u.Service, u.Release)
		if !u.Current {
			word += ink.Warn(" (being rolled out)")
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

// showImage prints what a person wants to know before saying yes to an image.
func showImage(out term.Stream, s shownImage, now time.Time) error {
	ink := out.Ink
	verb := "built"
	if s.Pushed {
		verb = "pushed"
	}
	blocks := []string{
		fmt.Sprintf("%s  %s  %s %s, %s ago\n", ink.Bold(s.Name), ink.Name(s.Digest.Short()), verb, term.Stamp(s.Built), term.Age(s.Built, now)),
		runFacts(ink, s, out.Columns()),
		concerns(ink, s, out.Columns()),
		packageTable(out, s, largest),
	}
	if s.Scanned {
		blocks = append(blocks, ink.Warn("note:")+" no inventory was kept with this image, so its layers were read:\n"+
			"which package brought a file, and what can listen, isn't known\n")
	}
	blocks = slices.DeleteFunc(blocks, func(b string) bool { return b == "" })
	_, err := io.WriteString(out, strings.Join(blocks, "\n"))
	return err
}

// facts is a table of labels and what is to be said under each.
type facts struct {
	term.Table
	ink     term.Ink
	columns int // of the terminal, or 0
}

func (f *facts) say(label, says string) {
	if says != "" {
		f.Add(f.ink.Dim(label), says)
	}
}

// list says words, on as many lines as they take.
func (f *facts) list(label string, all []string) {
	width := pageWidth
	if f.columns > 0 {
		width = min(width, f.columns)
	}
	const indent = 16 // about what labels take
	line := ""
	for i, word := range all {
		if i < len(all)-1 {
			word += ","
		}
		if line != "" && indent+lipgloss.Width(line+" "+word) > width {
			f.say(label, line)
			label, line = " ", ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	f.say(label, line)
}

// runFacts says how large an image is and how it runs.
func runFacts(ink term.Ink, s shownImage, columns int) string {
	f := facts{ink: ink, columns: columns}
	f.say("digest", string(s.Digest))
	f.say("run by", runBy(ink, s.RunBy))
	f.say("tags", strings.Join(pushedTags(s.ImageView), ", "))
	f.say("size", fmt.Sprintf("%s, unpacked %s: %s in %s", s.Size, s.Summary.Size,
		term.Count(int64(s.Summary.Files), "file"), term.Count(int64(len(s.Inventory.Packages)), "package")))
	f.list("folders", portions(s.Summary.Folders))
	f.list("not of packages", origins(s.Summary))
	for _, setting := range inventory.Settings(s.Configuration) {
		value := term.Clean(setting.Value)
		if setting.Name == "user" {
			value = userName(ink, s)
		}
		f.say(strings.Replace(setting.Name, "environment ", "env ", 1), value)
	}
	if s.Configuration.User == "" {
		f.say("user", userName(ink, s))
	}
	f.say("service ports", servicePorts(s.RunBy))
	f.list("layers", layerSizes(s.Layers))
	f.list("evidence", evidenceWords(s.Evidence))
	return f.Text(ink, 0)
}

// pushedTags are the names under which an image was pushed from outside.
func pushedTags(v imx.ImageView) []string {
	if v.Pushed {
		return v.Tags
	}
	return nil
}

func portions(all []inventory.Share) []string {
	var words []string
	for _, s := range all {
		words = append(words, s.Name+" "+s.Size.String())
	}
	return some(words, largest)
}

// layerSizes says how many layers there are, and which are the largest.
func layerSizes(layers []imx.ImageLayer) []string {
	var words []string
	for _, l := range slices.SortedStableFunc(slices.Values(layers), func(a, b imx.ImageLayer) int { return cmp.Compare(b.Size, a.Size) }) {
		words = append(words, strings.TrimSpace(term.Clean(strings.TrimPrefix(l.Says, "imx: "))+" "+l.Size.String()))
	}
	if len(words) == 0 {
		return nil
	}
	words = some(words, largest)
	words[0] = fmt.Sprintf("%d: %s", len(layers), words[0])
	return words
}

// origins sums up the files that no package carries.
func origins(s inventory.Summary) []string {
	var words []string
	for _, o := range []struct {
		origin imx.PathOrigin
		says   string
	}{
		{imx.OriginGenerated, "made by scripts"}, {imx.OriginTemplate, "of the template"}, {imx.OriginFrame, "of every image"},
	} {
		if p := s.Origins[o.origin]; p.Files > 0 {
			words = append(words, fmt.Sprintf("%s %s (%s)", term.Count(int64(p.Files), "file"), o.says, p.Size))
		}
	}
	return words
}

// userName says who an image runs as: "33:33 (www-data)".
func userName(ink term.Ink, s shownImage) string {
	user := s.Configuration.User
	id, _, _ := strings.Cut(user, ":")
	if id == "" || id == "0" || id == "root" {
		return strings.TrimSpace(user + " " + ink.Warn("(root)"))
	}
	for _, u := range s.Inventory.Users {
		if strconv.Itoa(u.UID) == id {
			return user + " (" + term.Clean(u.Name) + ")"
		}
	}
	return user
}

func servicePorts(uses []imx.ImageUse) string {
	var words []string
	for _, u := range uses {
		for _, p := range u.Ports {
			words = append(words, fmt.Sprintf("%d %s (%s)", p.Container, p.Name, u.Service))
		}
	}
	slices.Sort(words)
	return strings.Join(slices.Compact(words), ", ")
}

// concerns says what in an image deserves a look, also where there is nothing of it.
func concerns(ink term.Ink, s shownImage, columns int) string {
	f := facts{ink: ink, columns: columns}
	var privileged, writable, listens, accounts []string
	for _, p := range s.Summary.Privileged {
		privileged = append(privileged, ink.Bad(p.Path)+" ("+inventory.Privileges(p)+")")
	}
	for _, p := range s.Summary.Writable {
		if !inventory.Sticky(p) {
			writable = append(writable, ink.Bad(p.Path))
			continue
		}
		writable = append(writable, p.Path+" (sticky)")
	}
	for _, p := range s.Summary.Listens {
		listens = append(listens, p.Path)
	}
	for _, u := range s.Inventory.Users {
		accounts = append(accounts, fmt.Sprintf("%s %d", term.Clean(u.Name), u.UID))
	}
	good := []string{ink.Good("none")}
	f.list("setuid, caps", orElse(some(privileged, grave), good))
	f.list("writable by all", orElse(some(writable, grave), good))
	if s.Scanned {
		f.say("can listen", "not known")
	} else {
		f.list("can listen", orElse(some(listens, largest), []string{"none"}))
	}
	f.list("accounts", orElse(some(accounts, largest), []string{"none"}))
	return f.Text(ink, 0)
}

// orElse returns words, or what stands for none.
func orElse(words, none []string) []string {
	if len(words) == 0 {
		return none
	}
	return words
}

// some returns at most so many words, and how many more there are.
func some(words []string, most int) []string {
	if len(words) <= most+1 {
		return words
	}
	return append(words[:most:most], fmt.Sprintf("%d more", len(words)-most))
}

// packageTable lists an image's packages, the largest first, at most so many. One that the template
// names has a "*".
func packageTable(out term.Stream, s shownImage, most int) string {
	if len(s.Inventory.Packages) == 0 {
		return ""
	}
	byName := map[string]imx.InventoryPackage{}
	for _, p := range s.Inventory.Packages {
		byName[p.Name] = p
	}
	table := term.Table{Head: []string{"", "PACKAGE", "VERSION", "SOURCE", "SIZE", "FILES"}}
	shown := packageShares(s)
	for _, share := range shown[:min(most, len(shown))] {
		p := byName[share.Name]
		mark, size, files := "", "", ""
		if p.Asked {
			mark = out.Ink.Good("*")
		}
		if !s.Scanned {
			size, files = share.Size.String(), term.Number(int64(share.Files))
		}
		table.Add(mark, out.Ink.Name(p.Name), p.Version, sourceOf(p), size, files)
	}
	text := table.Text(out.Ink, out.Columns())
	if rest := len(shown) - most; rest > 0 {
		text += out.Ink.Dim(fmt.Sprintf("and %d more: imx image show --packages; * is named by the template", rest)) + "\n"
	}
	return text
}

// packageShares puts the packages that the template names first, then the largest.
func packageShares(s shownImage) []inventory.Share {
	asked := map[string]bool{}
	for _, p := range s.Inventory.Packages {
		asked[p.Name] = p.Asked
	}
	first := slices.Clone(s.Summary.Packages)
	slices.SortStableFunc(first, func(a, b inventory.Share) int {
		switch {
		case asked[a.Name] == asked[b.Name]:
			return 0
		case asked[a.Name]:
			return -1
		}
		return 1
	})
	return first
}

// sourceOf names a package's source where that says more than the package itself.
func sourceOf(p imx.InventoryPackage) string {
	switch {
	case p.SourceVersion != p.Version && p.SourceVersion != "":
		return p.Source + " " + p.SourceVersion
	case p.Source != p.Name:
		return p.Source
	}
	return ""
}

// showImagePackages prints all packages.
func showImagePackages(out term.Stream, s shownImage) error {
	_, err := io.WriteString(out, packageTable(out, s, len(s.Summary.Packages)))
	return err
}

// showImageFiles prints all paths, one a line.
func showImageFiles(out term.Stream, inv imx.Inventory) error {
	users := map[int]string{}
	for _, u := range slices.Backward(inv.Users) {
		users[u.UID] = term.Clean(u.Name)
	}
	table := term.Table{Head: []string{"MODE", "OWNER", "SIZE", "FROM", "PATH"}}
	for _, p := range inv.Paths {
		size := ""
		if p.Kind == imx.PathFile {
			size = imx.Size(p.Size).String()
		}
		table.Add(modeOf(p), ownerOf(users, p), size, fromOf(p), out.Ink.Name(term.Clean(p.Path))+arrow(p)+marksOf(out.Ink, p))
	}
	text := table.Text(out.Ink, out.Columns())
	if out.Terminal { // a pipe is for a program to read, and has nothing but paths
		text += out.Ink.Dim(originLegend) + "\n"
	}
	_, err := io.WriteString(out, text)
	return err
}

// originLegend explains what stands in place of a package's name.
const originLegend = "(generated) made by packages' scripts, (template) written by the template, (frame) in every image of imx"

// modeOf writes a mode with the kind before it: "d0755", "l", "-4755".
func modeOf(p imx.InventoryPath) string {
	switch p.Kind {
	case imx.PathLink:
		return "l"
	case imx.PathDirectory:
		return "d" + p.Mode.String()
	case imx.PathFile:
	}
	return "-" + p.Mode.String()
}

func ownerOf(users map[int]string, p imx.InventoryPath) string {
	name := users[p.UID]
	if name == "" {
		name = strconv.Itoa(p.UID)
	}
	if p.GID != p.UID {
		name += ":" + strconv.Itoa(p.GID)
	}
	return name
}

// fromOf names what brought a path: its package, else its origin in brackets.
func fromOf(p imx.InventoryPath) string {
	switch {
	case p.Package != "":
		return p.Package
	case p.Origin != "":
		return "(" + string(p.Origin) + ")"
	}
	return ""
}

func arrow(p imx.InventoryPath) string {
	if p.Kind != imx.PathLink {
		return ""
	}
	return " -> " + term.Clean(p.Target)
}

func marksOf(ink term.Ink, p imx.InventoryPath) string {
	text := ""
	if has := inventory.Privileges(p); has != "" {
		text += "  " + ink.Bad(has)
	}
	if p.Listens {
		text += "  " + ink.Warn("can listen")
	}
	return text
}
