package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"imx"
	"imx/internal/term"
)

// showWhy prints the chain from an instance to its commit, one link a line, then the events that
// made it.
func showWhy(out term.Stream, w imx.Why) error {
	ink := out.Ink
	var chain term.Table
	add := func(noun, name, says string) { chain.Add(ink.Bold(noun), ink.Name(name), says) }
	add("instance", w.Instance.ID, instanceSays(w.Instance))
	add("release", fmt.Sprintf("%s %d", w.Release.Service, w.Release.Number), releaseSays(w.Release))
	if c := w.Candidate; c != nil {
		add("candidate", c.ID, candidateSays(*c))
	}
	if o := w.Release.Origin; o != nil {
		add("origin", o.Environment, originSays(o)+", as "+o.Bundle.Short()+" says, signed with "+o.Signer)
	}
	if v := w.Verdict; v != nil {
		add("verdict", v.Policy.Short(), rulingSays(*v))
	}
	add("image", w.Image.Digest.Short(), fmt.Sprintf("%s, %s, %s, %s", w.Image.Name, w.Image.Size,
		term.Count(int64(w.Image.Packages), "package"), term.Count(int64(w.Image.Files), "file")))
	add("image plan", w.Image.Plan.Short(), imagePlanSays(w.ImagePlan))
	add("plan", w.Plan.Short(), "every image and service of the apply")
	add("source", w.Source.String(), sourceSays(w.Source))
	var b strings.Builder
	b.WriteString(chain.Text(ink, 0))
	if len(w.Events) > 0 {
		b.WriteString("\n" + ink.Dim("recorded as") + "\n")
		for _, e := range w.Events {
			b.WriteString("  " + eventLine(ink, e) + "\n")
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func instanceSays(in imx.Instance) string {
	says := string(in.Phase) + ", started " + term.Stamp(in.Started)
	if in.Address.IsValid() {
		says += ", at " + in.Address.String()
	}
	if n := note(in); n != "" {
		says += ", " + n
	}
	return says
}

func releaseSays(r imx.Release) string {
	return fmt.Sprintf("%s, made %s by %s in apply %s", r.State, term.Stamp(r.Made), r.By, r.Apply)
}

func candidateSays(c imx.Candidate) string {
	says := "brought by " + term.Clean(string(c.By))
	if c.Commit != nil {
		says += ", written by " + term.Clean(c.Commit.Author)
	}
	return says + ", approved by " + cmp.Or(term.Clean(strings.Join(approvers(c), ", ")), "nobody")
}

func rulingSays(v imx.Verdict) string {
	var unmet []string
	for _, c := range v.Conditions {
		if !c.Met {
			unmet = append(unmet, c.ID)
		}
	}
	says := "may run"
	if !v.Allowed {
		says = "may not run"
	}
	return fmt.Sprintf("%s in %s, said %s for its %s%s", says, v.Environment, term.Stamp(v.Made), v.Purpose, before("; not met: ", strings.Join(unmet, ", ")))
}

// imagePlanSays names what was asked for, with the versions that were chosen.
func imagePlanSays(p imx.ImagePlan) string {
	asked := p.Spec.Asked()
	var names []string
	for _, pkg := range p.Ship {
		if asked[pkg.Name] {
			names = append(names, pkg.Name+" "+pkg.Version)
		}
	}
	slices.Sort(names)
	says := strings.Join(names, ", ")
	if rest := len(p.Ship) - len(names); rest > 0 {
		says = strings.TrimPrefix(fmt.Sprintf("%s and %d more", says, rest), " and ")
	}
	return strings.TrimPrefix(says+", for "+p.Architecture, ", ")
}

func sourceSays(s imx.Source) string {
	says := "folder " + s.Folder
	if s.Dirty {
		says += ", with changes that were not committed"
	}
	return says
}
