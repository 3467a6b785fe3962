package plan_test

// The little language in which tests write archives, templates and states.

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/deb"
)

// stanzas turns lines such as
//
//	nginx 1.22 section=httpd essential; Depends: libc6 (>= 2.36)
//
// into a Packages file. A package's bytes, and so its digest, follow from its name and version.
func stanzas(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		head, relations, _ := strings.Cut(strings.TrimSpace(line), ";")
		words := strings.Fields(head)
		if len(words) == 0 {
			continue
		}
		fields := map[string]string{
			"Package": words[0], "Version": words[1], "Architecture": "amd64", "Section": "misc", "Priority": "optional",
			"Size": strconv.Itoa(1000 + len(head)), "SHA256": imx.DigestBytes([]byte(words[0] + words[1])).Hex(),
		}
		for _, w := range words[2:] {
			switch key, value, _ := strings.Cut(w, "="); key {
			case "essential":
				fields["Essential"] = "yes"
			case "all":
				fields["Architecture"] = "all"
			case "section", "priority", "source", "installed-size", "multi-arch", "architecture":
				fields[key] = value
			case "other-bytes":
				fields["SHA256"] = imx.DigestBytes([]byte(line)).Hex()
			default:
				panic("unknown word " + w)
			}
			if _, low := fields["section"]; low {
				delete(fields, "Section")
			}
			if _, low := fields["priority"]; low {
				delete(fields, "Priority")
			}
			if _, low := fields["architecture"]; low {
				delete(fields, "Architecture")
			}
		}
		fields["Filename"] = "pool/" + words[0] + "_" + strings.ReplaceAll(words[1], ":", "%3a") + ".deb"
		for k, v := range fields {
			fmt.Fprintf(&b, "%s: %s\n", k, v)
		}
		for relation := range strings.SplitSeq(relations, ";") {
			if relation = strings.TrimSpace(relation); relation != "" {
				b.WriteString(relation + "\n")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func parsePackages(tb testing.TB, archive, suite, lines string) []deb.Package {
	tb.Helper()
	list, err := deb.ParsePackages(strings.NewReader(stanzas(lines)), archive, suite)
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

func lockedSuite(archive, suite, date string) imx.LockedSuite {
	day, err := time.Parse(time.DateOnly, date)
	if err != nil {
		panic(err)
	}
	return imx.LockedSuite{Archive: archive, Suite: suite, InRelease: imx.DigestBytes([]byte(archive + suite + date)), Date: day}
}

// parseTemplate reads lines such as
//
//	image web: nginx, libxml2=2.9   user=www-data file=/etc/x:content
//	service web image=web replicas=3 port=http:8080:80 volume=data:/data
func parseTemplate(text string) imx.Template {
	var t imx.Template
	n := 0
	for line := range strings.Lines(text) {
		n++
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, settings, _ := strings.Cut(rest, " ")
		at := imx.Pos{File: "app.imx.hcl", Line: n}
		switch kind {
		case "image":
			packages, settings, _ := strings.Cut(settings, "  ")
			spec := imx.ImageSpec{Name: strings.TrimSuffix(name, ":"), At: at}
			for p := range strings.SplitSeq(packages, ",") {
				if p = strings.TrimSpace(p); p != "" {
					spec.Packages = append(spec.Packages, p)
				}
			}
			for w := range strings.FieldsSeq(settings) {
				setImage(&spec, w)
			}
			t.Images = append(t.Images, spec)
		case "service":
			spec := imx.Spec{Name: name, At: at, Replicas: 1}
			for w := range strings.FieldsSeq(settings) {
				setService(&spec, w)
			}
			t.Services = append(t.Services, spec)
		case "test": // NAME of-SERVICE packages,...
			of, packages, _ := strings.Cut(settings, " ")
			command := imx.CommandTest{Name: "command", Command: []string{"/x"}, At: at, Packages: strings.Split(packages, ",")}
			t.Tests = append(t.Tests, imx.Test{Name: name, Service: strings.TrimPrefix(of, "of-"), Commands: []imx.CommandTest{command}})
		}
	}
	return t
}

func setImage(spec *imx.ImageSpec, word string) {
	key, value, _ := strings.Cut(word, "=")
	first, second, _ := strings.Cut(value, ":")
	switch key {
	case "from":
		spec.From = strings.Split(value, ",")
	case "without":
		spec.Without = strings.Split(value, ",")
	case "recommends":
		spec.Recommends = true
	case "user":
		spec.User = value
	case "command":
		spec.Command = strings.Split(value, ",")
	case "env":
		spec.Environment = map[string]string{first: second}
	case "file":
		spec.Files = append(spec.Files, imx.File{Path: first, Content: []byte(second), At: imx.Pos{File: "x", Line: 7}})
	case "dir":
		spec.Directories = append(spec.Directories, imx.Directory{Path: first, Owner: second})
	default:
		panic("unknown word " + word)
	}
}

func setService(spec *imx.Spec, word string) {
	key, value, _ := strings.Cut(word, "=")
	first, second, _ := strings.Cut(value, ":")
	switch key {
	case "image":
		spec.Image = value
	case "replicas":
		spec.Replicas, _ = strconv.Atoi(value)
	case "port":
		container, publish, _ := strings.Cut(second, ":")
		p := imx.Port{Name: first}
		p.Container, _ = strconv.Atoi(container)
		p.Publish, _ = strconv.Atoi(publish)
		spec.Ports = append(spec.Ports, p)
	case "volume":
		spec.Volumes = append(spec.Volumes, imx.Volume{Name: first, Path: second})
	case "connect":
		spec.Connect = append(spec.Connect, imx.PortRef{Service: first, Port: second})
	case "env":
		if spec.Environment == nil {
			spec.Environment = map[string]string{}
		}
		spec.Environment[first] = second
	case "file":
		spec.Files = append(spec.Files, imx.File{Path: first, Content: []byte(second)})
	case "memory":
		size, _ := imx.ParseSize(value)
		spec.Resources.Memory = size
	case "health":
		spec.Health.HTTP = &imx.HTTPCheck{Port: first, Path: second}
	case "steps": // of a canary: steps=10:5m,50:
		spec.Deploy = &imx.Deploy{Strategy: imx.Canary, Window: imx.Duration(time.Hour), At: imx.Pos{File: "x", Line: 8}}
		for text := range strings.SplitSeq(value, ",") {
			share, pause, _ := strings.Cut(text, ":")
			wait, err := time.ParseDuration(pause)
			step := imx.Step{Pause: imx.Duration(wait), Confirm: err != nil, At: imx.Pos{File: "x", Line: 9}}
			step.Share, _ = strconv.Atoi(share)
			spec.Deploy.Steps = append(spec.Deploy.Steps, step)
		}
	case "surge":
		spec.Deploy = &imx.Deploy{Strategy: imx.Rolling}
		spec.Deploy.Surge.Percent, _ = strconv.Atoi(strings.TrimSuffix(value, "%"))
	default:
		panic("unknown word " + word)
	}
}

// world is a state that plans are applied to, with all the image plans that were ever built.
type world struct {
	state imx.State
	built map[imx.Digest]imx.ImagePlan
}

func newWorld() *world {
	return &world{
		state: imx.State{Services: map[string]imx.Service{}, Images: map[imx.Digest]imx.Image{}},
		built: map[imx.Digest]imx.ImagePlan{},
	}
}

func (w *world) prev(d imx.Digest) (imx.ImagePlan, bool) {
	p, ok := w.built[d]
	return p, ok
}

// apply does what the server does with a plan, at once.
func (w *world) apply(p imx.Plan) {
	for _, im := range p.Images {
		w.built[im.Digest()] = im
		w.state.Images[im.Digest()] = imx.Image{Name: im.Spec.Name, Plan: im.Digest()}
	}
	for _, spec := range p.Services {
		im, _ := p.Image(spec.Image)
		sv := w.state.Services[spec.Name]
		n := len(sv.Releases) + 1
		sv.Name, sv.Replicas, sv.Target, sv.Current, sv.Destroyed = spec.Name, spec.Replicas, n, n, false
		sv.Releases = append(sv.Releases, imx.Release{
			Service: spec.Name, Number: n, Spec: spec, Image: w.state.Images[im.Digest()], Config: im.Spec,
		})
		w.state.Services[spec.Name] = sv
	}
}

// write shows a change as one line.
func write(c imx.Change) string {
	line := map[imx.ChangeOp]string{imx.OpAdd: "+", imx.OpRemove: "-", imx.OpUpdate: "~", imx.OpReplace: "±"}[c.Op]
	line += " " + c.Subject + " " + c.Kind
	for _, word := range []string{c.Name, short(c.Before)} {
		if word != "" {
			line += " " + word
		}
	}
	if c.After != "" {
		line += " -> " + short(c.After)
	}
	if c.Note != "" {
		line += "  (" + c.Note + ")"
	}
	return line + "\n"
}

func short(s string) string {
	if d, err := imx.ParseDigest(s); err == nil {
		return d.Short()
	}
	return s
}

func diagnostics(ds imx.Diagnostics) string {
	var b strings.Builder
	for _, d := range ds {
		fmt.Fprintf(&b, "%s: %s: %s\n", d.Severity, d.At, d.Summary)
		if d.Hint != "" {
			fmt.Fprintf(&b, "  hint: %s\n", d.Hint)
		}
	}
	return b.String()
}
