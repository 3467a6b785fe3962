package vuln_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/purl"
	"imx/internal/vuln"
)

func document(t *testing.T) vuln.VEX {
	t.Helper()
	d, err := vuln.ParseVEX(strings.NewReader(fixture(t, "openvex.json")))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func vulnerability(id, source, version string) imx.Vulnerability {
	return imx.Vulnerability{ID: id, Package: imx.Affected{Ecosystem: "Debian:bookworm", Name: source, Version: version, Binaries: []string{"lib" + source}}}
}

const imageDigest = imx.Digest("sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")

func TestAStatementExcusesWhatItIsAbout(t *testing.T) {
	for name, c := range map[string]struct {
		v       imx.Vulnerability
		image   string
		excused string
	}{
		"a package in an image":     {vulnerability("CVE-2023-5363", "openssl", "3.0.9-1"), "web", "not_affected"},
		"the same in another image": {vulnerability("CVE-2023-5363", "openssl", "3.0.9-1"), "app", ""},
		"another package of it":     {vulnerability("CVE-2023-5363", "gnutls28", "3.7.9-2"), "web", ""},
		"another vulnerability":     {vulnerability("CVE-2023-5364", "openssl", "3.0.9-1"), "web", ""},
		"a package by its version":  {vulnerability("CVE-2024-12084", "rsync", "3.2.7-1"), "app", "fixed"},
		"another version of it":     {vulnerability("CVE-2024-12084", "rsync", "3.2.6-1"), "app", ""},
		"one that says affected":    {vulnerability("CVE-2025-27587", "openssl", "3.0.9-1"), "other", ""},
	} {
		t.Run(name, func(t *testing.T) {
			all := []imx.Vulnerability{c.v}
			vuln.Excuse(all, c.image, imageDigest, []vuln.Plea{{From: "test", VEX: document(t)}})
			got := ""
			if all[0].Excused != nil {
				got = all[0].Excused.Status
			}
			if got != c.excused {
				t.Errorf("excused as %q, want %q", got, c.excused)
			}
		})
	}
}

// excused reports whether bookworm's openssl, with two binary packages, in the image "team/web" is excused by
// statements about products, each of its own and newer than the one before.
func excused(t *testing.T, a imx.Affected, products ...string) bool {
	t.Helper()
	var pleas []vuln.Plea
	for i, product := range products {
		status := "not_affected"
		if rest, ok := strings.CutPrefix(product, "affected: "); ok {
			status, product = "affected", rest
		}
		text := fmt.Sprintf(`{"@context": "https://openvex.dev/ns/v0.2.0", "timestamp": "2026-11-%02dT00:00:00Z", "statements": [
			{"vulnerability": {"name": "CVE-2023-5363"}, "products": [%s], "status": %q, "impact_statement": "so"}]}`, i+1, product, status)
		d, err := vuln.ParseVEX(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		pleas = append(pleas, vuln.Plea{VEX: d})
	}
	all := []imx.Vulnerability{{ID: "CVE-2023-5363", Package: a}}
	vuln.Excuse(all, "team/web", imageDigest, pleas)
	return all[0].Excused != nil
}

// product is a product by its package URL, with those below it.
func product(url string, below ...string) string {
	var list []string
	for _, b := range below {
		list = append(list, fmt.Sprintf(`{"@id": %q}`, b))
	}
	return fmt.Sprintf(`{"@id": %q, "subcomponents": [%s]}`, url, strings.Join(list, ", "))
}

func TestAStatementExcusesNoMoreThanItNames(t *testing.T) {
	openssl := imx.Affected{Ecosystem: "Debian:bookworm", Name: "openssl", Version: "3.0.9-1", Binaries: []string{"libssl3", "openssl"}}
	for url, want := range map[string]bool{
		"pkg:deb/debian/openssl": true,
		"PKG:deb/Debian/OpenSSL": true,

		"pkg:deb/debian/openssl@3.0.9-1?arch=source&distro=bookworm":                   true,
		"pkg:deb/debian/openssl?distro=debian-12":                                      true,
		"pkg:deb/debian/openssl?distro=debian-12.5":                                    true,
		"pkg:deb/debian/openssl?distro=bookworm-security":                              true,
		"pkg:deb/debian/openssl?distro=bullseye":                                       false,
		"pkg:deb/debian/openssl?distro=debian-11":                                      false,
		"pkg:deb/debian/openssl?repository_url=elsewhere":                              false,
		"pkg:deb/debian/openssl@3.0.8-1":                                               false,
		"pkg:deb/debian/openssl?arch=amd64":                                            false, // the binary package of that name
		"pkg:deb/ubuntu/openssl":                                                       false,
		"pkg:deb/openssl":                                                              false,
		"pkg:rpm/debian/openssl":                                                       false,
		"pkg:deb/debian/libssl3":                                                       false, // one of two binary packages
		"pkg:oci/web":                                                                  false, // another team's, perhaps
		"pkg:oci/web?repository_url=elsewhere":                                         false,
		"pkg:oci/web?repository_url=elsewhere/team/web":                                false,
		"pkg:oci/other?repository_url=team/web":                                        false,
		"pkg:oci/web?repository_url=team/web":                                          true,
		purl.Image("team/web", imageDigest).String():                                   true,
		purl.Image("renamed", imageDigest).String():                                    true, // the same bytes
		purl.Image("team/web", imx.Digest("sha256:"+strings.Repeat("b", 64))).String(): false,
	} {
		if got := excused(t, openssl, product(url)); got != want {
			t.Errorf("%s: %v", url, got)
		}
	}
}

func TestASourceIsExcusedWhereEachOfItsBinariesIs(t *testing.T) {
	openssl := imx.Affected{Ecosystem: "Debian:bookworm", Name: "openssl", Version: "3.0.9-1", Binaries: []string{"libssl3", "openssl"}}
	const lib, program, image = "pkg:deb/debian/libssl3@3.0.9-1+b2?arch=amd64", "pkg:deb/debian/openssl@3.0.9-1?arch=amd64", "pkg:oci/web?repository_url=team/web"
	for name, c := range map[string]struct {
		products []string
		want     bool
	}{
		"both in one statement":           {[]string{product(lib) + ", " + product(program)}, true},
		"both in two statements":          {[]string{product(lib), product(program)}, true},
		"both in the image":               {[]string{product(image, lib, program)}, true},
		"one in the image":                {[]string{product(image, lib)}, false},
		"both in another image":           {[]string{product("pkg:oci/web?repository_url=other", lib, program)}, false},
		"one is taken back":               {[]string{product(lib), product(program), "affected: " + product(lib)}, false},
		"the source, then one taken back": {[]string{product("pkg:deb/debian/openssl"), "affected: " + product(lib)}, false},
		"one was affected before":         {[]string{"affected: " + product(lib), product("pkg:deb/debian/openssl")}, true},
	} {
		if got := excused(t, openssl, c.products...); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	openssl.Binaries = []string{"libssl3"}
	if !excused(t, openssl, product(lib)) {
		t.Error("the only binary package of it in the image is named")
	}
}

func TestPackagesOfLanguagesAreFoundByTheRulesOfTheirType(t *testing.T) {
	for url, a := range map[string]imx.Affected{
		"pkg:golang/github.com/Masterminds/semver@v1.5.0": {Ecosystem: "Go", Name: "github.com/Masterminds/semver", Version: "1.5.0"},
		"pkg:npm/%40babel/core":                           {Ecosystem: "npm", Name: "@babel/core", Version: "7.0.0"},
		"pkg:pypi/Flask_Login":                            {Ecosystem: "PyPI", Name: "flask-login", Version: "0.6.1"},
		"pkg:maven/org.apache/log4j":                      {Ecosystem: "Maven", Name: "org.apache:log4j", Version: "2.0"},
		"pkg:cargo/serde":                                 {Ecosystem: "crates.io", Name: "serde", Version: "1.0.1"},
	} {
		if !excused(t, a, product(url)) {
			t.Errorf("%s isn't %s", url, a.Name)
		}
		a.Name += "x"
		if excused(t, a, product(url)) {
			t.Errorf("%s is %s", url, a.Name)
		}
	}
}

func TestALaterStatementTakesAnExcuseBack(t *testing.T) {
	first := document(t)
	later := document(t)
	for i := range later.Statements {
		later.Statements[i].Status = "under_investigation"
		later.Statements[i].Timestamp = later.Timestamp.Add(time.Hour)
	}
	for _, pleas := range [][]vuln.Plea{{{VEX: first}, {VEX: later}}, {{VEX: later}, {VEX: first}}} {
		all := []imx.Vulnerability{vulnerability("CVE-2023-5363", "openssl", "3.0.9-1")}
		vuln.Excuse(all, "web", imageDigest, pleas)
		if all[0].Excused != nil {
			t.Errorf("still excused: %+v", all[0].Excused)
		}
	}
}

func TestExcusedOnesComeLastAndDontCount(t *testing.T) {
	all := []imx.Vulnerability{vulnerability("CVE-2023-5363", "openssl", "3.0.9-1"), vulnerability("CVE-2023-0001", "openssl", "3.0.9-1")}
	vuln.Excuse(all, "web", imageDigest, []vuln.Plea{{From: "test", VEX: document(t)}})
	if ids(all) != "CVE-2023-0001 CVE-2023-5363" {
		t.Error(ids(all))
	}
	if got := vuln.Sum(all); got != (vuln.Tally{Counting: 1, Excused: 1}) {
		t.Errorf("%+v", got)
	}
}

func TestAStatementThatImxWritesIsReadAgain(t *testing.T) {
	why := vuln.Reason{
		IDs: []string{"CVE-2023-5363"}, Justification: "component_not_present", Because: "no TLS", By: "root", Time: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
	}
	d, err := vuln.State(nil, "web", imageDigest, why)
	if err != nil {
		t.Fatal(err)
	}
	why.IDs, why.Time = []string{"CVE-2024-12084"}, why.Time.Add(time.Hour)
	if d, err = vuln.State(&d, "web", imageDigest, why); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	again, err := vuln.ParseVEX(strings.NewReader(string(raw)))
	if err != nil || again.Version != 2 || len(again.Statements) != 2 {
		t.Fatalf("%s: %v", raw, err)
	}
	all := []imx.Vulnerability{vulnerability("CVE-2023-5363", "openssl", "3.0.9-1")}
	vuln.Excuse(all, "web", "sha256:"+imx.Digest(strings.Repeat("b", 64)), []vuln.Plea{{VEX: again}})
	if all[0].Excused != nil {
		t.Error("it is about one digest, and excuses another")
	}
	vuln.Excuse(all, "renamed", imageDigest, []vuln.Plea{{From: "evidence", VEX: again}})
	if e := all[0].Excused; e == nil || e.Because != "no TLS" || e.By != "root" || e.From != "evidence" {
		t.Errorf("%+v", e)
	}
}

func TestAnExcuseNeedsAReason(t *testing.T) {
	if _, err := vuln.State(nil, "web", imageDigest, vuln.Reason{IDs: []string{"CVE-2023-5363"}}); imx.KindOf(err) != imx.Invalid {
		t.Error(err)
	}
	if _, err := vuln.State(nil, "web", imageDigest, vuln.Reason{IDs: []string{"CVE-2023-5363"}, Justification: "because"}); imx.KindOf(err) != imx.Invalid {
		t.Error(err)
	}
}

func TestWhatIsNoOpenVEXIsRefused(t *testing.T) {
	whole := fixture(t, "openvex.json")
	for name, text := range map[string]string{
		"cut":                whole[:len(whole)/2],
		"another context":    strings.Replace(whole, "openvex.dev", "example.org", 1),
		"another status":     strings.Replace(whole, `"fixed"`, `"fine"`, 1),
		"no product":         strings.Replace(whole, `[{"@id": "pkg:oci/other"}]`, `[]`, 1),
		"no vulnerability":   strings.Replace(whole, `{"name": "CVE-2025-27587"}`, `{}`, 1),
		"another reason":     strings.Replace(whole, "vulnerable_code_not_in_execute_path", "trust_me", 1),
		"no statements":      `{"@context": "https://openvex.dev/ns/v0.2.0", "statements": []}`,
		"an array":           "[]",
		"something after it": whole + "{}",
	} {
		if _, err := vuln.ParseVEX(strings.NewReader(text)); imx.KindOf(err) != imx.Refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}
