package vuln_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"imx"
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
