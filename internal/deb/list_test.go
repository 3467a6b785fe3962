package deb_test

// A stored list is read instead of the archive's own, so it has to say the same, and damage to it
// must never be taken for what the archive says.

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/deb"
)

const listKey imx.Digest = "sha256:" + sum

// store writes a Packages file as a list.
func store(text string) ([]byte, error) {
	var b bytes.Buffer
	err := deb.WriteList(&b, strings.NewReader(text), listKey, "Packages of host bookworm")
	return b.Bytes(), err
}

func openList(b []byte) (*deb.List, error) {
	l, err := deb.OpenList(bytes.NewReader(b), int64(len(b)), listKey)
	if err != nil {
		return nil, err
	}
	return l.From("host", "bookworm"), nil
}

// answers is all that an index says.
type answers struct {
	Names, Essential []string
	Versions         map[string][]deb.Package
	Providers        map[string][]string
}

func ask(x *deb.Index, virtual []string) (answers, error) {
	a := answers{
		Names: slices.Sorted(x.Names()), Essential: append([]string(nil), x.Essential()...),
		Versions: map[string][]deb.Package{}, Providers: map[string][]string{},
	}
	for _, name := range append(slices.Clone(a.Names), "no-such") {
		for _, p := range x.Versions(name) {
			a.Versions[name] = append(a.Versions[name], *p)
		}
		if newest, ok := x.Newest(name, "amd64"); ok && !slices.Contains(x.Versions(name), newest) {
			return a, fmt.Errorf("%s: the newest is none of the versions", name)
		}
	}
	for _, name := range virtual {
		for _, p := range x.Providers(name) {
			if !slices.Contains(x.Versions(p.Package.Name), p.Package) {
				return a, fmt.Errorf("%s: a provider is none of the versions of its name", name)
			}
			a.Providers[name] = append(a.Providers[name], p.Package.Ref()+" "+p.Package.Suite+" "+p.Version)
		}
	}
	if x.Len() != len(a.Names) {
		return a, fmt.Errorf("%d names, told are %d", len(a.Names), x.Len())
	}
	return a, x.Err()
}

// expected works out what an index has to say, in the plainest way.
func expected(lists ...[]deb.Package) (answers, []string) {
	a := answers{Versions: map[string][]deb.Package{}, Providers: map[string][]string{}}
	for _, p := range slices.Concat(lists...) {
		a.Versions[p.Name] = append(a.Versions[p.Name], p)
	}
	virtual := []string{"nobody-provides-this"}
	for name, versions := range a.Versions {
		a.Names = append(a.Names, name)
		slices.SortStableFunc(versions, func(x, y deb.Package) int {
			return cmp.Or(deb.Compare(y.Version, x.Version), strings.Compare(x.Version, y.Version), strings.Compare(y.Architecture, x.Architecture),
				strings.Compare(x.Suite, y.Suite), strings.Compare(x.Path+string(x.Digest), y.Path+string(y.Digest)))
		})
		versions = slices.CompactFunc(versions, func(x, y deb.Package) bool { return x.Ref() == y.Ref() && x.Archive == y.Archive && x.Suite == y.Suite })
		a.Versions[name] = versions
		if slices.ContainsFunc(versions, func(p deb.Package) bool { return p.Essential }) {
			a.Essential = append(a.Essential, name)
		}
	}
	slices.Sort(a.Names)
	slices.Sort(a.Essential)
	for _, name := range a.Names { // in the order in which providers are told
		for _, p := range a.Versions[name] {
			groups, err := deb.ParseRelations(p.Relations.Provides)
			if err != nil {
				continue
			}
			for _, g := range groups {
				a.Providers[g[0].Name] = append(a.Providers[g[0].Name], p.Ref()+" "+p.Suite+" "+g[0].Version)
				virtual = append(virtual, g[0].Name)
			}
		}
	}
	slices.Sort(virtual)
	return a, slices.Compact(virtual)
}

// sameAnswers checks that an index of the texts as stored lists, one of them parsed, and the plain
// working-out all say the same.
func sameAnswers(t rapid.TB, texts ...string) {
	t.Helper()
	var stored []*deb.List
	var parsed [][]deb.Package
	for i, text := range texts {
		suite := fmt.Sprint("suite", i)
		b, err := store(text)
		if err != nil {
			t.Fatal(err)
		}
		l, err := openList(b)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, l.From("host", suite))
		p, err := deb.ParsePackages(strings.NewReader(text), "host", suite)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, p)
	}
	want, virtual := expected(parsed...)
	joined := []*deb.Index{deb.IndexOf(stored[0]), deb.NewIndex(parsed[1:]...)}
	for name, x := range map[string]*deb.Index{
		"stored": deb.IndexOf(stored...), "parsed": deb.NewIndex(parsed...), "joined": deb.Join(joined...),
	} {
		got, err := ask(x, virtual)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(want, got) { // comparing so much is quick, explaining it isn't
			t.Fatalf("%s (-want +got):\n%s", name, gocmp.Diff(want, got))
		}
	}
}

