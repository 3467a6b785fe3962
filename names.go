package imx

import (
	"bytes"
	"encoding/json"
	"slices"
)

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
