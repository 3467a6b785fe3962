package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"imx"
	"imx/internal/inventory"
	"imx/internal/term"
)

// chosenPaths is a comparison with the choice of the paths to name; those of changed packages that
// aren't are counted.
type chosenPaths struct {
	inventory.Diff
	named   []inventory.PathChange
	counted map[string]int // by package
	more    int            // that are neither named nor counted
}

// mostPaths is how many paths a comparison names that wasn't asked for all.
const mostPaths = 30

// everyPath names all.
func everyPath(d inventory.Diff) chosenPaths { return chosenPaths{Diff: d, named: d.Paths} }

// ownPaths counts the paths that come with a package that changes, where nothing about them is of
// concern, and names the rest.
func ownPaths(d inventory.Diff) chosenPaths {
	c := chosenPaths{Diff: d, counted: map[string]int{}}
	changed := map[string]bool{}
	for _, p := range d.Packages {
		changed[p.Name] = true
	}
	for _, p := range d.Paths {
		owner := ownerPackage(p)
		if !changed[owner] || risk(p) != "" {
			c.named = append(c.named, p)
			continue
		}
		c.counted[owner]++
	}
	// Those of concern stay: they stand first.
	slices.SortStableFunc(c.named, func(a, b inventory.PathChange) int {
		return cmp.Compare(min(1, len(risk(b))), min(1, len(risk(a))))
	})
	if c.more = len(c.named) - mostPaths; c.more > 0 {
		c.named = c.named[:mostPaths]
	}
	return c
}

// ownerPackage is the package that a path comes with.
func ownerPackage(p inventory.PathChange) string {
	if p.After != nil {
		return p.After.Package
	}
	return p.Before.Package
}

// risk says what a change gives that wasn't there: rights, a listening program, a path that everybody may write.
func risk(p inventory.PathChange) string {
	if p.After == nil {
		return ""
	}
	before := imx.InventoryPath{}
	if p.Before != nil {
		before = *p.Before
	}
	var gains []string
	if now := inventory.Privileges(*p.After); now != "" && now != inventory.Privileges(before) {
		gains = append(gains, now)
	}
	if p.After.Kind != imx.PathLink && p.After.Mode&0o002 != 0 && before.Mode&0o002 == 0 && !inventory.Sticky(*p.After) {
		gains = append(gains, "writable by all")
	}
	if p.After.Listens && !before.Listens {
		gains = append(gains, "can listen")
	}
	return strings.Join(gains, ", ")
}

// showImageDiff prints what changes from one image to another.
func showImageDiff(out term.Stream, a, b imx.ImageDetail, c chosenPaths) error {
	ink := out.Ink
	title := fmt.Sprintf("%s %s → %s %s\n", ink.Bold(a.Name), ink.Name(a.Digest.Short()), ink.Bold(b.Name), ink.Name(b.Digest.Short()))
	if c.Empty() {
		_, err := fmt.Fprintf(out, "%s%s\n", title, same(ink, a, b))
		return err
	}
	var blocks strings.Builder
	blocks.WriteString(title + diffSizes(ink, a, b, c.Diff))
	for _, part := range []struct{ title, text string }{
		{"packages", diffPackages(ink, c)},
		{"files", diffPaths(ink, c)},
		{"accounts", diffUsers(ink, c.Users)},
		{"runs as", diffSettings(ink, c.Configuration)},
	} {
		if part.text != "" {
			blocks.WriteString("\n" + ink.Bold(part.title) + "\n" + part.text)
		}
	}
	if a.Scanned || b.Scanned {
		blocks.WriteString("\n" + ink.Warn("note:") + " one has no inventory of its own: what brought a file, and what can listen, isn't compared\n")
	}
	_, err := io.WriteString(out, blocks.String())
	return err
}

func same(ink term.Ink, a, b imx.ImageDetail) string {
	if a.Digest == b.Digest {
		return ink.Good("the same image")
	}
	return ink.Good("nothing that is compared differs") + ": packages, files, accounts and how they run are the same"
}

