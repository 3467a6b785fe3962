package registry_test

// A disk loses bits, blocks and files, and tells nobody. These tests damage each sort of file in each way, and hold the look at every
// byte to finding it, to naming who needs it, and to mending it from what is right or not at all.

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cuelabs.dev/go/oci/ociregistry"

	"imx"
	"imx/internal/registry"
)

// stored is a registry with one of everything, and a replica of it.
type stored struct {
	*world
	replica *world
	image   artifact
	about   artifact // refers to image
	pushed  map[registry.Tagged]imx.Digest
}

func newStored(t *testing.T) *stored {
	t.Helper()
	s := &stored{world: newWorld(t), replica: newWorld(t), pushed: map[registry.Tagged]imx.Digest{}}
	s.image = makeImage(t, "layer", string(bytes.Repeat([]byte("large "), 400_000)))
	s.about = referrerOf(t, s.image.digest(), "application/x.test", "about")
	for _, w := range []*world{s.world, s.replica} {
		want(t, w.push("team/app", "v1", s.image), http.StatusCreated)
		want(t, w.push("team/app", s.about.digest(), s.about), http.StatusCreated)
		want(t, w.do(http.MethodPut, "/v2/team/app/manifests/"+digest512(s.image.raw), s.image.raw, "Content-Type", image), http.StatusCreated)
	}
	s.pushed[registry.Tagged{Repository: "team/app", Tag: "v1"}] = imx.Digest(s.image.digest())
	return s
}

