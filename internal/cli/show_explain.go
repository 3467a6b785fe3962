package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"imx"
	"imx/internal/term"
)

// lookedAt are the values of a condition's rules, a line each, but for those that are shown anyway. Those whose name ends in _ns are
// nanoseconds, and told as a length of time, or a moment.
func lookedAt(raw json.RawMessage) []string {
	var values map[string]json.RawMessage
	if json.Unmarshal(raw, &values) != nil {
		return nil // a condition that failed looked at nothing
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if slices.Contains([]string{"met", "says", "hint", "evidence", "until", "warns"}, name) {
			continue
		}
		says := wholeElements(values[name])
		if short, ok := strings.CutSuffix(name, "_ns"); ok {
			name, says = short, inTime(values[name])
		}
		lines = append(lines, term.Clean(name+": "+says))
	}
	return lines
}

// inTime tells nanoseconds: those since 1970 as a moment, fewer as a length of time.
func inTime(raw json.RawMessage) string {
	const year = 365 * 24 * time.Hour
	ns, err := strconv.ParseFloat(string(raw), 64)
	switch {
	case err != nil:
		return wholeElements(raw)
	case time.Duration(ns) > 20*year:
		return term.Stamp(time.Unix(0, int64(ns)).UTC())
	}
	return imx.Duration(time.Duration(ns).Truncate(time.Second)).String()
}

// wholeElements is a value as JSON, of which a long list or object has as many elements as fit a few lines, and how many more there are.
func wholeElements(raw json.RawMessage) string {
	const most = 300
	if len(raw) <= most {
		return string(raw)
	}
	var parts []string
	var list []json.RawMessage
	var object map[string]json.RawMessage
	ends := "[]"
	switch {
	case json.Unmarshal(raw, &list) == nil:
		for _, one := range list {
			parts = append(parts, string(one))
		}
	case json.Unmarshal(raw, &object) == nil:
		ends = "{}"
		for _, name := range slices.Sorted(maps.Keys(object)) {
			parts = append(parts, strconv.Quote(name)+":"+string(object[name]))
		}
	default:
		return string(raw) // a text
	}
	size, shown := 0, 0
	for shown < len(parts) && size+len(parts[shown]) <= most {
		size += len(parts[shown])
		shown++
	}
	says := ends[:1] + strings.Join(parts[:shown], ",") + ends[1:]
	return fmt.Sprintf("%s and %d more (--json shows all)", says, len(parts)-shown)
}
