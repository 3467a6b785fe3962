// These tests are here because others decide by these documents: they must be valid by the official schemas for
// whatever image, name all that is in it, and be the same bytes for the same image.
package sbom_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/sbom"
)

// schemas are the official schemas of both forms.
type schemas struct{ spdx, cyclonedx *jsonschema.Schema }

func official(tb testing.TB) schemas {
	tb.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		tb.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	folder := filepath.Join(strings.TrimSpace(string(dir)), "schema")
	for name, file := range map[string]string{
		"http://spdx.test/schema.json":                     "testdata/spdx-2.3.schema.json",
		"http://cyclonedx.org/schema/bom-1.6.schema.json":  filepath.Join(folder, "bom-1.6.schema.json"),
		"http://cyclonedx.org/schema/spdx.schema.json":     filepath.Join(folder, "spdx.schema.json"),
		"http://cyclonedx.org/schema/jsf-0.82.schema.json": filepath.Join(folder, "jsf-0.82.schemax.json"),
	} {
		raw, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			tb.Fatal(err)
		}
		if err := c.AddResource(name, doc); err != nil {
			tb.Fatal(err)
		}
	}
	return schemas{c.MustCompile("http://spdx.test/schema.json"), c.MustCompile("http://cyclonedx.org/schema/bom-1.6.schema.json")}
}

func check(s *jsonschema.Schema, raw []byte) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

// document is the part of an SPDX document that tests look at.
type document struct {
	Packages []struct {
		ID       string `json:"SPDXID"`
		Name     string `json:"name"`
		Version  string `json:"versionInfo"`
		Licence  string `json:"licenseDeclared"`
		Location string `json:"downloadLocation"`
		Refs     []struct {
			Locator string `json:"referenceLocator"`
		} `json:"externalRefs"`
		Code struct {
			Value string `json:"packageVerificationCodeValue"`
		} `json:"packageVerificationCode"`
	} `json:"packages"`
	Files []struct {
		ID   string `json:"SPDXID"`
		Name string `json:"fileName"`
	} `json:"files"`
	Relationships []struct {
		From string `json:"spdxElementId"`
		To   string `json:"relatedSpdxElement"`
		Type string `json:"relationshipType"`
	} `json:"relationships"`
	Licences []struct {
		ID string `json:"licenseId"`
	} `json:"hasExtractedLicensingInfos"`
}

// related returns "FROM TYPE TO" of each relationship, by the names of what is related.
func (d document) related() []string {
	names := map[string]string{"SPDXRef-DOCUMENT": "document"}
	for _, p := range d.Packages {
		names[p.ID] = p.Name
	}
	for _, f := range d.Files {
		names[f.ID] = f.Name
	}
	var all []string
	for _, r := range d.Relationships {
		all = append(all, names[r.From]+" "+r.Type+" "+names[r.To])
	}
	return all
}

func spdx(tb testing.TB, s sbom.Subject) ([]byte, document) {
	tb.Helper()
	raw, err := sbom.SPDX(s)
	if err != nil {
		tb.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		tb.Fatal(err)
	}
	return raw, d
}

func digest(text string) imx.Digest { return imx.DigestBytes([]byte(text)) }

// shop is an image of one package, a file of a script's and a program of the template.
func shop() sbom.Subject {
	file := func(path, pkg string, origin imx.PathOrigin) imx.InventoryPath {
		return imx.InventoryPath{Path: path, Kind: imx.PathFile, Digest: digest(path), Origin: origin, Package: pkg}
	}
	return sbom.Subject{
		Name: "team/shop", Image: digest("image"), Created: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC), Tool: "1",
		Inventory: imx.Inventory{
			Version: imx.InventoryVersion,
			Packages: []imx.InventoryPackage{{
				Package: imx.Package{
					Name: "libstdc++6", Version: "1:12.2~rc1+b1", Architecture: "amd64", Archive: "host", Suite: "bookworm-security",
					Path: "pool/main/g/gcc 12/a:b.deb", Digest: digest("deb"),
				}, Source: "gcc-12", SourceVersion: "12.2",
			}},
			Paths: []imx.InventoryPath{
				file("/app", "", imx.OriginTemplate), file("/etc/made", "", imx.OriginGenerated),
				{Path: "/lib", Kind: imx.PathLink, Target: "usr/lib"},
				file("/usr/lib/l.so", "libstdc++6", imx.OriginPackage),
				file("/usr/share/doc/base/copyright", "libstdc++6", imx.OriginPackage),
				{Path: "/usr/share/doc/libstdc++6", Kind: imx.PathLink, Target: "base"},
			},
		},
		Contents: sbom.Contents{
			SHA1:       map[imx.Digest]string{},
			Copyrights: map[string]string{"/usr/share/doc/base/copyright": "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: GPL-3+ with GCC exception or own\n"},
			Components: []sbom.Component{{Kind: sbom.KindGo, Name: "example.com/a", Version: "v1.2.3", Path: "/app"}},
		},
	}
}

