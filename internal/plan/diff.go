package plan

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"imx"
	"imx/internal/deb"
)

// Built gives the plan of an image by the digest of its ImagePlan, or false if it is gone.
type Built = func(imagePlan imx.Digest) (imx.ImagePlan, bool)

// Diff says what applying p would change in the state, for a person to read before it
// happens: first the images, then the services, then the ingresses, each by name. A change of kind "image" or
// "service" without name or values is about its subject as a whole; those after it, with the
// same subject, are its parts. An empty Diff means that applying p would do nothing.
//
// Images are compared with those that the services' targets run, services with their targets.
// Where the plan of a running image is gone, the image is said to change without details.
func Diff(p imx.Plan, s imx.State, prev Built) []imx.Change {
	var changes []imx.Change
	for _, im := range p.Images {
		changes = append(changes, diffImage(im, s, prev)...)
	}
	for _, spec := range p.Services {
		im, _ := p.Image(spec.Image)
		if sv, ok := s.Services[spec.Name]; ok && !sv.Destroyed {
			changes = append(changes, diffService(spec, im, sv, prev)...)
			continue
		}
		changes = append(changes, addService(spec)...)
	}
	return append(changes, diffIngresses(p, s)...)
}

// Unlisted returns a notice for every service that runs although the plan has none of its name.
// Applying the plan leaves them alone, so they are no part of a Diff.
func Unlisted(p imx.Plan, s imx.State) imx.Diagnostics {
	var notices imx.Diagnostics
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		listed := slices.ContainsFunc(p.Services, func(spec imx.Spec) bool { return spec.Name == name })
		if !listed && !s.Services[name].Destroyed {
			notices = append(notices, imx.Diagnostic{
				Severity: imx.SeverityNotice,
				Summary:  "service." + name + " runs, but isn't in the template; it is left as it is",
				Hint:     "`imx destroy " + name + "` takes it down",
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Ingresses)) {
		if !slices.ContainsFunc(p.Ingresses, func(in imx.Ingress) bool { return in.Name == name }) {
			notices = append(notices, imx.Diagnostic{
				Severity: imx.SeverityNotice,
				Summary:  "ingress." + name + " is open, but isn't in the template; it is left as it is",
				Hint:     "`imx ingress remove " + name + "` takes it down",
			})
		}
	}
	return notices
}

// diffImage compares an image with what runs under its name, or else with what was ever built.
func diffImage(im imx.ImagePlan, s imx.State, prev Built) []imx.Change {
	subject, digest := "image."+im.Spec.Name, im.Digest()
	old, runs := running(im.Spec.Name, digest, s)
	_, built := s.Images[digest]
	switch {
	case runs && old == digest || !runs && built:
		return nil
	case !runs:
		whole := imx.Change{Op: imx.OpAdd, Kind: "image", Subject: subject}
		changes := append([]imx.Change{whole}, diffPackages(subject, nil, im.Ship, "")...)
		changes = append(changes, diffFiles(subject, nil, im.Spec.Files)...)
		told := imageSettings(im)
		for _, plain := range []string{"architecture", "epoch", "from", "packages"} { // the packages are listed one by one
			delete(told, plain)
		}
		return append(changes, diffSettings(subject, nil, told)...)
	}
	whole := imx.Change{Op: imx.OpUpdate, Kind: "image", Subject: subject}
	before, ok := prev(old)
	if !ok {
		whole.Note = "what it was made from is no longer known"
		return []imx.Change{whole}
	}
	return append([]imx.Change{whole}, imageParts(subject, before, im)...)
}

// running returns the digest of the image plan that a service's target was made from, of the
// first service by name where it isn't the wanted one; false if no service runs the image.
func running(image string, wanted imx.Digest, s imx.State) (imx.Digest, bool) {
	found := false
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		sv := s.Services[name]
		r, ok := sv.Release(sv.Target)
		if !ok || sv.Destroyed || r.Spec.Image != image {
			continue
		}
		if r.Image.Plan != wanted {
			return r.Image.Plan, true
		}
		found = true
	}
	return wanted, found
}

