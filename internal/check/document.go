package check

import (
	"encoding/json"
	"slices"
	"time"
	"unicode/utf8"

	"imx"
)

// OfTemplate returns a template as rules see it; docs/check.md describes it for people who write rules.
// It is the template's JSON with file contents as text, without positions, and with what was written.
// The error is of kind Internal.
func OfTemplate(t imx.Template, now time.Time) (Document, error) {
	seen := t
	seen.Places, seen.Notices = nil, nil
	seen.Images, seen.Services = slices.Clone(t.Images), slices.Clone(t.Services)
	texts := [][]string{}
	for i := range seen.Images {
		var found []string
		seen.Images[i].Files, found = withoutContents(seen.Images[i].Files)
		seen.Images[i].PackagesAt = nil
		texts = append(texts, found)
	}
	for i := range seen.Services {
		var found []string
		seen.Services[i].Files, found = withoutContents(seen.Services[i].Files)
		texts = append(texts, found)
	}
	b, err := json.Marshal(seen)
	if err != nil {
		return Document{}, imx.Errorf(imx.Internal, "the template can't be given to rules: %w", err)
	}
	input := map[string]any{}
	if err := json.Unmarshal(b, &input); err != nil {
		return Document{}, imx.Errorf(imx.Internal, "the template can't be given to rules: %w", err)
	}
	blocks := slices.Concat(list(input["images"]), list(input["services"]))
	for i, found := range texts {
		block, _ := blocks[i].(map[string]any)
		for j, file := range list(block["files"]) {
			if f, ok := file.(map[string]any); ok && found[j] != "" {
				f["content"] = found[j]
			}
		}
	}
	for _, name := range []string{"archives", "images", "services", "tests"} {
		if input[name] == nil {
			input[name] = []any{}
		}
	}
	input["written"] = written(t.Places)
	input["today"], input["now"] = now.UTC().Format(time.DateOnly), now.UTC().Format(time.RFC3339)
	return Document{Input: input, Now: now, Locate: locateIn(t)}, nil
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// withoutContents returns files without what is in them, and that as text, "" where it isn't any.
func withoutContents(files []imx.File) ([]imx.File, []string) {
	bare, texts := slices.Clone(files), make([]string, len(files))
	for i, f := range files {
		if utf8.Valid(f.Content) {
			texts[i] = string(f.Content)
		}
		bare[i].Content, bare[i].Digest = nil, ""
	}
	return bare, texts
}

// written turns addresses into nested objects: "service.web.health" becomes {"service": {"web": {"health": {}}}}.
func written(places map[string]imx.Pos) map[string]any {
	root := map[string]any{}
	for address := range places {
		at := root
		for _, step := range imx.Way(address) {
			next, ok := at[step].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[step] = next
			}
			at = next
		}
	}
	return root
}

// locateIn returns a Locate for a template: the place of the thing itself, or of the nearest around it that
// was written.
func locateIn(t imx.Template) func([]string) (string, imx.Pos) {
	return func(way []string) (string, imx.Pos) {
		subject := ""
		if len(way) >= 2 {
			subject = imx.Address(way[:2]...)
		}
		for n := len(way); n > 0; n-- {
			if at, ok := t.Places[imx.Address(way[:n]...)]; ok {
				return subject, at
			}
		}
		return subject, blockAt(t, way)
	}
}

// blockAt finds a block in a template that came without places.
func blockAt(t imx.Template, way []string) imx.Pos {
	if len(way) < 2 {
		return imx.Pos{}
	}
	switch way[0] {
	case "archive":
		return atOf(t.Archives, way[1], func(a imx.Archive) (string, imx.Pos) { return a.Name, a.At })
	case "image":
		return atOf(t.Images, way[1], func(i imx.ImageSpec) (string, imx.Pos) { return i.Name, i.At })
	case "service":
		return atOf(t.Services, way[1], func(s imx.Spec) (string, imx.Pos) { return s.Name, s.At })
	}
	return imx.Pos{}
}

func atOf[T any](all []T, wanted string, of func(T) (string, imx.Pos)) imx.Pos {
	for _, one := range all {
		if name, at := of(one); name == wanted {
			return at
		}
	}
	return imx.Pos{}
}