func TestEachPartIsNamedOnceAndSaysWhatItIsIn(t *testing.T) {
	s := shop()
	raw, d := spdx(t, s)
	want := []string{
		"document DESCRIBES team/shop", "team/shop CONTAINS libstdc++6", "libstdc++6 GENERATED_FROM gcc-12", "team/shop CONTAINS ./app",
		"team/shop CONTAINS ./etc/made", "libstdc++6 CONTAINS ./usr/lib/l.so", "libstdc++6 CONTAINS ./usr/share/doc/base/copyright",
		"./app CONTAINS example.com/a",
	}
	if got := d.related(); !slices.Equal(got, want) {
		t.Errorf("related:\n%s", strings.Join(got, "\n"))
	}
	var urls []string
	for _, p := range d.Packages {
		urls = append(urls, p.Refs[0].Locator)
		if p.Location != "NOASSERTION" {
			t.Errorf("%s is at %s", p.Name, p.Location)
		}
	}
	if want := []string{
		"pkg:oci/shop@" + string(s.Image) + "?repository_url=team%2Fshop", "pkg:deb/debian/gcc-12@12.2?arch=source&distro=bookworm",
		"pkg:deb/debian/libstdc%2B%2B6@1:12.2~rc1%2Bb1?arch=amd64&distro=bookworm", "pkg:golang/example.com/a@v1.2.3",
	}; !slices.Equal(urls, want) {
		t.Errorf("package URLs:\n%s", strings.Join(urls, "\n"))
	}
	if p := d.Packages[2]; p.Licence != "GPL-3.0-or-later WITH GCC-exception-3.1 OR LicenseRef-libstdcplusplus6-own" || len(d.Licences) != 1 {
		t.Errorf("licence %q, own ones %v", p.Licence, d.Licences)
	}
	if !bytes.Contains(raw, []byte("2026-01-02T03:04:05Z")) {
		t.Error("the document's time isn't the image's")
	}
	cyclonedx, err := sbom.CycloneDX(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"file:/app"`, `"file:/etc/made"`, urls[2], urls[3], `"pool/main/g/gcc%2012/a:b.deb"`, `{"location":"/app"}`} {
		if !bytes.Contains(cyclonedx, bytes.ReplaceAll([]byte(part), []byte("&"), []byte(`\u0026`))) {
			t.Errorf("CycloneDX has no %s", part)
		}
	}
	if bytes.Contains(cyclonedx, []byte("l.so")) {
		t.Error("CycloneDX lists a package's file")
	}
}

func TestDocumentsAreValidByTheOfficialSchemasForAnyImage(t *testing.T) {
	forms := official(t)
	rapid.Check(t, func(t *rapid.T) {
		s := subject().Draw(t, "subject")
		for name, form := range map[string]struct {
			schema *jsonschema.Schema
			make   func(sbom.Subject) (json.RawMessage, error)
		}{"SPDX": {forms.spdx, sbom.SPDX}, "CycloneDX": {forms.cyclonedx, sbom.CycloneDX}} {
			raw, err := form.make(s)
			if err != nil {
				t.Fatal(err)
			}
			if err := check(form.schema, raw); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, raw)
			}
			if again, err := form.make(s); err != nil || !bytes.Equal(raw, again) {
				t.Fatalf("%s: the same image gave other bytes", name)
			}
			if missed := bytes.Contains(raw, []byte("isn't all known: ")); missed != (len(s.Contents.Missed) > 0) {
				t.Fatalf("%s says that something is missing: %v", name, missed)
			}
			for _, p := range s.Inventory.Packages {
				if !bytes.Contains(raw, []byte(`"name":`+quoted(p.Name))) {
					t.Fatalf("%s doesn't name %s", name, p.Name)
				}
			}
		}
	})
}

func quoted(s string) string {
	raw, _ := json.Marshal(s) // a string can always be written
	return string(raw)
}

// subject makes images up: few names, so that things meet, and all that a name may have.
func subject() *rapid.Generator[sbom.Subject] {
	return rapid.Custom(func(t *rapid.T) sbom.Subject {
		s := sbom.Subject{Name: "web", Image: digest(rapid.String().Draw(t, "image")), Tool: rapid.StringMatching(`[0-9a-z.+-]{1,9}`).Draw(t, "tool")}
		s.Created = time.Unix(rapid.Int64Range(0, 1<<32).Draw(t, "created"), 0)
		s.Contents = sbom.Contents{SHA1: map[imx.Digest]string{}, Copyrights: map[string]string{}}
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9][a-z0-9+.-]{0,6}`), 0, 6, rapid.ID).Draw(t, "names")
		slices.Sort(names)
		for _, name := range names {
			p := imx.InventoryPackage{Source: rapid.SampledFrom([]string{"", "src", "src+x"}).Draw(t, "source"), SourceVersion: "1", Description: rapid.String().Draw(t, "says")}
			p.Package = imx.Package{
				Name: name, Version: rapid.StringMatching(`([0-9]:)?[0-9][0-9a-zA-Z.+~-]{0,6}`).Draw(t, "version"), Architecture: "all",
				Suite: rapid.SampledFrom([]string{"", "bookworm", "bookworm-security"}).Draw(t, "suite"), Path: rapid.SampledFrom([]string{"", "pool/main/ä b_%.deb"}).Draw(t, "path"),
			}
			if rapid.Bool().Draw(t, "pinned") {
				p.Digest = digest(name)
			}
			s.Inventory.Packages = append(s.Inventory.Packages, p)
			if rapid.Bool().Draw(t, "licensed") {
				s.Contents.Copyrights["/usr/share/doc/"+name+"/copyright"] = "Format: copyright-format/1.0\n\nFiles: *\nLicense: " + licence().Draw(t, "licence") + "\n"
			}
		}
		for i, path := range rapid.SliceOfNDistinct(rapid.StringMatching(`/(usr|etc)/[^/\x00]{1,6}`), 0, 6, rapid.ID).Draw(t, "paths") {
			f := imx.InventoryPath{Path: path, Kind: imx.PathFile, Digest: digest(fmt.Sprint(i / 2)), Origin: imx.OriginGenerated}
			if len(names) > 0 && rapid.Bool().Draw(t, "owned") {
				f.Origin, f.Package = imx.OriginPackage, rapid.SampledFrom(names).Draw(t, "owner")
			}
			if rapid.Bool().Draw(t, "summed") {
				s.Contents.SHA1[f.Digest] = strings.Repeat("0a", 20)
			}
			s.Inventory.Paths = append(s.Inventory.Paths, f)
			kind := rapid.SampledFrom([]sbom.Kind{sbom.KindGo, sbom.KindJava, sbom.KindPython, sbom.KindNode, sbom.KindRust}).Draw(t, "kind")
			s.Contents.Components = append(s.Contents.Components, sbom.Component{
				Kind: kind, Group: rapid.SampledFrom([]string{"", "@scope", "org.example"}).Draw(t, "group"), Name: rapid.StringN(1, 9, 9).Draw(t, "component"), Version: rapid.String().Draw(t, "its version"), Path: path,
			})
		}
		for range rapid.IntRange(0, 2).Draw(t, "missed") {
			s.Contents.Missed = append(s.Contents.Missed, sbom.Missed{Path: rapid.String().Draw(t, "path"), Why: rapid.String().Draw(t, "why")})
		}
		s.Contents.More = rapid.IntRange(0, 1).Draw(t, "more")
		return s
	})
}