// imageParts lists what differs between two plans of one image.
func imageParts(subject string, before, after imx.ImagePlan) []imx.Change {
	changes := diffPackages(subject, before.Ship, after.Ship, "")
	root := diffPackages(subject, slices.Concat(before.Base, before.Tools), slices.Concat(after.Base, after.Tools),
		"in the build root only")
	for _, c := range root {
		shipped := func(o imx.Change) bool { return o.Name == c.Name }
		if !slices.ContainsFunc(changes, shipped) {
			changes = append(changes, c)
		}
	}
	changes = append(changes, diffFiles(subject, before.Spec.Files, after.Spec.Files)...)
	return append(changes, diffSettings(subject, imageSettings(before), imageSettings(after))...)
}

// diffPackages lists packages that come, go or change their version, by name.
func diffPackages(subject string, before, after []imx.Package, note string) []imx.Change {
	change := imx.Change{Kind: "package", Subject: subject, Note: note}
	from, to := map[string]imx.Package{}, map[string]imx.Package{}
	for _, p := range before {
		from[p.Name] = p
	}
	for _, p := range after {
		to[p.Name] = p
	}
	return diffMaps(change, from, to, func(c *imx.Change, a, b imx.Package) {
		c.Before, c.After = a.Version, b.Version
		switch {
		case c.Op != imx.OpUpdate:
		case deb.Compare(a.Version, b.Version) > 0:
			c.Note = strings.TrimPrefix(note+", a downgrade", ", ")
		case a.Version == b.Version && a.Digest == b.Digest:
			c.Note = strings.TrimPrefix(note+", the same file from another place of the archive", ", ")
		case a.Version == b.Version:
			c.Note = strings.TrimPrefix(note+", other bytes under the same version", ", ")
		}
	})
}

// diffFiles lists files that come, go or change, by path.
func diffFiles(subject string, before, after []imx.File) []imx.Change {
	change := imx.Change{Kind: "file", Subject: subject}
	return diffMaps(change, fileKeys(before), fileKeys(after), func(c *imx.Change, a, b fileKey) {
		c.Before, c.After = string(a.digest), string(b.digest)
		if c.Op == imx.OpUpdate && a.digest == b.digest {
			c.Before, c.After = a.access(), b.access()
		}
	})
}

// fileKey is what makes two files of one path differ; unlike imx.File it can be compared.
type fileKey struct {
	digest imx.Digest
	mode   imx.Mode
	owner  string
}

func fileKeys(files []imx.File) map[string]fileKey {
	keys := make(map[string]fileKey, len(files))
	for _, f := range strippedFiles(files) {
		keys[f.Path] = fileKey{f.Digest, f.Mode, f.Owner}
	}
	return keys
}

func (k fileKey) access() string { return access(k.mode, k.owner, 0o644) }

// access writes a mode and an owner with their defaults filled in: "0644 root".
func access(mode imx.Mode, owner string, usual imx.Mode) string {
	if mode == 0 {
		mode = usual
	}
	if owner == "" {
		owner = "root"
	}
	return mode.String() + " " + owner
}

// diffSettings lists settings that come, go or change, by name.
func diffSettings(subject string, before, after map[string]string) []imx.Change {
	change := imx.Change{Kind: "setting", Subject: subject}
	return diffMaps(change, before, after, func(c *imx.Change, a, b string) { c.Before, c.After = a, b })
}

// diffMaps makes a change like the given one for each key whose value differs, by key. show fills
// in the rest from the two values, of which the one that isn't there is zero.
func diffMaps[V comparable](like imx.Change, before, after map[string]V, show func(c *imx.Change, a, b V)) []imx.Change {
	keys := map[string]bool{}
	for k := range before {
		keys[k] = true
	}
	for k := range after {
		keys[k] = true
	}
	var changes []imx.Change
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		a, was := before[k]
		b, is := after[k]
		c := like
		c.Name = k
		switch {
		case a == b && was == is:
			continue
		case !was:
			c.Op = imx.OpAdd
		case !is:
			c.Op = imx.OpRemove
		default:
			c.Op = imx.OpUpdate
		}
		show(&c, a, b)
		changes = append(changes, c)
	}
	return changes
}