func diffSizes(ink term.Ink, a, b imx.ImageDetail, d inventory.Diff) string {
	var f facts
	f.ink = ink
	f.say("size", fmt.Sprintf("%s → %s (%s)", a.Size, b.Size, signed(int64(b.Size-a.Size))))
	f.say("unpacked", fmt.Sprintf("%s → %s (%s)", d.Before.Size, d.After.Size, signed(int64(d.After.Size-d.Before.Size))))
	counts := map[imx.ChangeOp]int{}
	for _, p := range d.Paths {
		counts[p.Op]++
	}
	f.say("files", fmt.Sprintf("%s → %s", term.Number(int64(d.Before.Files)), term.Number(int64(d.After.Files))))
	f.say("paths", fmt.Sprintf("%d added, %d removed, %d changed", counts[imx.OpAdd], counts[imx.OpRemove], counts[imx.OpUpdate]))
	return f.Text(ink, 0)
}

// signed writes a number of bytes with its sign.
func signed(n int64) string {
	switch {
	case n > 0:
		return "+" + imx.Size(n).String()
	case n < 0:
		return "-" + imx.Size(-n).String()
	}
	return "±0"
}

func diffPackages(ink term.Ink, c chosenPaths) string {
	var table term.Table
	for _, p := range c.Packages {
		versions := move(ink, imx.Change{Op: p.Op, Before: p.Before, After: p.After})
		paths, grows := "", ""
		if n := c.counted[p.Name]; n > 0 {
			paths = term.Count(int64(n), "path")
		}
		if p.Grows != 0 {
			grows = signed(p.Grows)
		}
		table.Add("  "+changeSign(ink, p.Op)+" "+p.Name, versions, grows, ink.Dim(paths))
	}
	return table.Text(ink, 0)
}

func diffPaths(ink term.Ink, c chosenPaths) string {
	var table term.Table
	for _, p := range c.named {
		says := strings.Join(details(p), ", ")
		if r := risk(p); r != "" {
			says = strings.TrimPrefix(says+"  ", "  ") + ink.Bad("now "+r)
		}
		table.Add("  "+changeSign(ink, p.Op)+" "+term.Clean(p.Path), says)
	}
	text := table.Text(ink, 0)
	if c.more > 0 {
		text += ink.Dim(fmt.Sprintf("  and %s: --files", term.Count(int64(c.more), "more path"))) + "\n"
	}
	return text
}

// details says what differs about a path, with both values where a person can read them.
func details(p inventory.PathChange) []string {
	if p.Op != imx.OpUpdate {
		at := p.After
		if at == nil {
			at = p.Before
		}
		return []string{string(at.Kind)}
	}
	var says []string
	for _, what := range p.What {
		switch what {
		case "kind":
			what = fmt.Sprintf("%s → %s", p.Before.Kind, p.After.Kind)
		case "content":
			what = fmt.Sprintf("content (%s)", signed(p.After.Size-p.Before.Size))
		case "target":
			what = fmt.Sprintf("→ %s, was → %s", term.Clean(p.After.Target), term.Clean(p.Before.Target))
		case "mode":
			what = fmt.Sprintf("mode %s → %s", p.Before.Mode, p.After.Mode)
		case "owner":
			what = fmt.Sprintf("owner %d:%d → %d:%d", p.Before.UID, p.Before.GID, p.After.UID, p.After.GID)
		case "package", "origin":
			what = fmt.Sprintf("from %s → %s", fromOf(*p.Before), fromOf(*p.After))
		case "listens":
			if p.After.Listens {
				continue // its risk says so
			}
			what = "no longer listens"
		}
		if len(says) == 0 || says[len(says)-1] != what {
			says = append(says, what)
		}
	}
	return says
}

func diffUsers(ink term.Ink, users []inventory.UserChange) string {
	var table term.Table
	for _, u := range users {
		table.Add("  "+changeSign(ink, u.Op)+" "+term.Clean(u.Name), move(ink, imx.Change{Op: u.Op, Before: account(u.Before), After: account(u.After)}))
	}
	return table.Text(ink, 0)
}

func account(u *imx.InventoryUser) string {
	if u == nil {
		return ""
	}
	return fmt.Sprintf("%d:%d %s", u.UID, u.GID, u.Home)
}

func diffSettings(ink term.Ink, settings []inventory.SettingChange) string {
	var table term.Table
	for _, s := range settings {
		op := imx.OpUpdate
		switch {
		case s.Before == "":
			op = imx.OpAdd
		case s.After == "":
			op = imx.OpRemove
		}
		table.Add("  "+changeSign(ink, op)+" "+s.Name, move(ink, imx.Change{Op: op, Before: s.Before, After: s.After}))
	}
	return table.Text(ink, 0)
}
