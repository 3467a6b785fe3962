package vuln

import (
	"math"
	"strings"

	"imx"
)

// cvssLevel returns the worst level of the CVSS v3 vectors among severities, "" where there is none. Vectors of
// version 4 aren't scored: its score is read out of a table of 270 classes.
func cvssLevel(all []osvSeverity) imx.Level {
	var worst imx.Level
	for _, s := range all {
		if s.Type != "CVSS_V3" {
			continue
		}
		if score, ok := cvss3(s.Score); ok {
			worst = worse(worst, scoreLevel(score))
		}
	}
	return worst
}

// scoreLevel is CVSS v3.1's table 14. A score of 0 says that there is no impact.
func scoreLevel(score float64) imx.Level {
	switch {
	case score >= 9:
		return imx.Critical
	case score >= 7:
		return imx.High
	case score >= 4:
		return imx.Medium
	case score > 0:
		return imx.Low
	}
	return ""
}

// cvss3 returns the base score of a vector, by section 7.1 of the specification of CVSS v3.1. Version 3.0 differs in
// how the score is rounded alone.
func cvss3(vector string) (float64, bool) {
	rest, ok := strings.CutPrefix(vector, "CVSS:3.1/")
	if !ok {
		if rest, ok = strings.CutPrefix(vector, "CVSS:3.0/"); !ok {
			return 0, false
		}
	}
	m := map[string]string{}
	for part := range strings.SplitSeq(rest, "/") {
		name, value, _ := strings.Cut(part, ":")
		m[name] = value
	}
	changed := m["S"] == "C"
	if !changed && m["S"] != "U" {
		return 0, false
	}
	var v [7]float64 // AV AC UI C I A PR
	for i, name := range []string{"AV", "AC", "UI", "C", "I", "A"} {
		if v[i], ok = cvssWeights()[name+":"+m[name]]; !ok {
			return 0, false
		}
	}
	scope := "PR:"
	if changed {
		scope = "PRC:"
	}
	if v[6], ok = cvssWeights()[scope+m["PR"]]; !ok {
		return 0, false
	}
	impact := 1 - (1-v[3])*(1-v[4])*(1-v[5])
	exploitability := 8.22 * v[0] * v[1] * v[6] * v[2]
	if impact <= 0 {
		return 0, true
	}
	if changed {
		impact = 7.52*(impact-0.029) - 3.25*math.Pow(impact-0.02, 15)
		return roundUp(math.Min(1.08*(impact+exploitability), 10)), true
	}
	return roundUp(math.Min(6.42*impact+exploitability, 10)), true
}

// roundUp is the specification's own (appendix A): up to one decimal, without a float's noise.
func roundUp(f float64) float64 {
	n := int(math.Round(f * 100000))
	if n%10000 == 0 {
		return float64(n) / 100000
	}
	return float64(n/10000+1) / 10
}

// cvssWeights are the specification's table 16; PRC are the privileges required where the scope changes.
func cvssWeights() map[string]float64 {
	return map[string]float64{
		"AV:N": 0.85, "AV:A": 0.62, "AV:L": 0.55, "AV:P": 0.2, "AC:L": 0.77, "AC:H": 0.44, "UI:N": 0.85, "UI:R": 0.62,
		"C:H": 0.56, "C:L": 0.22, "C:N": 0, "I:H": 0.56, "I:L": 0.22, "I:N": 0, "A:H": 0.56, "A:L": 0.22, "A:N": 0,
		"PR:N": 0.85, "PR:L": 0.62, "PR:H": 0.27, "PRC:N": 0.85, "PRC:L": 0.68, "PRC:H": 0.5,
	}
}