// addService is the change of a service that doesn't run yet.
func addService(spec imx.Spec) []imx.Change {
	subject := "service." + spec.Name
	changes := []imx.Change{{Op: imx.OpAdd, Kind: "service", Subject: subject}}
	for _, p := range spec.Ports {
		if p.Publish != 0 {
			changes = append(changes, imx.Change{
				Op: imx.OpAdd, Kind: "route", Subject: subject, Name: p.Name, After: "port " + strconv.Itoa(p.Publish),
			})
		}
	}
	changes = append(changes, diffFiles(subject, nil, spec.Files)...)
	changes = append(changes, diffSettings(subject, nil, telling(spec))...)
	first := imx.Service{}.ReplicasBy(spec, true)
	if first == 0 {
		return changes
	}
	instances := imx.Change{Op: imx.OpAdd, Kind: "instances", Subject: subject, Before: "0", After: strconv.Itoa(first)}
	if spec.Exclusive() {
		instances.Note = "later replaced stop-then-start: its volume has one holder"
	}
	return append(changes, instances)
}

// telling returns the settings of a new service that a person wants to see: not those that nearly
// always are what they are by default, nor the published ports, which are listed as routes.
func telling(spec imx.Spec) settings {
	s := serviceSettings(spec)
	for _, p := range spec.Ports {
		if p.Publish != 0 {
			delete(s, "port."+p.Name)
		}
	}
	for _, usual := range []string{"drain", "grace", "deadline", "health.every", "health.timeout", "health.failures"} {
		delete(s, usual)
	}
	return s
}

// diffService compares a service with its target. Whether instances are replaced depends on what a
// release holds as a whole, not on the settings that are listed: one that nobody listed still counts.
func diffService(spec imx.Spec, im imx.ImagePlan, sv imx.Service, prev Built) []imx.Change {
	subject := "service." + spec.Name
	target, _ := sv.Release(sv.Target)
	before, after := strippedService(target.Spec), strippedService(spec)
	before.Replicas, after.Replicas = 0, 0
	configured := imx.DigestJSON(before) != imx.DigestJSON(after)
	replaced := configured || target.Image.Plan != im.Digest()
	wanted := sv.ReplicasBy(spec, replaced)
	if !replaced && sv.Replicas == wanted {
		return nil
	}
	changes := []imx.Change{{Op: imx.OpUpdate, Kind: "service", Subject: subject}}
	changes = append(changes, diffFiles(subject, before.Files, after.Files)...)
	changes = append(changes, diffSettings(subject, serviceSettings(before), serviceSettings(after))...)
	instances := imx.Change{
		Op: imx.OpUpdate, Kind: "instances", Subject: subject,
		Before: strconv.Itoa(sv.Replicas), After: strconv.Itoa(wanted),
	}
	if replaced {
		instances.Op, instances.Note = imx.OpReplace, manner(spec.How())
		if spec.Shares(target.Spec) {
			instances.Note = "stop-then-start: its volume has one holder"
		}
		if old, ok := prev(target.Image.Plan); ok && !configured && sameBut(old, im) {
			instances.Note += "; not at all if the new build root makes the same image"
		}
	}
	return append(changes, instances)
}

// manner says how a strategy replaces instances.
func manner(how imx.Deploy) string {
	switch how.Strategy {
	case imx.Rolling:
		return "rolling: some after the others, each new one takes traffic when it is healthy"
	case imx.Canary:
		var shares []string
		for _, step := range how.Steps {
			shares = append(shares, strconv.Itoa(step.Share)+" %")
		}
		return "canary: the new ones take " + strings.Join(append(shares, "all"), ", then ") + " of the traffic"
	case imx.BlueGreen:
	}
	return "blue-green: the old ones serve until all new ones are healthy"
}

// sameBut reports whether two plans of an image differ in nothing but the build root. Such an
// image is built again, but mostly comes out with the same bytes and digest.
func sameBut(a, b imx.ImagePlan) bool {
	a.Base, a.Tools, b.Base, b.Tools = nil, nil, nil, nil
	return a.Digest() == b.Digest()
}
