package vuln

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"

	"imx"
)

// HeadSize is how much of a feed Detect wants to see.
const HeadSize = 64 << 10

// Detect finds out the format of a feed by how it begins. Errors: Refused, with the formats that imx reads.
func Detect(head []byte) (imx.FeedFormat, error) {
	text := bytes.TrimLeft(head, " \t\r\n")
	if len(text) > 2 && text[0] == '[' && text[1] >= '0' && text[1] <= '9' {
		return imx.FormatDSA, nil
	}
	keys, inner := topKeys(text)
	has := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(keys, n) })
	}
	switch {
	case has("@context"):
		return imx.FormatOpenVEX, nil
	case has("catalogVersion"), has("dateReleased"):
		return imx.FormatKEV, nil
	case has("id", "affected"), has("id", "modified"):
		return imx.FormatOSV, nil
	case IsCVE(inner) || len(inner) > 5 && inner[:5] == "TEMP-":
		return imx.FormatTracker, nil
	}
	if len(head) == HeadSize && len(text) > 0 && (text[0] == '{' || text[0] == '[') && len(keys) < 2 {
		return "", refused("its first entry is too large: %s of it don't tell which feed it is", imx.Size(HeadSize)).
			WithHint("if that's right, say which it is with --format")
	}
	return "", refused("it isn't written as any feed that imx reads").
		WithHint("it reads DSA-list and DLA-list and the JSON of Debian's tracker, OSV records, the KEV catalogue and OpenVEX documents")
}

// topKeys returns the names in the first object, as far as it is there, and the first name in the object that its first
// name stands for.
func topKeys(text []byte) (keys []string, inner string) {
	text = bytes.TrimLeft(text, "[ \t\r\n") // an array of records
	d := json.NewDecoder(bytes.NewReader(text))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, ""
	}
	for d.More() {
		token, err := d.Token()
		key, ok := token.(string)
		if err != nil || !ok {
			return keys, inner
		}
		if keys = append(keys, key); len(keys) == 1 {
			inner = firstKey(text[d.InputOffset():])
		}
		var passed json.RawMessage
		if d.Decode(&passed) != nil {
			return keys, inner
		}
	}
	return keys, inner
}

// firstKey returns the first name in the object that comes after a colon.
func firstKey(text []byte) string {
	text = bytes.TrimLeft(text, ": \t\r\n")
	d := json.NewDecoder(bytes.NewReader(text))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return ""
	}
	token, err := d.Token()
	key, ok := token.(string)
	if err != nil || !ok {
		return ""
	}
	return key
}

// Parse reads a feed of a format that says which packages have which vulnerabilities, or which of these are
// exploited. Errors: Invalid for another format; as the format's own parser.
func Parse(format imx.FeedFormat, r io.Reader, sink Sink) (Summary, error) {
	switch format {
	case imx.FormatDSA:
		return ParseDSA(r, sink)
	case imx.FormatTracker:
		return ParseTracker(r, sink)
	case imx.FormatOSV:
		return ParseOSV(r, sink)
	case imx.FormatKEV:
		return ParseKEV(r, sink)
	case imx.FormatOpenVEX, imx.FormatChangelog:
	}
	return Summary{}, imx.Errorf(imx.Invalid, "%q is not a format of advisories", format).
		WithHint("formats: %s, %s, %s, %s, %s", imx.FormatDSA, imx.FormatTracker, imx.FormatOSV, imx.FormatKEV, imx.FormatOpenVEX)
}