func licence() *rapid.Generator[string] {
	word := rapid.SampledFrom([]string{"GPL-2+", "Expat", "own", "GPL-3 with odd exception", "BSD-3-clause", "ä/ö", "", ","})
	joint := rapid.SampledFrom([]string{" or ", " and ", ", and ", ", or "})
	return rapid.Custom(func(t *rapid.T) string {
		text := word.Draw(t, "first")
		for range rapid.IntRange(0, 3).Draw(t, "more") {
			text += joint.Draw(t, "joint") + word.Draw(t, "next")
		}
		return text
	})
}

// thousand is an image of 1,000 packages of 10 files each, as large ones have.
func thousand() sbom.Subject {
	s := sbom.Subject{Name: "big", Image: digest("big"), Tool: "1", Created: time.Unix(1, 0)}
	s.Contents = sbom.Contents{SHA1: map[imx.Digest]string{}, Copyrights: map[string]string{}}
	for i := range 1000 {
		name := fmt.Sprintf("package-%03d", i)
		s.Inventory.Packages = append(s.Inventory.Packages, imx.InventoryPackage{
			Package: imx.Package{
				Name: name, Version: "1.2.3-4+deb12u1", Architecture: "amd64", Archive: "host", Suite: "bookworm", Digest: digest(name),
				Path: "pool/main/p/" + name + "/" + name + "_1.2.3-4+deb12u1_amd64.deb",
			}, Source: fmt.Sprintf("source-%03d", i/2), SourceVersion: "1.2.3-4", Description: "one of a thousand packages",
		})
		s.Contents.Copyrights["/usr/share/doc/"+name+"/copyright"] = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n" +
			strings.Repeat("Files: src/*\nCopyright: 2026 Somebody\nLicense: GPL-2+ or Expat\n the text\n\n", 10)
		for j := range 10 {
			path := fmt.Sprintf("/usr/lib/%s/file-%d.so", name, j)
			s.Inventory.Paths = append(s.Inventory.Paths, imx.InventoryPath{Path: path, Kind: imx.PathFile, Digest: digest(path), Origin: imx.OriginPackage, Package: name})
			s.Contents.SHA1[digest(path)] = strings.Repeat("0a", 20)
		}
	}
	return s
}

// cpu is the CPU time that the process has had.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func BenchmarkThousandPackages(b *testing.B) {
	s := thousand()
	for name, form := range map[string]func(sbom.Subject) (json.RawMessage, error){"SPDX": sbom.SPDX, "CycloneDX": sbom.CycloneDX} {
		b.Run(name, func(b *testing.B) {
			before := cpu(b)
			defer func() { b.ReportMetric(float64((cpu(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op") }()
			for b.Loop() {
				if raw, err := form(s); err != nil || len(raw) < 1000 {
					b.Fatal(err)
				}
			}
		})
	}
}
