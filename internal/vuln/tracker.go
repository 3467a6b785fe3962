package vuln

import (
	"io"
	"maps"
	"slices"
	"time"
)

// trackerEntry is what is used of one CVE of one source package in the JSON form of Debian's security tracker.
type trackerEntry struct {
	Releases map[string]struct {
		Status  string `json:"status"` // "resolved", "open" or "undetermined"
		Fixed   string `json:"fixed_version"`
		Urgency string `json:"urgency"`
	} `json:"releases"`
}

// ParseTracker reads the JSON form of Debian's security tracker: {source: {CVE: {releases: {codename: {status,
// fixed_version, urgency}}}}}. A fixed version "0" says that the release never had the vulnerability. An open one
// without a fix is an Advisory for every version; one that is undetermined is told to Skip.
func ParseTracker(r io.Reader, sink Sink) (Summary, error) {
	var sum Summary
	v := readValues(r)
	found := false
	err := v.object(func(source string) error {
		found = true
		return v.object(func(id string) error {
			var one trackerEntry
			if err := v.decode(&one); err != nil {
				return err
			}
			if one.Releases == nil {
				return refused("%s of %s has no releases", clip(id), clip(source))
			}
			return one.take(&sum, &sink, Advisory{ID: id, Package: source})
		})
	})
	if err != nil {
		return Summary{}, err
	}
	if err := v.end(); err != nil {
		return Summary{}, err
	}
	if !found {
		return Summary{}, refused("it has no package in it")
	}
	sum.Date = time.Time{} // it has no dates
	return sum, nil
}

func (e *trackerEntry) take(sum *Summary, sink *Sink, a Advisory) error {
	for _, codename := range slices.Sorted(maps.Keys(e.Releases)) {
		in, one := e.Releases[codename], a
		one.Ecosystem, one.Urgency, one.Level = Debian(codename), in.Urgency, urgencyLevel(in.Urgency)
		switch {
		case in.Status == "resolved" && in.Fixed == "0":
			continue
		case in.Status == "resolved" && in.Fixed != "":
			one.Ranges = []Range{{Fixed: in.Fixed}}
		case in.Status == "open":
			one.Ranges = []Range{{}}
		case in.Status == "undetermined":
			sink.Skip(a.ID+" "+a.Package, "whether "+clip(codename)+" is affected isn't known")
			continue
		default:
			return refused("%s of %s has the status %s in %s", clip(a.ID), clip(a.Package), clip(in.Status), clip(codename))
		}
		if err := sink.take(sum, one); err != nil {
			return err
		}
	}
	return nil
}
