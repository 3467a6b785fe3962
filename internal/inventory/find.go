package inventory

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"

	"imx"
)

// List returns the images that the log tells of, the newest first: those that were built, and
// those that came into the registry from outside; frozen sets, and what is said about images, aren't images. services are those of now. An image whose tag
// begins with built is a build's, whoever pushed it. The error is that of reading the events.
func List(events iter.Seq2[imx.Event, error], services map[string]imx.Service, built string) ([]imx.ImageView, error) {
	found := map[imx.Digest]*imx.ImageView{}
	last := map[imx.Digest]int64{} // the newest event about each
	note := func(e imx.Event, d imx.Digest) *imx.ImageView {
		if found[d] == nil {
			found[d] = &imx.ImageView{Built: e.Time}
		}
		last[d] = e.Index
		return found[d]
	}
	for e, err := range events {
		if err != nil {
			return nil, err
		}
		switch b := e.Body.(type) {
		case imx.ImageBuilt:
			v := note(e, b.Image.Digest)
			v.Image, v.Pushed = b.Image, false
		case imx.ManifestPushed:
			if strings.HasPrefix(b.Repository, imx.FrozenPrefix) || b.Subject != "" {
				continue // a set of packages, or something said about an image
			}
			pushed(note(e, b.Digest), b, built)
		}
	}
	list := make([]imx.ImageView, 0, len(found))
	for d, v := range found {
		if v.Digest == "" {
			continue // a build that was cut off between its push and its record
		}
		v.RunBy = runBy(services, d)
		list = append(list, *v)
	}
	slices.SortFunc(list, func(a, b imx.ImageView) int {
		return cmp.Or(cmp.Compare(last[b.Digest], last[a.Digest]), cmp.Compare(a.Digest, b.Digest))
	})
	return list, nil
}

// pushed notes a push of an image.
func pushed(v *imx.ImageView, b imx.ManifestPushed, built string) {
	if b.Tag != "" && !slices.Contains(v.Tags, b.Repository+":"+b.Tag) {
		v.Tags = append(v.Tags, b.Repository+":"+b.Tag)
	}
	if v.Digest == "" && !strings.HasPrefix(b.Tag, built) {
		v.Image, v.Pushed = imx.Image{Name: b.Repository, Digest: b.Digest}, true
	}
}

// runBy returns the services that run an image, sorted by name.
func runBy(services map[string]imx.Service, d imx.Digest) []imx.ImageUse {
	var uses []imx.ImageUse
	for _, name := range slices.Sorted(maps.Keys(services)) {
		s := services[name]
		if s.Destroyed {
			continue
		}
		for _, number := range slices.Compact([]int{s.Current, s.Target}) {
			if r, ok := s.Release(number); ok && r.Image.Digest == d {
				uses = append(uses, imx.ImageUse{Service: name, Release: number, Current: number == s.Current, Ports: r.Spec.Ports})
			}
		}
	}
	return uses
}

// minPrefix is how many digits of a digest stand for it at least.
const minPrefix = 4

// Find returns the image of a list, the newest first, that a person means by
//
//	NAME             the newest image built under it; else what the service of that name runs
//	image.NAME       the image alone
//	service.NAME     the service alone: the release with the traffic, else the one on its way
//	DIGEST           or a prefix of one, of 4 digits or more, with "sha256:" or without
//	NAME@DIGEST      the same among the images of that name
//	NAME:TAG         as it is called in the registry
//
// Errors, with near names: NotFound; Invalid for a prefix that several images have.
func Find(list []imx.ImageView, services map[string]imx.Service, wanted string) (imx.ImageView, error) {
	if name, ok := strings.CutPrefix(wanted, "service."); ok {
		return ofService(list, services, name)
	}
	name, digest, dated := strings.Cut(strings.TrimPrefix(wanted, "image."), "@")
	if dated {
		return byDigest(list, name, digest)
	}
	for _, v := range list {
		if v.Name == name || slices.Contains(v.Tags, name) {
			return v, nil
		}
	}
	if s, ok := services[wanted]; ok && !s.Destroyed {
		return ofService(list, services, wanted)
	}
	if isPrefix(wanted) {
		return byDigest(list, "", wanted)
	}
	return imx.ImageView{}, imx.Errorf(imx.NotFound, "there is no image or service %q", wanted).
		WithHint("%s", cmp.Or(meant(near(wanted, known(list, services))), "imx image list shows the images"))
}

