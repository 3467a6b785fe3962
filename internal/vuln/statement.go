package vuln

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"imx"
)

// scanned is a predicate of the type imx.PredicateScan
// (https://github.com/in-toto/attestation/blob/main/spec/predicates/vulns_02.md). That has room for one database;
// where there are several feeds, each is in feeds, and db names them all by one digest.
type scanned struct {
	Scanner  scanner  `json:"scanner"`
	Metadata metadata `json:"metadata"`
}

type scanner struct {
	URI     string    `json:"uri"`
	Version string    `json:"version,omitempty"`
	DB      database  `json:"db"`
	Feeds   []feedAge `json:"feeds"`
	Result  []result  `json:"result"`
	// Incomplete says what of the image couldn't be looked at: no result says that there is nothing in it.
	Incomplete []string `json:"incomplete,omitempty"`
}

type database struct {
	URI     string    `json:"uri"`
	Version string    `json:"version"`
	Updated time.Time `json:"lastUpdate"`
}

type feedAge struct {
	Name   string         `json:"name"`
	Format imx.FeedFormat `json:"format"`
	Digest imx.Digest     `json:"digest"`
	Date   time.Time      `json:"date"`
	Days   int            `json:"daysOld"`
	Stale  bool           `json:"stale,omitempty"`
}

type result struct {
	ID          string              `json:"id"`
	Severity    []severity          `json:"severity"`
	Annotations []imx.Vulnerability `json:"annotations"`
}

type severity struct {
	Method string `json:"method"`
	Score  string `json:"score"`
}

type metadata struct {
	Started  time.Time `json:"scanStartedOn"`
	Finished time.Time `json:"scanFinishedOn"`
}

// Predicate returns a scan of one image as the predicate of an in-toto statement of the type imx.PredicateScan: which
// feeds were asked and how old they were, and what they said, in full. The same scan gives the same bytes.
func Predicate(scan imx.ImageScan, feeds []imx.Feed, version string, made time.Time) (json.RawMessage, error) {
	p := scanned{
		Scanner: scanner{
			URI: "urn:imx:scan", Version: version, Feeds: []feedAge{}, Result: []result{},
			DB: database{URI: "urn:imx:feeds", Version: string(Asked(feeds))},
		},
		Metadata: metadata{made.UTC(), made.UTC()},
	}
	for _, f := range feeds {
		p.Scanner.Feeds = append(p.Scanner.Feeds, feedAge{f.Name, f.Format, f.Digest, f.Date.UTC(), int(made.Sub(f.Date).Hours() / 24), f.Stale})
		if f.Date.After(p.Scanner.DB.Updated) {
			p.Scanner.DB.Updated = f.Date.UTC()
		}
	}
	p.Scanner.Result, p.Scanner.Incomplete = results(scan.Vulnerabilities), scan.Gaps
	return json.Marshal(p)
}

func results(found []imx.Vulnerability) []result {
	all := []result{}
	for _, v := range found {
		v.Used = nil // what runs is another thing than what the image is
		r := result{ID: v.ID, Severity: []severity{}, Annotations: []imx.Vulnerability{v}}
		if v.Level != "" {
			r.Severity = append(r.Severity, severity{"imx", string(v.Level)})
		}
		if v.Urgency != "" {
			r.Severity = append(r.Severity, severity{"debian_urgency", v.Urgency})
		}
		all = append(all, r)
	}
	return all
}

// Found reports whether a predicate says just what a scan does of an image: what it has, and what couldn't be looked at.
func Found(predicate json.RawMessage, scan imx.ImageScan) bool {
	var p scanned
	if json.Unmarshal(predicate, &p) != nil {
		return false
	}
	return imx.DigestJSON(p.Scanner.Result) == imx.DigestJSON(results(scan.Vulnerabilities)) && slices.Equal(p.Scanner.Incomplete, scan.Gaps)
}

// Asked names the contents of all feeds by one digest.
func Asked(feeds []imx.Feed) imx.Digest {
	all := make([]imx.Digest, 0, len(feeds))
	for _, f := range feeds {
		all = append(all, f.Digest)
	}
	return imx.DigestJSON(all)
}

// Tally counts vulnerabilities for one line: those that count, those that a fix is known of, and those exploited.
type Tally struct{ Counting, Fixable, Exploited, Excused int }

// Sum counts.
func Sum(all []imx.Vulnerability) Tally {
	var t Tally
	for _, v := range all {
		if v.Excused != nil {
			t.Excused++
			continue
		}
		t.Counting++
		if v.Package.Fixed != "" {
			t.Fixable++
		}
		if !v.Exploited.IsZero() {
			t.Exploited++
		}
	}
	return t
}

// String says it in one line: "28 vulnerabilities, 27 with a fix, 1 exploited".
func (t Tally) String() string {
	if t.Counting == 0 && t.Excused == 0 {
		return "no vulnerability is known"
	}
	text := strconv.Itoa(t.Counting) + " vulnerabilities"
	if t.Counting == 1 {
		text = "1 vulnerability"
	}
	for _, part := range []struct {
		n    int
		says string
	}{{t.Fixable, "with a fix"}, {t.Exploited, "exploited"}, {t.Excused, "excused"}} {
		if part.n > 0 {
			text += ", " + strconv.Itoa(part.n) + " " + part.says
		}
	}
	return text
}