// genList draws a Packages file with few names, so that they meet: in other versions, out of
// order, twice, and as what others provide.
func genList(t *rapid.T) string {
	name := rapid.SampledFrom([]string{"aa", "bb", "b-b", "b.b", "cc", "zz"})
	one := rapid.Custom(func(t *rapid.T) string {
		return stanza(map[string]string{
			"Package": name.Draw(t, "name"), "Version": rapid.SampledFrom([]string{"1", "1-0", "2", "1:0"}).Draw(t, "version"),
			"Architecture": rapid.SampledFrom([]string{"amd64", "all", "arm64"}).Draw(t, "architecture"),
			"Essential":    rapid.SampledFrom([]string{"", "", "yes", "no"}).Draw(t, "essential"),
			"Provides":     rapid.SampledFrom([]string{"", "bb", "vv", "vv (= 3), ww", "vv, vv (= 2)", "((", "ww | vv"}).Draw(t, "provides"),
			"Filename":     rapid.SampledFrom([]string{"pool/a", "pool/b"}).Draw(t, "path"),
			"Description":  strings.Repeat("long ", rapid.SampledFrom([]int{1, 1, 2000}).Draw(t, "words")),
		})
	})
	return strings.Join(rapid.SliceOfN(one, 0, 12).Draw(t, "stanzas"), "")
}

func TestAStoredListSaysWhatTheArchiveSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sameAnswers(t, rapid.SliceOfN(rapid.Custom(genList), 1, 3).Draw(t, "lists")...)
	})
}

// hostLists returns the Packages files of this machine's apt.
func hostLists(tb testing.TB) []string {
	tb.Helper()
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Packages").Output()
	if err != nil || len(out) == 0 {
		tb.Skip("needs apt and its downloaded package lists")
	}
	var texts []string
	for file := range strings.Lines(string(out)) {
		text, err := exec.Command("/usr/lib/apt/apt-helper", "cat-file", strings.TrimSpace(file)).Output()
		if err != nil {
			tb.Skipf("apt's list can't be read: %v", err)
		}
		texts = append(texts, string(text))
	}
	slices.SortFunc(texts, func(a, b string) int { return len(b) - len(a) })
	return texts
}

func TestAStoredListSaysWhatTheArchiveSaysOnTheHostsOwnLists(t *testing.T) {
	if testing.Short() {
		t.Skip("reads the host's whole archive index")
	}
	sameAnswers(t, hostLists(t)...)
}

func TestAListThatIsRefusedIsNotStored(t *testing.T) {
	for _, bad := range []string{
		stanza(nil) + stanza(map[string]string{"Filename": "../x.deb"}),
		stanza(nil) + stanza(map[string]string{"Version": "1/2"}),
		stanza(nil) + "Package: a\x01\n", stanza(nil) + " \n",
	} {
		_, want := deb.ParsePackages(strings.NewReader(bad), "host", "bookworm")
		_, got := store(bad)
		if got == nil || want == nil || got.Error() != want.Error() || imx.KindOf(got) != imx.Refused {
			t.Errorf("storing says %v, parsing %v", got, want)
		}
	}
}

// FuzzWriteList checks that storing takes just what parsing takes, and gives it back.
func FuzzWriteList(f *testing.F) {
	f.Add(stanza(nil))
	f.Add("\n\n" + stanza(map[string]string{"Provides": "a-b (= 1)"}) + "\n" + stanza(map[string]string{"Package": "aa", "Essential": "yes"}))
	f.Add(strings.TrimRight(stanza(nil), "\n"))
	f.Fuzz(func(t *testing.T, text string) {
		_, want := deb.ParsePackages(strings.NewReader(text), "host", "bookworm")
		_, got := store(text)
		if (got == nil) != (want == nil) || got != nil && got.Error() != want.Error() {
			t.Fatalf("storing says %v, parsing %v", got, want)
		}
		if got == nil {
			sameAnswers(t, text)
		}
	})
}

