package control

import (
	"maps"
	"slices"

	"imx"
)

// KeepFeed writes down that a feed came. One whose content is what it was isn't written down again, though it was fetched
// again.
func (c *Control) KeepFeed(by imx.Principal, f imx.Feed) error {
	f.Skips, f.Stale = nil, false
	_, err := decide(c, by, func(s *imx.State) (struct{}, []imx.Body, error) {
		if known, ok := s.Feeds[f.Name]; ok && known.Digest == f.Digest && known.Format == f.Format && known.Source == f.Source && known.Once == f.Once {
			return struct{}{}, nil, nil
		}
		return struct{}{}, []imx.Body{imx.FeedKept{Feed: f}}, nil
	})
	return err
}

// RemoveFeed writes down that a feed was forgotten, if the log knows of it.
func (c *Control) RemoveFeed(by imx.Principal, name string) error {
	_, err := decide(c, by, func(s *imx.State) (struct{}, []imx.Body, error) {
		known, ok := s.Feeds[name]
		if !ok {
			return struct{}{}, nil, nil
		}
		return struct{}{}, []imx.Body{imx.FeedRemoved{Name: name, Digest: known.Digest}}, nil
	})
	return err
}

// Feeds returns the feeds that stood in a state, sorted by name.
func Feeds(s *imx.State) []imx.Feed {
	feeds := make([]imx.Feed, 0, len(s.Feeds))
	for _, name := range slices.Sorted(maps.Keys(s.Feeds)) {
		feeds = append(feeds, s.Feeds[name])
	}
	return feeds
}
