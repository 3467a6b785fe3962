package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cuelabs.dev/go/oci/ociregistry"

	"imx"
	"imx/internal/disk"
)

// Checking is what a look at every byte of the registry is made with.
type Checking struct {
	// Pushed are the tags that were pushed, as the log has it: the last digest of each.
	Pushed map[Tagged]imx.Digest
	// Needs are digests that something else than the registry needs, with what that is: "release shop/3".
	Needs map[imx.Digest][]string
	// Stated says of the manifests that have statements of images in the registry what they are.
	Stated map[imx.Digest]Stated
	// Mend says that what is damaged is to be repaired: from the log, the bytes at hand and Replica.
	Mend    Mend
	Replica ociregistry.Interface // nil for none
	Name    string                // of the replica, for people
	Forget  imx.Forget            // lets go of replaced statements that are damaged, and aren't repaired
	Report  imx.Report
}

// Stated is a statement for who looks for damage.
type Stated struct {
	Says     string // "provenance of image f7ce6b90b259, since replaced"
	Replaced bool   // there is a newer one of its type and image, and nothing reads this one
}

// Mend says whether a look changes anything.
type Mend int

// What a look does about damage.
const (
	MendNothing Mend = iota
	MendAll
)

// Check reads every blob and every name, and returns what is damaged, who needs it, and what became of it. It may run while images
// are pushed and pulled; nothing may be collected meanwhile. A repair is whole and right, or isn't made. Errors: those of the
// disk; Unavailable if ctx ends.
func (r *Registry) Check(ctx context.Context, c Checking) (imx.RegistryCheck, error) {
	k := &checker{r: r, Checking: c, faults: map[string]*fix{}, named: map[imx.Digest][]place{}, wants: map[imx.Digest][]string{}, parents: map[imx.Digest][]imx.Digest{}}
	if k.Report == nil {
		k.Report = func(imx.Progress) {}
	}
	for _, step := range []func(context.Context) error{k.names, k.blobs, k.mendBlobs, k.manifests, k.tags, k.forget, k.mendNames} {
		if err := step(ctx); err != nil {
			return k.result(), err
		}
		if ctx.Err() != nil {
			return k.result(), imx.Errorf(imx.Unavailable, "stopped before the whole registry was read: %w", context.Cause(ctx))
		}
	}
	return k.result(), nil
}

// place is a name of a digest.
type place struct {
	repo, sort string
	digest     imx.Digest // as the name has it
}

// fix is a fault, and what would mend it.
type fix struct {
	imx.RegistryFault

	digest imx.Digest                      // of the bytes that are damaged; "" for a name
	mend   func(ctx context.Context) error // of a name; nil where nothing can
	from   string                          // where what mend writes comes from
}

// checker is one look.
type checker struct {
	Checking

	r       *Registry
	faults  map[string]*fix             // by kind and thing
	named   map[imx.Digest][]place      // the names of each blob's bytes
	wants   map[imx.Digest][]string     // who needs a digest, beside Needs
	parents map[imx.Digest][]imx.Digest // the manifests that name a digest
	done    imx.RegistryCheck
}

func (k *checker) add(f fix) *fix {
	key := string(f.Kind) + " " + f.Thing
	if k.faults[key] == nil {
		k.faults[key] = &f
	}
	return k.faults[key]
}

func (k *checker) nameFault(repo, sort, file, what string) *fix {
	return k.add(fix{RegistryFault: imx.RegistryFault{Kind: imx.FaultName, Thing: repo + "/" + sort + "/" + file, What: what}})
}

