package imx

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// Address names a part of a template by the way that leads there, in the template's own words:
// "service.web.port.http.publish", "image.web.packages.0", `service.web.file."/etc/web.conf".mode`.
func Address(way ...string) string {
	var b strings.Builder
	for i, step := range way {
		if i > 0 {
			b.WriteByte('.')
		}
		if strings.ContainsFunc(step, func(r rune) bool { return r != '-' && r != '_' && !isAlphanumeric(r) }) || step == "" {
			step = strconv.Quote(step)
		}
		b.WriteString(step)
	}
	return b.String()
}

// Way returns the steps of an Address.
func Way(address string) []string {
	var way []string
	for address != "" {
		step, rest, _ := strings.Cut(address, ".")
		if quoted, err := strconv.QuotedPrefix(address); err == nil {
			rest = strings.TrimPrefix(address[len(quoted):], ".")
			step, _ = strconv.Unquote(quoted) // a quoted prefix can be unquoted
		}
		way, address = append(way, step), rest
	}
	return way
}

// Abbreviated returns the id that a person means by it or by how it begins; what is what the ids are of. Errors: NotFound, with where to see
// them as its hint; Invalid where several begin so.
func Abbreviated(what, wanted, see string, ids iter.Seq[string]) (string, error) {
	var found []string
	for id := range ids {
		if id == wanted {
			return id, nil
		}
		if wanted != "" && strings.HasPrefix(id, wanted) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", Errorf(NotFound, "there is no %s %q", what, wanted).WithHint("%s", see)
	case 1:
		return found[0], nil
	}
	slices.Sort(found)
	return "", Errorf(Invalid, "%s begin with %q", strconv.Itoa(len(found))+" "+what+"s", wanted).WithHint("write more of it: %s", strings.Join(found[:min(len(found), 5)], ", "))
}

func isAlphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// Names are names of things of one kind, in the order in which they count. In JSON one name is a
// string and several are a list, so that what was written when there could be one only still reads.
type Names []string

// MarshalJSON implements json.Marshaler.
func (n Names) MarshalJSON() ([]byte, error) {
	if len(n) == 1 {
		return json.Marshal(n[0])
	}
	return json.Marshal(append([]string{}, n...))
}

// UnmarshalJSON implements json.Unmarshaler. An empty string is no name, as it always meant.
func (n *Names) UnmarshalJSON(b []byte) error {
	if !bytes.HasPrefix(bytes.TrimSpace(b), []byte(`"`)) {
		var list []string
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
		*n = list
		return nil
	}
	var one string
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*n = slices.DeleteFunc(Names{one}, func(s string) bool { return s == "" })
	return nil
}
