package vuln

import (
	"path"
	"strings"

	"imx"
)

const (
	// Changelogs is the name of the feed that imx makes by itself.
	Changelogs = "changelogs"

	maxID   = 100
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
)

// ParseID returns the name of a vulnerability, or of an advisory, as feeds write it: "CVE-2024-3094" for "cve-2024-3094".
// Errors: Invalid for what can't be one.
func ParseID(text string) (string, error) {
	from, rest, _ := strings.Cut(text, "-")
	if upper := strings.ToUpper(text); IsCVE(upper) {
		return upper, nil
	}
	odd := strings.Trim(from, letters+digits) != "" || strings.Trim(rest, letters+digits+"-_.:") != ""
	if from == "" || rest == "" || odd || len(text) > maxID || strings.EqualFold(from, "CVE") {
		return "", imx.Errorf(imx.Invalid, "%.70q can't be the name of a vulnerability", text).
			WithHint("names are written as CVE-2024-3094, DSA-5649-1 or GHSA-rxwq-x6h5-x525")
	}
	return text, nil
}

// CheckFeedName refuses what can't be the name of a feed that somebody brings. Errors: Invalid.
func CheckFeedName(name string) error {
	if name == "" || len(name) > 64 || strings.Trim(name, letters+digits+"-_.") != "" || strings.Trim(name[:1], letters+digits) != "" {
		return imx.Errorf(imx.Invalid, "%.70q can't be the name of a feed", name).
			WithHint("give it one of letters, digits, dots and dashes with --name")
	}
	if name == Changelogs {
		return imx.Errorf(imx.Invalid, "%q is the feed that imx makes by itself", name).WithHint("give yours another name with --name")
	}
	return nil
}

// FeedName returns the name that a feed of a file gets: the file's, without its ending.
func FeedName(file string) string {
	name := path.Base(path.Clean("/" + strings.ReplaceAll(file, `\`, "/")))
	for _, ending := range []string{".gz", ".json", ".jsonl", ".zip", ".txt"} {
		name = strings.TrimSuffix(name, ending)
	}
	return name
}