func ofService(list []imx.ImageView, services map[string]imx.Service, name string) (imx.ImageView, error) {
	s, ok := services[name]
	if !ok || s.Destroyed {
		return imx.ImageView{}, imx.Errorf(imx.NotFound, "there is no service %q", name).
			WithHint("%s", cmp.Or(meant(near(name, slices.Sorted(maps.Keys(services)))), "imx status lists the services"))
	}
	r, ok := s.Release(s.Current)
	if !ok {
		r, ok = s.Release(s.Target)
	}
	for _, v := range list {
		if ok && v.Digest == r.Image.Digest {
			return v, nil
		}
	}
	return imx.ImageView{}, imx.Errorf(imx.NotFound, "service %s runs no image", name).WithHint("imx releases %s lists what it ran", name)
}

// isPrefix reports whether text can only be meant as a digest.
func isPrefix(text string) bool {
	hex, ok := strings.CutPrefix(text, "sha256:")
	return ok || len(hex) >= minPrefix && strings.Trim(hex, "0123456789abcdef") == ""
}

// byDigest finds an image of the name, or of any for "", by its digest or the beginning of it.
func byDigest(list []imx.ImageView, name, digest string) (imx.ImageView, error) {
	hex := strings.TrimPrefix(digest, "sha256:")
	if len(hex) < minPrefix {
		return imx.ImageView{}, imx.Errorf(imx.Invalid, "%q is too short for a digest: it takes %d digits or more", digest, minPrefix)
	}
	var found []imx.ImageView
	var others []string
	for _, v := range list {
		switch {
		case name != "" && v.Name != name:
		case strings.HasPrefix(v.Digest.Hex(), hex):
			found = append(found, v)
		default:
			others = append(others, v.Digest.Short())
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return imx.ImageView{}, imx.Errorf(imx.Invalid, "%d images begin with %s", len(found), hex).WithHint("write more of it: %s", apart(found))
	case name != "" && len(others) == 0:
		return imx.ImageView{}, imx.Errorf(imx.NotFound, "there is no image %q", name).
			WithHint("%s", cmp.Or(meant(near(name, known(list, nil))), "imx image list shows the images"))
	case name != "":
		return imx.ImageView{}, imx.Errorf(imx.NotFound, "no image %s has the digest %s", name, digest).
			WithHint("there is %s", either(others[:min(few, len(others))]))
	}
	return imx.ImageView{}, imx.Errorf(imx.NotFound, "no image has the digest %s", digest).WithHint("imx image list shows the images")
}

// apart names a few images by as much of their digests as tells them apart.
func apart(found []imx.ImageView) string {
	digits := len(found[0].Digest.Short())
	for i, v := range found {
		for _, w := range found[:i] {
			for digits < len(v.Digest.Hex()) && v.Digest.Hex()[:digits] == w.Digest.Hex()[:digits] {
				digits++
			}
		}
	}
	var words []string
	for _, v := range found[:min(few, len(found))] {
		words = append(words, v.Digest.Hex()[:min(digits, len(v.Digest.Hex()))]+" ("+v.Name+")")
	}
	return either(words)
}

// known returns all names that Find takes, each once.
func known(list []imx.ImageView, services map[string]imx.Service) []string {
	all := map[string]bool{}
	for _, v := range list {
		all[v.Name] = true
	}
	for name, s := range services {
		all[name] = all[name] || !s.Destroyed
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name] {
			names = append(names, name)
		}
	}
	return names
}
