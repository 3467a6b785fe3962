package vuln

import (
	"bytes"
	"encoding/json"
	"errors"
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
	keys, inner, cut := topKeys(text)
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
	if cut && len(head) == HeadSize {
		return "", refused("its first entry is too large: %s of it don't tell which feed it is", imx.Size(HeadSize)).
			WithHint("if that's right, say which it is with --format")
	}
	return "", refused("it isn't written as any feed that imx reads").
		WithHint("it reads DSA-list and DLA-list and the JSON of Debian's tracker, OSV records, the KEV catalogue and OpenVEX documents")
}

// topKeys returns the names in the first object, as far as it is there, the first name in the object that its first
// name stands for, and whether the text ends within the object.
func topKeys(text []byte) (keys []string, inner string, cut bool) {
	text = bytes.TrimLeft(text, "[ \t\r\n") // an array of records
	d := json.NewDecoder(bytes.NewReader(text))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, "", false
	}
	for d.More() {
		token, err := d.Token()
		key, ok := token.(string)
		if err != nil || !ok {
			return keys, inner, err != nil && isCut(err)
		}
		if keys = append(keys, key); len(keys) == 1 {
			inner = firstKey(text[d.InputOffset():])
		}
		var passed json.RawMessage
		if err := d.Decode(&passed); err != nil {
			return keys, inner, isCut(err)
		}
	}
	return keys, inner, d.InputOffset() == int64(len(text))
}

func isCut(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

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
