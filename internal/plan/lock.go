package plan

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/deb"
)

// FormatLock writes the lock file's bytes: indented JSON that ends in a newline, one reference a
// line, everything sorted, so that a changed package is a few changed lines and two people's
// changes merge.
func FormatLock(l imx.Lock) []byte {
	l.Suites = append([]imx.LockedSuite{}, l.Suites...)
	l.Packages = append([]imx.Package{}, l.Packages...)
	l.Images = append([]imx.LockedImage{}, l.Images...)
	slices.SortFunc(l.Suites, bySuite)
	sortPackages(l.Packages)
	slices.SortFunc(l.Images, func(a, b imx.LockedImage) int { return strings.Compare(a.Name, b.Name) })
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(l); err != nil {
		panic("plan: a lock without a JSON form: " + err.Error()) // it has strings, numbers and dates only
	}
	return out.Bytes()
}

// CheckLock refuses a lock that contradicts itself: a package listed twice or with values that no
// archive gives, an image that refers to a package that isn't there. The error is of kind Invalid,
// or Refused for a version of the format that is newer than this imx.
func CheckLock(l imx.Lock) error {
	if err := checkLockVersion(l.Version); err != nil {
		return err
	}
	if f := findFault(l); f != nil {
		return damaged("%w", f.err)
	}
	return nil
}

func checkLockVersion(version int) error {
	if version > imx.LockVersion {
		return imx.Errorf(imx.Refused, "%s is of version %d, newer than the %d that this imx knows", imx.LockFile, version, imx.LockVersion).
			WithHint("use the imx that wrote it, or a newer one")
	}
	if version < 1 {
		return damaged("it has no version")
	}
	return nil
}

// fault is what is wrong with one entry of a lock's lists.
type fault struct {
	list  string // as in the JSON: "packages"
	index int
	err   error
}

// findFault returns the first fault of the lock, or nil.
func findFault(l imx.Lock) *fault {
	for i, s := range l.Suites {
		if s.Archive == "" || s.Suite == "" || s.InRelease == "" || s.Date.IsZero() {
			return &fault{"suites", i, fmt.Errorf("suite %q of archive %q lacks a name, a date or a digest", s.Suite, s.Archive)}
		}
	}
	known, names := map[string]bool{}, map[string]bool{}
	for i, p := range l.Packages {
		if err := checkLockedPackage(p); err != nil {
			return &fault{"packages", i, fmt.Errorf("package %q: %w", p.Ref(), err)}
		}
		if known[p.Ref()] {
			return &fault{"packages", i, fmt.Errorf("package %q is there twice", p.Ref())}
		}
		known[p.Ref()] = true
	}
	for i, im := range l.Images {
		if err := checkLockedImage(im, known); err != nil {
			return &fault{"images", i, fmt.Errorf("image %q %w", im.Name, err)}
		}
		if names[im.Name] {
			return &fault{"images", i, fmt.Errorf("image %q is there twice", im.Name)}
		}
		names[im.Name] = true
	}
	return nil
}

func checkLockedPackage(p imx.Package) error {
	switch {
	case p.Archive == "" || p.Suite == "":
		return errors.New("it has no archive or no suite")
	case p.Size < 1 || p.Size > deb.MaxSize:
		return fmt.Errorf("its size is %d", p.Size)
	case p.Digest == "":
		return errors.New("it has no digest")
	}
	return cmp.Or(deb.CheckName(p.Name), deb.CheckVersion(p.Version), deb.CheckArchitecture(p.Architecture), deb.CheckPath(p.Path))
}

func checkLockedImage(im imx.LockedImage, known map[string]bool) error {
	switch {
	case im.Name == "" || len(im.From) == 0 || slices.Contains(im.From, ""):
		return errors.New("has no name or no archive")
	case im.Epoch.IsZero():
		return errors.New("has no epoch")
	}
	return cmp.Or(refersTo(slices.Concat(im.Base, im.Tools, im.Ship), known), checkLockedKits(im.Kits, known))
}

func refersTo(references []string, known map[string]bool) error {
	for _, ref := range references {
		if !known[ref] {
			return fmt.Errorf("refers to package %q, which isn't there", ref)
		}
	}
	return nil
}