// names reads all names but tags, and notes whose bytes they are.
func (k *checker) names(context.Context) error {
	repositories, err := k.r.repositories()
	if err != nil {
		return err
	}
	for _, repo := range repositories {
		for _, sort := range []string{blobNames, manifestNames, referrerNames} {
			files, err := k.r.list(repo, sort)
			if err != nil {
				return err
			}
			for _, file := range files {
				if err := k.name(repo, sort, file); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (k *checker) name(repo, sort, file string) error {
	k.done.Names++
	d := keyDigest(file)
	switch {
	case !isRepository(repo):
		k.nameFault(repo, sort, file, "lies in a folder that is no repository's")
		return nil
	case sort == referrerNames:
		k.referrer(repo, file)
		return nil
	case !wellFormed(d):
		k.strange(repo, sort, file)
		return nil
	}
	text, err := os.ReadFile(filepath.Join(k.r.folder(repo, sort), file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return disk.Error(err, "reading repository "+repo)
	}
	k.mark(place{repo, sort, d}, file, parseMark(string(text)))
	return nil
}

// mark looks at what a name says, and notes whose bytes it stands for.
func (k *checker) mark(p place, file string, says mark) {
	bytes, err := says.bytesOf(p.digest)
	if err != nil {
		f := k.nameFault(p.repo, p.sort, file, "doesn't say which bytes it stands for")
		f.mend, f.from = func(ctx context.Context) error { return k.mend512(ctx, p) }, k.Name
		return
	}
	k.named[bytes] = append(k.named[bytes], p)
	if p.sort == manifestNames && !isManifestType(says.mediaType) {
		f := k.nameFault(p.repo, p.sort, file, fmt.Sprintf("says the media type %.80q, which no manifest has", says.mediaType))
		f.mend, f.from = func(context.Context) error { return k.retype(p, bytes, says) }, "its bytes"
	}
}

func wellFormed(d imx.Digest) bool { return checkDigest(d) == nil }

func isRepository(name string) bool { return checkRepository(name) == nil }

// strange is a file that is nobody's name. It says nothing, and its loss is none.
func (k *checker) strange(repo, sort, file string) {
	f := k.nameFault(repo, sort, file, "is no name: nothing asks for it")
	f.mend = func(context.Context) error { return os.Remove(filepath.Join(k.r.folder(repo, sort), file)) }
	f.from = "nothing: it was removed"
}

func (k *checker) referrer(repo, file string) {
	subject, refers, ok := strings.Cut(file, ".")
	if !ok || checkDigest(keyDigest(subject)) != nil || checkDigest(keyDigest(refers)) != nil {
		k.strange(repo, referrerNames, file)
	}
}

func isManifestType(t string) bool {
	_, err := parseManifest([]byte(`{"config":{}}`), t)
	_, err2 := parseManifest([]byte(`{}`), t)
	return err == nil || err2 == nil
}

// blobs reads every blob there is, and finds those that names stand for and that aren't there.
func (k *checker) blobs(ctx context.Context) error {
	there := map[imx.Digest]bool{}
	for b, err := range k.r.blobs.All() {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil // Check says so
		}
		there[b.Digest] = true
		k.done.Blobs++
		k.done.Bytes += imx.Size(b.Size)
		if k.done.Blobs%64 == 1 {
			k.Report(imx.Progress{Step: "read every byte", Status: imx.StepRunning, Done: int64(k.done.Blobs), Unit: "blobs", Message: k.done.Bytes.String()})
		}
		k.blob(b.Digest, b.Size)
	}
	for d := range k.named {
		if !there[d] && !k.r.blobs.Has(d) {
			k.damaged(d, "is gone", nil)
		}
	}
	for d := range k.Needs {
		if !there[d] && !k.r.blobs.Has(d) {
			k.damaged(d, "is gone", nil)
		}
	}
	return nil
}

func (k *checker) blob(d imx.Digest, size int64) {
	got, err := k.r.blobs.Sum(d)
	switch {
	case imx.KindOf(err) == imx.NotFound: // it went meanwhile: if something needs it, that is found
	case err != nil:
		k.damaged(d, "can't be read: "+disk.Reason(err).Error(), nil)
	case got != d:
		k.damaged(d, fmt.Sprintf("has other bytes: %d, with the digest %s", size, got), k.r.blobs.Damaged(d))
	}
}

func (k *checker) damaged(d imx.Digest, what string, ranges [][2]int64) {
	kind := imx.FaultBlob
	if slices.ContainsFunc(k.named[d], func(p place) bool { return p.sort == manifestNames }) {
		kind = imx.FaultManifest
	}
	k.add(fix{digest: d, RegistryFault: imx.RegistryFault{Kind: kind, Thing: string(d), What: what, Ranges: ranges}})
}

// manifests compares what each manifest names with the names that its repository has.
func (k *checker) manifests(context.Context) error {
	for bytes, places := range k.named {
		for _, p := range places {
			if p.sort != manifestNames {
				continue
			}
			m, ok := k.r.whole(bytes)
			if !ok {
				continue // which is a fault already
			}
			for _, ref := range m.blobs() {
				k.belongs(p, bytes, place{p.repo, blobNames, imx.Digest(ref.Digest)})
			}
			for _, ref := range m.Manifests {
				k.belongs(p, bytes, place{p.repo, manifestNames, imx.Digest(ref.Digest)})
			}
			if m.Subject != nil {
				k.refers(p, imx.Digest(m.Subject.Digest))
			}
		}
	}
	return nil
}

// belongs notes that a manifest needs a part, and misses the name that it should have.
func (k *checker) belongs(p place, manifest imx.Digest, part place) {
	if checkDigest(part.digest) != nil {
		return
	}
	missing := codeBlobUnknown
	if part.sort == manifestNames {
		missing = codeManifestUnknown
	}
	_, bytes, err := k.r.markOf(part.repo, part.sort, part.digest, missing)
	if err == nil {
		k.parents[bytes] = append(k.parents[bytes], manifest)
		return
	}
	if imx.KindOf(err) != imx.NotFound {
		return // its content is a fault already
	}
	if !isSHA512(part.digest) {
		k.parents[part.digest] = append(k.parents[part.digest], manifest)
	}
	f := k.nameFault(part.repo, part.sort, fileKey(part.digest), "is gone, and manifest "+p.digest.Short()+" needs it")
	f.NeededBy = append(f.NeededBy, part.repo+"@"+p.digest.Short())
	f.mend, f.from = func(ctx context.Context) error { return k.rename(ctx, part) }, "the manifest and the bytes"
}

// refers misses the name that lists a manifest below its subject.
func (k *checker) refers(p place, subject imx.Digest) {
	if checkDigest(subject) != nil {
		return
	}
	file := fileKey(subject) + "." + fileKey(p.digest)
	if _, err := os.Stat(filepath.Join(k.r.folder(p.repo, referrerNames), file)); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	f := k.nameFault(p.repo, referrerNames, file, "is gone: "+subject.Short()+" doesn't tell of what refers to it")
	f.mend, f.from = func(context.Context) error { return k.write(place{p.repo, referrerNames, ""}, file, "") }, "the manifest"
}

// tags compares each tag with the log, and with the manifests there are. The lock keeps pushes from being half on the log.
func (k *checker) tags(context.Context) error {
	k.r.pushing.Lock()
	defer k.r.pushing.Unlock()
	all, err := k.r.Tagged("")
	if err != nil {
		return err
	}
	k.done.Names += len(all)
	for _, t := range all {
		k.tag(t)
	}
	for t, d := range k.Pushed {
		if isBuilt(t.Tag) || slices.Contains(all, t) {
			continue // a build's tag may have been collected
		}
		if _, _, err := k.r.manifestMark(t.Repository, d); err == nil { // else the push was cut off before it was confirmed
			k.wants[d] = append(k.wants[d], t.Repository+":"+t.Tag)
			k.tagFault(t, "is gone; the log says that it is "+string(d), d)
		}
	}
	return nil
}

func (k *checker) tag(t Tagged) {
	if checkTag(t.Tag) != nil || checkRepository(t.Repository) != nil {
		k.strange(t.Repository, tagNames, t.Tag)
		return
	}
	logged := k.Pushed[t]
	d, err := k.r.tag(t.Repository, t.Tag)
	switch {
	case err != nil:
		k.tagFault(t, "names no digest", logged)
		return
	case logged != "" && logged != d:
		k.tagFault(t, fmt.Sprintf("names %s, and the log says that it is %s", d, logged), logged)
		d = logged
	}
	k.wants[d] = append(k.wants[d], t.Repository+":"+t.Tag)
	if _, _, err := k.r.manifestMark(t.Repository, d); imx.KindOf(err) == imx.NotFound {
		f := k.nameFault(t.Repository, manifestNames, fileKey(d), "is gone, and tag "+t.Tag+" needs it")
		f.NeededBy = append(f.NeededBy, t.Repository+":"+t.Tag)
		f.mend = func(ctx context.Context) error { return k.rename(ctx, place{t.Repository, manifestNames, d}) }
		f.from = "the tag and the bytes"
	}
}

func (k *checker) tagFault(t Tagged, what string, logged imx.Digest) {
	f := k.add(fix{RegistryFault: imx.RegistryFault{Kind: imx.FaultTag, Thing: t.Repository + ":" + t.Tag, What: what}})
	if logged != "" {
		f.mend, f.from = func(context.Context) error {
			return k.write(place{t.Repository, tagNames, ""}, t.Tag, tagText(logged, ""))
		}, "the log"
		return
	}
	f.mend, f.from = func(ctx context.Context) error { return k.retag(ctx, t) }, k.Name
}

// result returns what was found, with who needs it.
func (k *checker) result() imx.RegistryCheck {
	k.done.Faults = []imx.RegistryFault{}
	for _, key := range slices.Sorted(maps.Keys(k.faults)) {
		f := k.faults[key]
		if f.digest != "" {
			f.NeededBy = k.neededBy(f.digest)
		}
		slices.Sort(f.NeededBy)
		f.NeededBy = slices.Compact(f.NeededBy)
		k.done.Faults = append(k.done.Faults, f.RegistryFault)
	}
	return k.done
}

// neededBy goes up from a digest to all that names it: manifests, their tags, and what else needs those.
func (k *checker) neededBy(d imx.Digest) []string {
	var names []string
	seen := map[imx.Digest]bool{}
	for todo := []imx.Digest{d}; len(todo) > 0; todo = todo[1:] {
		at := todo[0]
		if seen[at] {
			continue
		}
		seen[at] = true
		names = append(append(names, k.wants[at]...), k.Needs[at]...)
		todo = append(todo, k.parents[at]...)
		if len(k.wants[at]) > 0 {
			continue
		}
		for _, p := range k.named[at] {
			if p.sort == manifestNames {
				names = append(names, cmp.Or(k.Stated[p.digest].Says, p.repo+"@"+p.digest.Short()))
			}
		}
	}
	return names
}
