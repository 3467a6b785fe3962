package vuln_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/vuln"
)

const sbomOfLanguages = `{"bomFormat": "CycloneDX", "components": [
 {"purl": "pkg:deb/debian/libc6@2.36-9?arch=amd64"},
 {"purl": "pkg:golang/stdlib@1.21rc2", "evidence": {"occurrences": [{"location": "/app/b"}]}},
 {"purl": "pkg:golang/golang.org/x/net@v0.16.0", "evidence": {"occurrences": [{"location": "/app/b"}, {"location": "/app/a"}, {"location": "/usr/bin/distro"}]}},
 {"purl": "pkg:golang/example.org/unversioned", "evidence": {"occurrences": [{"location": "/app/b"}]}},
 {"purl": "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1", "evidence": {"occurrences": [{"location": "/app/x.jar"}]}},
 {"purl": "pkg:npm/%40scope/thing@1.0.0", "evidence": {"occurrences": [{"location": "/app/package.json"}]}},
 {"purl": "pkg:pypi/flask-login@0.6.1", "evidence": {"occurrences": [{"location": "/app/METADATA"}]}},
 {"purl": "pkg:pypi/requests@2.28.1", "evidence": {"occurrences": [{"location": "/usr/lib/python3/dist-packages/requests/METADATA"}]}},
 {"purl": "pkg:cargo/time@0.1.0", "evidence": {"occurrences": [{"location": "/app/rs"}]}}]}`

// packaged are files that packages of the distribution brought.
func packaged(file string) bool { return strings.HasPrefix(file, "/usr/") }

func TestLanguagesComponentsAreMatchedByTheirEcosystems(t *testing.T) {
	packages, err := vuln.Components([]byte(sbomOfLanguages), packaged)
	if err != nil {
		t.Fatal(err)
	}
	want := []vuln.Package{
		{Ecosystem: "Go", Name: "golang.org/x/net", Version: "v0.16.0", Files: []string{"/app/a", "/app/b"}},
		{Ecosystem: "Go", Name: "stdlib", Version: "1.21.0-rc.2", Files: []string{"/app/b"}},
		{Ecosystem: "Maven", Name: "org.apache.logging.log4j:log4j-core", Version: "2.14.1", Files: []string{"/app/x.jar"}},
		{Ecosystem: "PyPI", Name: "flask-login", Version: "0.6.1", Files: []string{"/app/METADATA"}},
		{Ecosystem: "crates.io", Name: "time", Version: "0.1.0", Files: []string{"/app/rs"}},
		{Ecosystem: "npm", Name: "@scope/thing", Version: "1.0.0", Files: []string{"/app/package.json"}},
	}
	if diff := cmp.Diff(want, packages); diff != "" {
		t.Fatal(diff)
	}
	var records []string
	for id, p := range map[string][2]string{
		"GO-1": {"Go", "golang.org/x/net"}, "GO-2": {"Go", "stdlib"}, "GHSA-1": {"Maven", "org.apache.logging.log4j:log4j-core"},
		"PYSEC-1": {"PyPI", "Flask_Login"}, "RUSTSEC-1": {"crates.io", "time"}, "GHSA-2": {"npm", "@scope/thing"}, "PYSEC-2": {"PyPI", "requests"},
	} {
		records = append(records, fmt.Sprintf(`{"id": %q, "modified": "2026-01-02T00:00:00Z", "affected": [{"package": {"ecosystem": %q, "name": %q},
			"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.0.0"}]}]}]}`, id, p[0], p[1]))
	}
	book, _, err := vuln.NewBook(func(string, string) {}, func(s vuln.Sink) (vuln.Summary, error) {
		return vuln.ParseOSV(strings.NewReader(strings.Join(records, "\n")), s)
	})
	if err != nil {
		t.Fatal(err)
	}
	found, err := vuln.Scan(packages, []vuln.Feed{{Name: "osv", Book: book}})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, v := range found {
		ids = append(ids, v.ID+" in "+strings.Join(v.Package.Files, ","))
	}
	if diff := cmp.Diff([]string{
		"RUSTSEC-1 in /app/rs", "PYSEC-1 in /app/METADATA", "GO-2 in /app/b", "GO-1 in /app/a,/app/b", "GHSA-2 in /app/package.json", "GHSA-1 in /app/x.jar",
	}, ids); diff != "" {
		t.Error(diff)
	}
	excuse := `{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "x", "author": "a", "timestamp": "2026-01-01T00:00:00Z", "version": 1, "statements": [
	  {"vulnerability": {"name": "GHSA-1"}, "products": [{"@id": "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"}], "status": "not_affected", "impact_statement": "no"}]}`
	doc, err := vuln.ParseVEX(strings.NewReader(excuse))
	if err != nil {
		t.Fatal(err)
	}
	vuln.Excuse(found, "web", imx.DigestBytes(nil), []vuln.Plea{{From: "x", VEX: doc}})
	if last := found[len(found)-1]; last.ID != "GHSA-1" || last.Excused == nil || found[0].Excused != nil {
		t.Errorf("a Maven artifact isn't excused by its URL: %+v", found)
	}
}

func TestWhatIsNoSBOMIsRefused(t *testing.T) {
	for _, text := range []string{"", "[]", "{}", `{"bomFormat": "SPDX"}`} {
		if _, err := vuln.Components([]byte(text), packaged); imx.KindOf(err) != imx.Refused {
			t.Errorf("%q: %v", text, err)
		}
	}
}
