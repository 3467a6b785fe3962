package vuln_test

import (
	"fmt"
	"strings"
	"testing"

	"imx"
)

// The scores are those of the examples that FIRST publishes with each version (https://www.first.org/cvss/), and of its
// calculators.
func TestEveryVersionOfCVSSIsScored(t *testing.T) {
	for _, c := range []struct {
		severity string // "TYPE vector", of which there may be several
		want     imx.Level
	}{
		{"CVSS_V2 AV:N/AC:L/Au:N/C:N/I:N/A:C", imx.High},                                          // CVE-2002-0392, 7.8
		{"CVSS_V2 AV:N/AC:L/Au:N/C:C/I:C/A:C", imx.High},                                          // 10.0, but there is nothing critical in version 2
		{"CVSS_V2 AV:L/AC:H/Au:N/C:C/I:C/A:C", imx.Medium},                                        // CVE-2003-0062, 6.2
		{"CVSS_V3 CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", imx.Medium},                      // CVE-2013-1937, 6.1
		{"CVSS_V3 CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", imx.Medium},                      // CVE-2013-0375, 6.4
		{"CVSS_V3 CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", imx.Critical},                    // 9.8
		{"CVSS_V3 CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", ""},                              // 0.0
		{"CVSS_V4 CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", imx.Critical}, // 10.0
		{"CVSS_V4 CVSS:4.0/AV:L/AC:L/AT:P/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", imx.High},     // CVE-2022-41741, 7.3
		{"CVSS_V4 CVSS:4.0/AV:P/AC:L/AT:N/PR:N/UI:N/VC:N/VI:H/VA:N/SC:N/SI:N/SA:N", imx.Medium},   // 5.1
		{"CVSS_V4 CVSS:4.0/AV:N/AC:L/AT:P/PR:N/UI:P/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", imx.High},     // CVE-2020-3549, 7.7
		{"CVSS_V4 CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:N/SC:N/SI:N/SA:N", ""},           // 0.0
		{"CVSS_V4 CVSS:4.0/AV:N/AC:L", ""},                                                        // not whole
		{"CVSS_V4 nonsense", ""},
		{"UNKNOWN CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", ""},                                            // who knows what it means
		{"CVSS_V2 AV:N/AC:L/Au:N/C:C/I:C/A:C,CVSS_V3 CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", imx.Medium}, // the later version counts
		{"CVSS_V4 CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H/E:U", imx.Critical},           // 9.1
	} {
		var list []string
		for one := range strings.SplitSeq(c.severity, ",") {
			kind, vector, _ := strings.Cut(one, " ")
			list = append(list, fmt.Sprintf(`{"type": %q, "score": %q}`, kind, vector))
		}
		got := read(imx.FormatOSV, strings.NewReader(fmt.Sprintf(`{"id": "X-1", "modified": "2026-01-02T00:00:00Z", "severity": [%s], "affected": [
			{"package": {"ecosystem": "npm", "name": "x"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}]}]}`, strings.Join(list, ", "))))
		if got.err != nil || len(got.all) != 1 || got.all[0].Level != c.want {
			t.Errorf("%s: %+v, %v; want %q", c.severity, got.all, got.err, c.want)
		}
	}
}
