package cli

import (
	"io"
	"slices"
	"strconv"
	"strings"

	"charm.land/lipgloss/v2"

	"imx"
	"imx/internal/term"
)

const (
	// manyPackages is from how many added packages on they are shown as a paragraph.
	manyPackages = 6
	// pageWidth is how wide paragraphs are where no terminal says.
	pageWidth = 100
	// memberIndent stands before each change of a subject.
	memberIndent = "    "
)

// showPlan prints what applying the plan of a folder would change, by image and service, then what
// was inferred, then the sum.
func showPlan(out term.Stream, p imx.PlanResult, dir string) error {
	var b strings.Builder
	for _, s := range bySubject(p.Changes) {
		b.WriteString(s.text(out.Ink, out.Columns()) + "\n")
	}
	b.WriteString(diagnosticsText(out.Ink, inFolder(p.Notices, dir)))
	b.WriteString(findingsLine(out.Ink, p.Findings, dir))
	b.WriteString(summary(out.Ink, p.Changes, "build") + "\n")
	_, err := io.WriteString(out, b.String())
	return err
}

// subject is an image, service or ingress with all its changes.
type subject struct {
	name    string
	op      imx.ChangeOp
	note    string
	changes []imx.Change // but the one that is about the subject as a whole
}

// bySubject groups changes, in the order in which subjects first appear.
func bySubject(changes []imx.Change) []*subject {
	var subjects []*subject
	byName := map[string]*subject{}
	for _, c := range changes {
		s := byName[c.Subject]
		if s == nil {
			s = &subject{name: c.Subject, op: imx.OpUpdate}
			byName[c.Subject], subjects = s, append(subjects, s)
		}
		if whole(c) {
			s.op, s.note = c.Op, c.Note
			continue
		}
		s.changes = append(s.changes, c)
	}
	return subjects
}

// whole reports whether a change is about its subject as a whole, not about a part of it.
func whole(c imx.Change) bool {
	return c.Name == "" && c.Before == "" && c.After == "" && slices.Contains([]string{"image", "service", "ingress"}, c.Kind)
}

func (s *subject) text(ink term.Ink, columns int) string {
	var b strings.Builder
	b.WriteString(changeSign(ink, s.op) + " " + ink.Bold(s.name) + aside(ink, s.note) + "\n")
	var packages []string
	var rows term.Table
	for _, c := range s.changes {
		if c.Kind == "package" && c.Op == imx.OpAdd {
			packages = append(packages, c.Name+" "+c.After)
		}
	}
	paragraph := len(packages) >= manyPackages
	for _, c := range s.changes {
		if !paragraph || c.Kind != "package" || c.Op != imx.OpAdd {
			rows.Add(memberIndent+changeSign(ink, c.Op)+" "+c.Kind, c.Name, move(ink, c)+aside(ink, c.Note))
		}
	}
	b.WriteString(rows.Text(ink, 0))
	if paragraph {
		b.WriteString(memberIndent + changeSign(ink, imx.OpAdd) + " " + term.Count(int64(len(packages)), "package") + "\n")
		b.WriteString(wrap(packages, ink, columns))
	}
	return b.String()
}

func changeSign(ink term.Ink, op imx.ChangeOp) string {
	switch op {
	case imx.OpAdd:
		return ink.Good("+")
	case imx.OpRemove:
		return ink.Bad("-")
	case imx.OpUpdate:
		return ink.Warn("~")
	case imx.OpReplace:
		return ink.Warn("±")
	}
	return " "
}

func aside(ink term.Ink, note string) string {
	if note == "" {
		return ""
	}
	return "  " + ink.Dim("("+term.Clean(note)+")")
}

// move shows a value before and after, or the one that there is.
func move(ink term.Ink, c imx.Change) string {
	from, to := value(c.Before), value(c.After)
	switch {
	case from == "", c.Op == imx.OpAdd:
		return to
	case to == "":
		return ink.Dim(from)
	case from == to:
		return to
	}
	return ink.Dim(from) + " → " + to
}

// value shortens a digest to what a person can recognise, and cleans anything else.
func value(s string) string {
	if d, err := imx.ParseDigest(s); err == nil {
		return d.Short()
	}
	return term.Clean(s)
}

// wrap sets words, with their versions, as a paragraph that is no wider than the terminal.
func wrap(packages []string, ink term.Ink, columns int) string {
	indent := memberIndent + "    "
	if columns == 0 || columns > pageWidth {
		columns = pageWidth
	}
	var b strings.Builder
	line := 0
	for i, p := range packages {
		name, version, _ := strings.Cut(p, " ")
		if i < len(packages)-1 {
			version += ","
		}
		width := lipgloss.Width(name) + 1 + lipgloss.Width(version)
		switch {
		case line == 0:
			b.WriteString(indent)
			line = len(indent)
		case line+1+width > columns:
			b.WriteString("\n" + indent)
			line = len(indent)
		default:
			b.WriteString(" ")
			line++
		}
		b.WriteString(name + " " + ink.Dim(version))
		line += width
	}
	return b.String() + "\n"
}

// summary sums a plan up: "2 images to build, 3 services to create, 6 instances to start".
func summary(ink term.Ink, changes []imx.Change, images string) string {
	if len(changes) == 0 {
		return ink.Good("nothing to change") + ": everything is as the template says"
	}
	var sum tally
	for _, s := range bySubject(changes) {
		sum.add(s)
	}
	var parts []string
	for _, p := range []struct {
		n         int64
		one, verb string
	}{
		{sum.build, "image", images},
		{sum.create, "service", "create"},
		{sum.change, "service", "change"},
		{sum.destroy, "service", "destroy"},
		{sum.open, "ingress", "open"},
		{sum.reopen, "ingress", "change"},
		{sum.start, "instance", "start"},
		{sum.replace, "instance", "replace"},
		{sum.stop, "instance", "stop"},
	} {
		if p.n > 0 {
			parts = append(parts, term.Count(p.n, p.one)+" to "+p.verb)
		}
	}
	return ink.Bold(strings.Join(parts, ", "))
}

// tally counts what a plan would do.
type tally struct {
	build, create, change, destroy int64
	open, reopen                   int64
	start, replace, stop           int64
}

func (t *tally) add(s *subject) {
	image := strings.HasPrefix(s.name, "image.")
	switch {
	case image && s.op != imx.OpRemove:
		t.build++
	case image:
	case strings.HasPrefix(s.name, "ingress.") && s.op == imx.OpAdd:
		t.open++
	case strings.HasPrefix(s.name, "ingress."):
		t.reopen++
	case s.op == imx.OpAdd:
		t.create++
	case s.op == imx.OpRemove:
		t.destroy++
	default:
		t.change++
	}
	for _, c := range s.changes {
		if c.Kind == "instances" {
			t.instances(c)
		}
	}
}

// instances counts a change of kind "instances": Before and After are how many there are and will be.
func (t *tally) instances(c imx.Change) {
	before, _ := strconv.ParseInt(c.Before, 10, 64)
	after, _ := strconv.ParseInt(c.After, 10, 64)
	switch {
	case c.Op == imx.OpReplace:
		t.replace += before
	case after > before:
		t.start += after - before
	default:
		t.stop += before - after
	}
}
