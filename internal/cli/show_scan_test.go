package cli_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"imx"
	"imx/internal/cli"
	"imx/internal/report"
	"imx/internal/term"
)

// scanned is a result with everything that one can have.
func scanned() imx.ScanResult {
	use := imx.Use{Instance: "web-3-abcde", Process: "nginx", Pid: 4711, Path: "/usr/sbin/nginx"}
	image := imx.DigestBytes([]byte("web"))
	return imx.ScanResult{
		Time: now(), At: at("2026-05-01 09:30:00"), Notices: []string{"feed kev is 298 days old: it knows nothing newer"},
		Feeds: []imx.Feed{
			{Name: "DSA-list", Format: imx.FormatDSA, Source: "DSA-list", Entries: 36252, Date: now().Add(-48 * time.Hour)},
			{Name: "kev", Format: imx.FormatKEV, Source: "kev.json", Entries: 1500, Date: now().Add(-298 * 24 * time.Hour), Stale: true},
		},
		Images: []imx.ImageScan{
			{
				Image: image, Name: "web", Packages: 12, Components: 3, Stated: now().Add(-3 * time.Hour), Releases: []string{"web-3", "web-2"}, Patch: "imx plan --update shop && imx apply shop",
				Instances: []imx.InstanceScan{{Instance: "web-3-abcde", Processes: 2, Foreign: []imx.Use{{Instance: "web-3-abcde", Process: "nginx", Pid: 4711, Path: "/tmp/x.so"}}}},
				Vulnerabilities: []imx.Vulnerability{
					{
						ID: "CVE-2023-44487", Level: imx.High, Exploited: now(), Feeds: []string{"DSA-list"}, Used: []imx.Use{use, use},
						Package: imx.Affected{Name: "nginx", Version: "1.22.1-9", Fixed: "1.22.1-9+deb12u11", Binaries: []string{"nginx", "nginx-common", "nginx-light"}},
					},
					{ID: "CVE-2025-27587", Level: imx.Medium, Feeds: []string{"osv"}, Package: imx.Affected{Name: "openssl", Version: "3.0.9-1", Binaries: []string{"libssl3"}}},
					{ID: "GO-2026-1", Level: imx.Medium, Feeds: []string{"osv"}, Package: imx.Affected{
						Ecosystem: "Go", Name: "golang.org/x/net", Version: "v0.16.0", Fixed: "0.17.0", Files: []string{"/app/a", "/app/b", "/app/c"},
					}},
					{ID: "DSA-1-1", Feeds: []string{"DSA-list"}, Package: imx.Affected{Name: "zlib", Version: "1-1", Binaries: []string{"zlib"}, Fixed: "1-2"}},
					{
						ID: "CVE-2020-0001", Level: imx.Low, Feeds: []string{"osv"}, Package: imx.Affected{Name: "zlib", Version: "1-1", Binaries: []string{"zlib"}},
						Excused: &imx.Excuse{Status: "not_affected", Justification: "component_not_present", Because: "no minizip", From: "evidence"},
					},
				},
			},
			{Image: imx.DigestBytes([]byte("app")), Name: "app", Packages: 1, Vulnerabilities: []imx.Vulnerability{}, Gaps: []string{"of 1 packages the release isn't known"}},
		},
	}
}

func TestAScanIsShown(t *testing.T) {
	golden(t, "scan", func(out term.Stream) error { return cli.ShowScan(out, scanned(), imx.ScanRequest{}, now()) })
	golden(t, "scan-nobody", func(out term.Stream) error {
		return cli.ShowScan(out, imx.ScanResult{Searched: 2, Notices: []string{"there is no feed"}}, imx.ScanRequest{ID: "CVE-2024-0001"}, now())
	})
}

func TestAScanIsAReportToo(t *testing.T) {
	r := cli.ScanReport(scanned(), "1.0")
	raw, err := json.Marshal(r)
	if err != nil || len(r.Rules) != 5 || len(r.Folders) != 2 || len(r.Folders[0].Findings) != 5 {
		t.Fatalf("%s: %v", raw, err)
	}
	if f := r.Folders[0].Findings[4]; f.Waived == nil || f.Waived.Reason != "no minizip" {
		t.Errorf("what is excused is waived: %+v", f)
	}
	if f := r.Folders[0].Findings[3]; f.Level != imx.High || !strings.Contains(f.Fix, "version 1-2 fixes it: imx plan") {
		t.Errorf("what nobody judged counts as high: %+v", f)
	}
}

func TestAScansSARIFIsValidByTheOfficialSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../report/testdata/sarif-schema-2.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]imx.ScanResult{"whole": scanned(), "nothing": {}} {
		var b bytes.Buffer
		if err := report.SARIF(&b, cli.ScanReport(r, "1.0")); err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(&b)
		if err == nil {
			err = schema.Validate(v)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatAScanFailsOn(t *testing.T) {
	r := scanned()
	for which, want := range map[string]bool{"fixable": true, "exploited": true, "critical": false, "high": true, "medium": true, "low": true} {
		if got := cli.Fails(r, []string{which}); got != want {
			t.Errorf("%s: %v", which, got)
		}
	}
	r.Images[0].Vulnerabilities = r.Images[0].Vulnerabilities[4:]
	if cli.Fails(r, []string{"fixable", "exploited", "low"}) {
		t.Error("what is excused doesn't count")
	}
}
