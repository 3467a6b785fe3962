package vuln

import (
	"encoding/json"
	"io"
	"time"
)

// ParseKEV reads the catalogue of known exploited vulnerabilities. Each entry is an Advisory with Exploited set and
// without a package. Errors: Refused, also where the catalogue has another number of entries than it says.
func ParseKEV(r io.Reader, sink Sink) (Summary, error) {
	var sum Summary
	v := readValues(r)
	said, found := int64(-1), int64(0)
	err := v.object(func(key string) error {
		switch key {
		case "count":
			return v.decode(&said)
		case "dateReleased":
			var released time.Time
			if err := v.decode(&released); err != nil {
				return refused("its dateReleased is no time: %w", err)
			}
			sum.saw(released)
			return nil
		case "vulnerabilities":
			return v.list(func() error {
				found++
				return takeKEV(v, &sum, &sink)
			})
		}
		var passed json.RawMessage
		return v.decode(&passed)
	})
	if err != nil {
		return Summary{}, err
	}
	if err := v.end(); err != nil {
		return Summary{}, err
	}
	if found == 0 || said >= 0 && said != found {
		return Summary{}, refused("it has %d entries and says that it has %d", found, max(said, 0)).WithHint("fetch it again")
	}
	return sum, nil
}

func takeKEV(v *values, sum *Summary, sink *Sink) error {
	var one struct {
		ID    string `json:"cveID"`
		Added string `json:"dateAdded"`
	}
	if err := v.decode(&one); err != nil {
		return err
	}
	added, err := time.Parse(time.DateOnly, one.Added)
	if err != nil || !IsCVE(one.ID) {
		return refused("it has an entry with the cveID %s, added %s", clip(one.ID), clip(one.Added))
	}
	return sink.take(sum, Advisory{ID: one.ID, Published: added, Exploited: added})
}
