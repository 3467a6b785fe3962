package imx

import "time"

// Feed is what the world published of vulnerabilities, as the server keeps it.
type Feed struct {
	Name    string     `json:"name"`
	Format  FeedFormat `json:"format"`
	Source  string     `json:"source"`          // the file's name or the URL; "" of one that imx makes by itself
	Digest  Digest     `json:"digest"`          // of the bytes that were read
	Date    time.Time  `json:"date"`            // how new it is: its own date, or its newest entry's
	Added   time.Time  `json:"added"`           // when it came here
	Entries int64      `json:"entries"`         // advisories, exploited vulnerabilities or statements
	Skipped int64      `json:"skipped"`         // entries that couldn't be used
	Skips   []string   `json:"skips,omitempty"` // the first of them, each with why
	Stale   bool       `json:"stale,omitempty"` // it is so old that it says little about today
	Once    bool       `json:"once,omitempty"`  // it came from a URL, and is fetched again only when somebody says so
}

// What happens to feeds. Who reads the log knows which feeds stood at a moment.
type (
	// FeedKept says that a feed came, or came with other content than before.
	FeedKept struct {
		Feed Feed `json:"feed"` // without Skips and Stale
	}
	// FeedRemoved says that a feed was forgotten.
	FeedRemoved struct {
		Name   string `json:"name"`
		Digest Digest `json:"digest"`
	}
)

func (FeedKept) kind() string    { return "feed-kept" }
func (FeedRemoved) kind() string { return "feed-removed" }

// FeedFormat is how a feed is written.
type FeedFormat string

// The formats of feeds.
const (
	FormatDSA       FeedFormat = "dsa"       // Debian's lists of advisories
	FormatTracker   FeedFormat = "tracker"   // the JSON form of Debian's security tracker
	FormatOSV       FeedFormat = "osv"       // records of the OSV format
	FormatKEV       FeedFormat = "kev"       // the catalogue of known exploited vulnerabilities
	FormatOpenVEX   FeedFormat = "openvex"   // statements of what isn't affected
	FormatChangelog FeedFormat = "changelog" // the changelogs of newer packages; imx makes it by itself
)

// FeedRequest says what a feed that is sent is.
type FeedRequest struct {
	Name   string     `json:"name"`
	Format FeedFormat `json:"format,omitempty"` // "" is found out
	Source string     `json:"source"`
	Date   time.Time  `json:"date,omitzero"` // of the file, for formats without a date of their own
	// Anyway takes a feed that is older, or much smaller, than the one that it replaces.
	Anyway bool `json:"anyway,omitempty"`
	Once   bool `json:"once,omitempty"` // Feed.Once
}

// RefreshRequest asks for newer feeds.
type RefreshRequest struct {
	URL    string `json:"url,omitempty"`    // a feed to fetch for the first time
	Name   string `json:"name,omitempty"`   // of that feed, or the one feed to fetch again; "" means all
	Anyway bool   `json:"anyway,omitempty"` // as of FeedRequest
	Once   bool   `json:"once,omitempty"`   // Feed.Once, of a feed to fetch for the first time
}