// damaged makes the error for a lock file that nobody should mend by hand.
func damaged(format string, args ...any) *imx.Error {
	return imx.Errorf(imx.Invalid, imx.LockFile+" is damaged: "+format, args...).
		WithHint("take it from Git again, or let `imx plan --update` write a new one")
}

// locked returns what the lock says of the image, whether it still fits or not.
func (in Input) locked(spec imx.ImageSpec) (imx.LockedImage, bool) {
	if in.Lock == nil {
		return imx.LockedImage{}, false
	}
	i := slices.IndexFunc(in.Lock.Images, func(l imx.LockedImage) bool { return l.Name == spec.Name })
	if i < 0 {
		return imx.LockedImage{}, false
	}
	return in.Lock.Images[i], true
}

// keeps returns what the lock says of the image, if that answers all that the template asks.
//
// An image without packages leaves nothing to choose, so it needs no lock, archive or build root.
func (in Input) keeps(spec imx.ImageSpec) (imx.LockedImage, bool) {
	if len(spec.Packages) == 0 {
		return imx.LockedImage{Name: spec.Name, From: archivesOf(spec), Epoch: time.Unix(0, 0).UTC()}, true
	}
	l, ok := in.locked(spec)
	if !ok || in.Update || l.Recommends != spec.Recommends || !slices.Equal(l.From, archivesOf(spec)) || !sameSet(l.Asked, spec.Packages) || !sameSet(l.Without, spec.Without) {
		return imx.LockedImage{}, false
	}
	return l, in.there(slices.Concat(l.Base, l.Tools, l.Ship))
}

// kept returns the plan of an image as the lock has it, if that answers all that the template asks.
func (in Input) kept(spec imx.ImageSpec) (imx.ImagePlan, bool) {
	locked, ok := in.keeps(spec)
	if !ok {
		return imx.ImagePlan{}, false
	}
	pins := map[string]imx.Package{}
	if in.Lock != nil {
		pins = pinned(*in.Lock)
	}
	return imx.ImagePlan{
		Spec: strippedImage(spec), Architecture: in.Architecture, Epoch: locked.Epoch,
		Base: at(pins, locked.Base), Tools: at(pins, locked.Tools), Ship: at(pins, locked.Ship),
	}, true
}

// there reports whether the lock has all that is referred to, for the architecture.
func (in Input) there(references []string) bool {
	pins := pinned(*in.Lock)
	return !slices.ContainsFunc(references, func(ref string) bool {
		p, ok := pins[ref]
		return !ok || p.Architecture != in.Architecture && p.Architecture != "all"
	})
}

// sameShip reports whether the plan ships just the packages that the lock has for the image.
func sameShip(pins map[string]imx.Package, l imx.LockedImage, p imx.ImagePlan) bool {
	return slices.EqualFunc(at(pins, l.Ship), p.Ship, func(a, b imx.Package) bool {
		return a.Ref() == b.Ref() && a.Digest == b.Digest
	})
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Compact(slices.Sorted(slices.Values(a))), slices.Compact(slices.Sorted(slices.Values(b))))
}

// pinned returns the lock's packages by their Ref.
func pinned(l imx.Lock) map[string]imx.Package {
	pins := make(map[string]imx.Package, len(l.Packages))
	for _, p := range l.Packages {
		pins[p.Ref()] = p
	}
	return pins
}

// at returns the referred packages, in order.
func at(pins map[string]imx.Package, references []string) []imx.Package {
	out := make([]imx.Package, 0, len(references))
	for _, ref := range references {
		out = append(out, pins[ref])
	}
	sortPackages(out)
	return out
}

// refs returns each package's Ref, in the packages' order, never nil.
func refs(packages []imx.Package) []string {
	out := make([]string, 0, len(packages))
	for _, p := range packages {
		out = append(out, p.Ref())
	}
	return out
}

func sortPackages(packages []imx.Package) {
	slices.SortFunc(packages, func(a, b imx.Package) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version),
			strings.Compare(a.Architecture, b.Architecture))
	})
}

func bySuite(a, b imx.LockedSuite) int {
	return cmp.Or(strings.Compare(a.Archive, b.Archive), strings.Compare(a.Suite, b.Suite))
}