func TestDamageToAStoredListIsFound(t *testing.T) {
	good, err := store(stanza(nil) + stanza(map[string]string{"Package": "aa", "Provides": "vv", "Essential": "yes"}))
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		if _, err := openList(bad); imx.KindOf(err) != imx.Refused {
			t.Errorf("byte %d of %d: %v", i, len(good), err)
		}
		if _, err := openList(good[:i]); imx.KindOf(err) != imx.Refused {
			t.Errorf("cut to %d of %d bytes: %v", i, len(good), err)
		}
	}
	other := imx.DigestBytes([]byte("other"))
	if _, err := deb.OpenList(bytes.NewReader(good), int64(len(good)), other); imx.KindOf(err) != imx.Refused {
		t.Errorf("another list: %v", err)
	}
}

// A disk can go bad after a list was opened.
func TestWhatCantBeReadLaterIsToldByErr(t *testing.T) {
	good, err := store(stanza(nil) + stanza(map[string]string{"Package": "aa"}))
	if err != nil {
		t.Fatal(err)
	}
	r := &spoilable{Reader: bytes.NewReader(good)}
	l, err := deb.OpenList(r, int64(len(good)), listKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func([]byte) error{
		"flipped": func(b []byte) error { b[len(b)/2] ^= 1; return nil },
		"gone":    func([]byte) error { return errors.New("the cable is out") },
	} {
		x := deb.IndexOf(l)
		r.spoil = nil
		if _, ok := x.Newest("aa", "amd64"); !ok || x.Err() != nil {
			t.Fatalf("%s: aa isn't there before: %v", name, x.Err())
		}
		r.spoil = spoil
		if _, ok := x.Newest("nginx", "amd64"); ok || x.Err() == nil {
			t.Errorf("%s: nginx is there: %t, %v", name, ok, x.Err())
		}
		if _, ok := x.Newest("aa", "amd64"); !ok {
			t.Errorf("%s: what was read before is forgotten", name)
		}
	}
}

type spoilable struct {
	*bytes.Reader
	spoil func([]byte) error
}

// ReadAt implements io.ReaderAt.
func (s *spoilable) ReadAt(b []byte, at int64) (int, error) {
	n, err := s.Reader.ReadAt(b, at)
	if s.spoil == nil {
		return n, err
	}
	return n, s.spoil(b)
}

// FuzzOpenList gives an index that says anything, under checksums that are right: whatever it says,
// nothing outside of the list is read.
func FuzzOpenList(f *testing.F) {
	text := stanza(nil) + stanza(map[string]string{"Package": "aa", "Provides": "vv", "Essential": "yes"})
	good, err := store(text)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(text), good[len(text):len(good)-deb.FooterSize])
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, text, index []byte) {
		b := deb.SealList(text, index, listKey)
		l, err := openList(b)
		if err != nil {
			if imx.KindOf(err) != imx.Refused {
				t.Errorf("%v of kind %s", err, imx.KindOf(err))
			}
			return
		}
		_, _ = ask(deb.IndexOf(l), []string{"vv", "aa"})
	})
}

// cpu returns the CPU seconds that the process has used.
func cpu(b *testing.B) float64 {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

// bench measures in CPU seconds: on a busy machine a clock tells nothing.
func bench(b *testing.B, one func()) {
	b.Helper()
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		one()
	}
	b.ReportMetric((cpu(b)-before)/float64(b.N), "cpu-s/op")
}

func BenchmarkHostList(b *testing.B) {
	text := hostLists(b)[0]
	stored, err := store(text)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("parse", func(b *testing.B) {
		bench(b, func() {
			if _, err := deb.ParsePackages(strings.NewReader(text), "host", "bookworm"); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("write", func(b *testing.B) {
		bench(b, func() {
			var out discard
			if err := deb.WriteList(out, strings.NewReader(text), listKey, "x"); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("open", func(b *testing.B) {
		bench(b, func() {
			if _, err := openList(stored); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("look up 500", func(b *testing.B) {
		l, err := openList(stored)
		if err != nil {
			b.Fatal(err)
		}
		names := slices.Collect(deb.IndexOf(l).Names())
		bench(b, func() {
			x := deb.IndexOf(l)
			for i := range 500 {
				if len(x.Versions(names[i*len(names)/500])) == 0 {
					b.Fatal(x.Err())
				}
			}
		})
	})
}

type discard struct{}

// Write implements io.Writer.
func (discard) Write(p []byte) (int, error) { return len(p), nil }