func (s *stored) check(t *testing.T, change func(*registry.Checking)) imx.RegistryCheck {
	t.Helper()
	c := registry.Checking{Pushed: s.pushed, Name: "replica", Needs: map[imx.Digest][]string{imx.Digest(s.image.digest()): {"release shop/3"}}}
	if change != nil {
		change(&c)
	}
	found, err := s.Check(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (s *stored) name(parts ...string) string {
	return filepath.Join(append([]string{s.dir, "registry/repositories/team+app"}, parts...)...)
}

// overwrite changes a file, whatever its rights.
func overwrite(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = errors.Join(os.Remove(path), os.WriteFile(path, change(b), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 1; return b }
}

func TestARegistryThatIsWholeHasNoFaults(t *testing.T) {
	s := newStored(t)
	found := s.check(t, nil)
	if len(found.Faults) > 0 || found.Blobs != 6 || found.Names != 9 || found.Bytes < 2_400_000 {
		t.Errorf("%+v", found)
	}
}

func TestEachSortOfDamageIsFoundNamedAndMended(t *testing.T) {
	layer, large := imx.DigestBytes([]byte("layer")), imx.DigestBytes(bytes.Repeat([]byte("large "), 400_000))
	for name, c := range map[string]struct {
		damage func(t *testing.T, s *stored)
		kind   imx.FaultKind
		thing  string // "" for the one that the next fields tell
		says   string
		ranges [][2]int64
		needed string
	}{
		"a bit of a layer": {func(t *testing.T, s *stored) {
			overwrite(t, s.blobs.Path(large), flip(1_234_567))
		}, imx.FaultBlob, string(large), "has other bytes", [][2]int64{{1_234_567, 1_234_568}}, "team/app:v1"},
		"two places of a layer": {func(t *testing.T, s *stored) {
			overwrite(t, s.blobs.Path(large), func(b []byte) []byte { return flip(7)(flip(2_000_000)(b)) })
		}, imx.FaultBlob, string(large), "has other bytes", [][2]int64{{7, 8}, {2_000_000, 2_000_001}}, "release shop/3"},
		"the end of a layer": {func(t *testing.T, s *stored) {
			overwrite(t, s.blobs.Path(large), func(b []byte) []byte { return b[:2_399_000] })
		}, imx.FaultBlob, string(large), "has other bytes: 2399000", [][2]int64{{2_399_000, 2_400_000}}, "team/app:v1"},
		"bytes too many": {func(t *testing.T, s *stored) {
			overwrite(t, s.blobs.Path(layer), func(b []byte) []byte { return append(b, "more"...) })
		}, imx.FaultBlob, string(layer), "has other bytes: 9", [][2]int64{{5, 9}}, "team/app:v1"},
		"a layer": {func(t *testing.T, s *stored) {
			if err := os.Remove(s.blobs.Path(layer)); err != nil {
				t.Fatal(err)
			}
		}, imx.FaultBlob, string(layer), "is gone", nil, "team/app:v1"},
		"a bit of a manifest": {func(t *testing.T, s *stored) {
			overwrite(t, s.blobs.Path(imx.Digest(s.image.digest())), flip(20))
		}, imx.FaultManifest, "", "has other bytes", [][2]int64{{20, 21}}, "team/app:v1"},
		"a tag": {func(t *testing.T, s *stored) {
			if err := os.Remove(s.name("tags", "v1")); err != nil {
				t.Fatal(err)
			}
		}, imx.FaultTag, "team/app:v1", "is gone", nil, ""},
		"a bit of a tag": {func(t *testing.T, s *stored) {
			overwrite(t, s.name("tags", "v1"), func(b []byte) []byte { b[20] = map[bool]byte{true: '1', false: '0'}[b[20] == '0']; return b })
		}, imx.FaultTag, "team/app:v1", "and the log says that it is", nil, ""},
		"garbage in a tag": {func(t *testing.T, s *stored) {
			overwrite(t, s.name("tags", "v1"), func([]byte) []byte { return []byte("\x00\xff") })
		}, imx.FaultTag, "team/app:v1", "names no digest", nil, ""},
		"a manifest's name": {func(t *testing.T, s *stored) {
			if err := os.Remove(s.name("manifests", imx.Digest(s.image.digest()).Hex())); err != nil {
				t.Fatal(err)
			}
		}, imx.FaultName, "", "is gone, and tag v1 needs it", nil, "team/app:v1"},
		"garbage in a manifest's name": {func(t *testing.T, s *stored) {
			overwrite(t, s.name("manifests", imx.Digest(s.image.digest()).Hex()), flip(3))
		}, imx.FaultName, "", "says the media type", nil, ""},
		"garbage in a name by SHA-512": {func(t *testing.T, s *stored) {
			found, err := filepath.Glob(s.name("manifests", "sha512-*"))
			if err != nil || len(found) != 1 {
				t.Fatalf("%q, %v", found, err)
			}
			overwrite(t, found[0], func(b []byte) []byte { return b[:len(b)-3] })
		}, imx.FaultName, "", "doesn't say which bytes", nil, ""},
		"a blob's name": {func(t *testing.T, s *stored) {
			if err := os.Remove(s.name("blobs", layer.Hex())); err != nil {
				t.Fatal(err)
			}
		}, imx.FaultName, "team/app/blobs/" + layer.Hex(), "is gone, and manifest", nil, "team/app@"},
		"a referrer's name": {func(t *testing.T, s *stored) {
			if err := os.RemoveAll(s.name("referrers", imx.Digest(s.image.digest()).Hex()+"."+imx.Digest(s.about.digest()).Hex())); err != nil {
				t.Fatal(err)
			}
		}, imx.FaultName, "", "doesn't tell of what refers to it", nil, ""},
		"a strange file": {func(t *testing.T, s *stored) {
			if err := os.WriteFile(s.name("referrers", "garbage.file"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, imx.FaultName, "team/app/referrers/garbage.file", "is no name", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStored(t)
			c.damage(t, s)
			found := s.check(t, nil)
			if len(found.Faults) != 1 {
				t.Fatalf("found %+v", found.Faults)
			}
			f := found.Faults[0]
			if f.Kind != c.kind || c.thing != "" && f.Thing != c.thing || !strings.Contains(f.What, c.says) || f.Repaired != "" {
				t.Errorf("found %+v", f)
			}
			if c.needed != "" && !slices.ContainsFunc(f.NeededBy, func(n string) bool { return strings.HasPrefix(n, c.needed) }) {
				t.Errorf("needed by %q", f.NeededBy)
			}
			mended := s.check(t, func(c *registry.Checking) { c.Mend, c.Replica = registry.MendAll, s.replica.Interface() })
			if len(mended.Faults) != 1 || mended.Faults[0].Repaired == "" {
				t.Fatalf("mended %+v", mended.Faults)
			}
			if got := mended.Faults[0].Ranges; c.ranges != nil && fmt.Sprint(got) != fmt.Sprint(c.ranges) {
				t.Errorf("ranges %v, want %v", got, c.ranges)
			}
			if again := s.check(t, nil); len(again.Faults) > 0 {
				t.Errorf("afterwards: %+v", again.Faults)
			}
			if err := s.whole("team/app", "v1", s.image); err != nil {
				t.Error(err)
			}
			want(t, s.do(http.MethodGet, "/v2/team/app/referrers/"+s.image.digest(), nil), http.StatusOK, s.about.digest())
			want(t, s.do(http.MethodGet, "/v2/team/app/manifests/"+digest512(s.image.raw), nil), http.StatusOK)
		})
	}
}

func TestTwoBlobsWithEachOthersBytesAreBothFound(t *testing.T) {
	s := newStored(t)
	one, two := s.blobs.Path(imx.DigestBytes([]byte("layer"))), s.blobs.Path(imx.DigestBytes([]byte("{}")))
	tmp := one + ".swap"
	if err := errors.Join(os.Rename(one, tmp), os.Rename(two, one), os.Rename(tmp, two)); err != nil {
		t.Fatal(err)
	}
	if found := s.check(t, nil); len(found.Left()) != 2 {
		t.Errorf("found %+v", found.Faults)
	}
	found := s.check(t, func(c *registry.Checking) { c.Mend, c.Replica = registry.MendAll, s.replica.Interface() })
	if len(found.Faults) != 2 || len(found.Left()) != 0 {
		t.Errorf("mended %+v", found.Faults)
	}
}

// lying gives out other bytes than those asked for.
type lying struct{ ociregistry.Interface }

func (l lying) GetBlob(ctx context.Context, repo string, _ ociregistry.Digest) (ociregistry.BlobReader, error) {
	return l.Interface.GetBlob(ctx, repo, ociregistry.Digest(imx.DigestBytes([]byte("{}"))))
}

func TestAReplicaThatLiesMendsNothingAndIsNamed(t *testing.T) {
	s := newStored(t)
	layer := imx.DigestBytes([]byte("layer"))
	overwrite(t, s.blobs.Path(layer), flip(0))
	before, err := os.ReadFile(s.blobs.Path(layer))
	if err != nil {
		t.Fatal(err)
	}
	found := s.check(t, func(c *registry.Checking) { c.Mend, c.Replica = registry.MendAll, lying{s.replica.Interface()} })
	if left := found.Left(); len(left) != 1 || left[0].Error == nil || !strings.Contains(left[0].Error.Message, "registry replica serves other bytes than asked for") {
		t.Errorf("left %+v", left)
	}
	if after, err := os.ReadFile(s.blobs.Path(layer)); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the blob was changed: %q, %v", after, err)
	}
}

func TestWithoutAReplicaNamesAreMendedAndBytesSayWhatToDo(t *testing.T) {
	s := newStored(t)
	overwrite(t, s.blobs.Path(imx.DigestBytes([]byte("layer"))), flip(0))
	overwrite(t, s.name("tags", "v1"), func([]byte) []byte { return nil })
	found := s.check(t, func(c *registry.Checking) { c.Mend = registry.MendAll })
	if len(found.Faults) != 2 || len(found.Left()) != 1 || imx.KindOf(found.Left()[0].Error) != imx.NotFound || !strings.Contains(found.Left()[0].Error.Hint, "--repair-from") {
		t.Errorf("%+v", found.Faults)
	}
	if d, _, err := s.Manifest(t.Context(), "team/app", "v1"); err != nil || !bytes.Equal(d, s.image.raw) {
		t.Errorf("the tag: %v", err)
	}
}

// A push that comes while everything is read is no damage.
func TestADamagedStatementThatWasReplacedIsNamedAndCanBeLetGoOf(t *testing.T) {
	for name, c := range map[string]struct {
		stated   registry.Stated
		needed   string
		tag      string // of the statement's manifest
		forgets  bool
		repaired bool
	}{
		"it was replaced":                     {registry.Stated{Says: "provenance, since replaced", Replaced: true}, "provenance, since replaced", "", true, true},
		"it was replaced, and nobody said so": {registry.Stated{Says: "provenance, since replaced", Replaced: true}, "provenance, since replaced", "", false, false},
		"it is the newest":                    {registry.Stated{Says: "provenance"}, "provenance", "", true, false},
		"nobody knows what it is":             {registry.Stated{}, "team/app@", "", true, false},
		"it was replaced, and has a tag":      {registry.Stated{Says: "provenance, since replaced", Replaced: true}, "team/app:kept", "kept", true, false},
	} {
		s := newStored(t)
		bundle := s.statement(t, "team/app", c.tag)
		overwrite(t, s.blobs.Path(imx.DigestBytes(bundle.blobs[0])), flip(1))
		look := func(k *registry.Checking) {
			k.Stated = map[imx.Digest]registry.Stated{imx.Digest(bundle.digest()): c.stated}
			k.Forget = imx.Forget(c.forgets)
		}
		found := s.check(t, look)
		if len(found.Faults) != 1 || !strings.HasPrefix(strings.Join(found.Faults[0].NeededBy, " "), c.needed) || (found.Faults[0].Repaired != "") != c.repaired {
			t.Errorf("%s: %+v", name, found.Faults)
		}
		left, referrers := s.check(t, nil), s.do(http.MethodGet, "/v2/team/app/referrers/"+s.image.digest(), nil).Body.String()
		if (len(left.Faults) == 0) != c.repaired || strings.Contains(referrers, bundle.digest()) == c.repaired || !strings.Contains(referrers, s.about.digest()) {
			t.Errorf("%s: left are %+v, and the image is referred to by %s", name, left.Faults, referrers)
		}
	}
}

// statement pushes a manifest with a blob of its own that refers to the image.
func (s *stored) statement(t *testing.T, repo, tag string) artifact {
	t.Helper()
	a := artifact{kind: image, blobs: [][]byte{[]byte("a signed statement"), []byte("{}")}}
	a.raw = encode(t, map[string]any{
		"schemaVersion": 2, "mediaType": image, "artifactType": "application/x.test", "config": describe(a.blobs[1], "application/vnd.oci.empty.v1+json"),
		"layers": []any{describe(a.blobs[0], "application/x.test")}, "subject": map[string]any{"mediaType": image, "digest": s.image.digest(), "size": 100},
	})
	want(t, s.push(repo, cmp.Or(tag, a.digest()), a), http.StatusCreated)
	return a
}

func TestPushesDuringALookAreNoFaults(t *testing.T) {
	s := newStored(t)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				s.push("team/app", fmt.Sprint("more", i), makeImage(t, fmt.Sprint("layer ", i)))
			}
		}
	}()
	for range 5 {
		if found := s.check(t, nil); len(found.Faults) > 0 {
			t.Errorf("%+v", found.Faults)
		}
	}
	close(stop)
	<-ended
}
