package vuln

import (
	"strings"

	gocvss20 "github.com/pandatix/go-cvss/20"
	gocvss30 "github.com/pandatix/go-cvss/30"
	gocvss31 "github.com/pandatix/go-cvss/31"
	gocvss40 "github.com/pandatix/go-cvss/40"

	"imx"
)

// cvssLevel returns the worst level of the CVSS vectors among severities, "" where there is none that can be scored.
// Those of version 2 judge otherwise than the later ones, and count only where there are no others.
func cvssLevel(all []osvSeverity) imx.Level {
	var worst, old imx.Level
	for _, s := range all {
		score, ok := cvssScore(s.Score)
		switch {
		case !ok:
		case s.Type == "CVSS_V2":
			old = worse(old, withoutCritical(scoreLevel(score)))
		case s.Type == "CVSS_V3" || s.Type == "CVSS_V4":
			worst = worse(worst, scoreLevel(score))
		}
	}
	if worst == "" {
		return old
	}
	return worst
}

// withoutCritical is a level in version 2, whose scale has no critical ones.
func withoutCritical(l imx.Level) imx.Level {
	if l == imx.Critical {
		return imx.High
	}
	return l
}

// cvssScore returns the score of a vector of any version; of version 4 that with the threat and the environment, where
// the vector has them, as FIRST's calculator gives it, and of the others the base score.
func cvssScore(vector string) (float64, bool) {
	if len(vector) > maxText {
		return 0, false
	}
	version, _, _ := strings.Cut(vector, "/")
	switch version {
	case "CVSS:4.0":
		v, err := gocvss40.ParseVector(vector)
		if err != nil {
			return 0, false
		}
		return v.Score(), true
	case "CVSS:3.1":
		v, err := gocvss31.ParseVector(vector)
		if err != nil {
			return 0, false
		}
		return v.BaseScore(), true
	case "CVSS:3.0":
		v, err := gocvss30.ParseVector(vector)
		if err != nil {
			return 0, false
		}
		return v.BaseScore(), true
	}
	v, err := gocvss20.ParseVector(vector)
	if err != nil {
		return 0, false
	}
	return v.BaseScore(), true
}

// scoreLevel is the table of ratings that CVSS has since version 3. A score of 0 says that there is no impact.
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
