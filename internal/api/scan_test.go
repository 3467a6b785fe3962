package api_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/api"
	"imx/internal/client"
)

// scans asks for all that has to do with vulnerabilities.
func scans(ctx context.Context, t *testing.T, c *client.Client, m *memory, by imx.Principal) {
	t.Helper()
	date := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	long := strings.Repeat("a feed of any length\n", api.MaxBody/20) // more than other requests may send
	req := imx.FeedRequest{Name: "DSA-list", Format: imx.FormatDSA, Source: "a file & more", Date: date, Anyway: true}
	same(t, "feed", ok(c.AddFeed(ctx, req, strings.NewReader(long)))(t), imx.Feed{
		Name: "DSA-list", Format: imx.FormatDSA, Source: "a file & more", Date: date, Stale: true, Entries: int64(len(long)), Skips: []string{string(by)},
	})
	same(t, "feeds", ok(c.Feeds(ctx, time.Time{}))(t), ok(m.Feeds(time.Time{}))(t))
	same(t, "past feeds", ok(c.Feeds(ctx, date))(t), ok(m.Feeds(date))(t))
	same(t, "refreshed", ok(c.RefreshFeeds(ctx, imx.RefreshRequest{Name: "DSA-list"}, func(imx.Progress) {}))(t), append(ok(m.Feeds(time.Time{}))(t), imx.Feed{Source: string(by)}))
	if err := c.RemoveFeed(ctx, "DSA-list"); err != nil {
		t.Error(err)
	}
	if err := c.RemoveFeed(ctx, "DSA-list"); imx.KindOf(err) != imx.NotFound {
		t.Error(err)
	}
	scan := imx.ScanRequest{Subject: "web", ID: "CVE-2024-0001", At: date}
	same(t, "scan", ok(c.Scan(ctx, scan, func(imx.Progress) {}))(t), ok(m.Scan(ctx, by, scan, func(imx.Progress) {}))(t))
	why := imx.VEXRequest{IDs: []string{"CVE-2024-0001"}, Justification: "component_not_present"}
	same(t, "excuse", string(ok(c.Excuse(ctx, "team/web:v1", why))(t)), `["`+string(by)+`","team/web:v1","component_not_present"]`)
}
