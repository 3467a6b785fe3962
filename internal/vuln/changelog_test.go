package vuln_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/vuln"
)

// A changelog names CVEs for many reasons; only those that a version fixes count.
func TestAChangelogFixesNotEveryCVEThatItNames(t *testing.T) {
	got, err := vuln.ParseChangelog(strings.NewReader(fixture(t, "changelog.txt")), "nginx")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]vuln.Change{
		{Version: "1.22.1-9+deb12u1", Date: time.Date(2025, 2, 17, 19, 40, 29, 0, time.UTC), Fixes: []string{"CVE-2025-23419"}},
		{Version: "1.22.1-9", Date: time.Date(2022, 4, 1, 13, 49, 4, 0, time.UTC), Fixes: []string{
			"CVE-2022-28201", "CVE-2022-28202", "CVE-2022-28203", // not CVE-2022-28204, "not affected by"
			"CVE-2023-2283", // "gcrypt backend is not affected" is of another thing
			"CVE-2025-59031", "CVE-2026-12617",
		}},
	}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatASentenceSaysOfACVE(t *testing.T) {
	for says, want := range map[string]bool{
		"Add patches to fix CVE-2023-38545":                                                true,
		"Remove the shell that CVE-2025-59031 needs":                                       true,
		"Disable the built-in Shell when SecureBoot is enabled, CVE-2023-48733.":           true,
		"CVE-2025-10922 (Closes: #1116459)":                                                true,
		"[CVE-2026-5946]: Disable recursion, UPDATE, and NOTIFY for non-IN":                true,
		"CVE-2026-106366: Incomplete cleanup in CustomTabs.":                               true,
		"Correct incomplete backport of CVE-2026-27855 fix":                                true,
		"This version is not affected by CVE-2022-28204":                                   false,
		"CVE-2020-10959 does not affect this version":                                      false,
		"not vulnerable to CVE-2020-10959":                                                 false,
		"CVE-2020-10959 is not fixed yet":                                                  false,
		"Fix regression introduced in CVE-2024-34055 fix":                                  false,
		"Drop CVE-2024-32462 patches, included in the upstream stable release":             false,
		"Revert the fix for CVE-2024-32462":                                                false,
		"Refresh patch CVE-2024-32462.patch":                                               false,
		"(CVE-2023-43090, gnome-shell#6990; previously fixed for bookworm via a backport)": true, // the name is in the other part
		"CVE-2023-43090 was previously fixed":                                              false,
	} {
		text := "a (1-1) bookworm; urgency=low\n\n  * " + says + "\n\n -- A <a@example.org>  Mon, 17 Feb 2025 20:40:29 +0100\n"
		got, err := vuln.ParseChangelog(strings.NewReader(text), "a")
		if err != nil {
			t.Fatal(err)
		}
		if fixes := len(got[0].Fixes) > 0; fixes != want {
			t.Errorf("%q: fixes is %v", says, fixes)
		}
	}
}

func TestACVEThatIsNamedAgainIsFixedByTheLaterVersion(t *testing.T) {
	const text = `a (1-1+deb12u2) bookworm; urgency=low

  * CVE-2025-2760 32bit followup

 -- A <a@example.org>  Mon, 17 Feb 2025 20:40:29 +0100

a (1-1+deb12u1) bookworm; urgency=low

  * CVE-2025-2760, CVE-2025-2761

 -- A <a@example.org>  Sun, 16 Feb 2025 20:40:29 +0100
`
	changes, err := vuln.ParseChangelog(strings.NewReader(text), "a")
	if err != nil {
		t.Fatal(err)
	}
	fixed := map[string]string{}
	for _, a := range vuln.ChangelogAdvisories(changes, "bookworm", "a") {
		fixed[a.Ecosystem+" "+a.ID] = a.Ranges[0].Fixed
	}
	if diff := cmp.Diff(map[string]string{
		"Debian:bookworm CVE-2025-2760": "1-1+deb12u2", "Debian:bookworm CVE-2025-2761": "1-1+deb12u1",
	}, fixed); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNoChangelogIsRefused(t *testing.T) {
	for _, text := range []string{
		"", "hello", "b (1-1) x; urgency=low\n\n  * a\n\n -- A <a>  x\n", "a (1_1) x\n\n -- A <a>  x\n", "a (1-1) x\n\n  * a\n", "a (1-1) x\nb\n -- A <a>  x\n",
		"a (1-1) x\n\n  * " + strings.Repeat("x", 1<<20),
	} {
		if got, err := vuln.ParseChangelog(strings.NewReader(text), "a"); imx.KindOf(err) != imx.Refused {
			t.Errorf("%.40q: %v, %v", text, got, err)
		}
	}
}
