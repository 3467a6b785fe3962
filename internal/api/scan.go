package api

import (
	"context"
	"encoding/json"
	"net/http"

	"imx"
)

func scanRoutes() []route {
	return []route{
		{
			method: http.MethodPost, path: "/v1/scan", body: "ScanRequest", answer: "ScanResult", form: formUpdates, serve: scan,
			says: "Which vulnerabilities images have, by the feeds that the server keeps: of one image, service or instance, of all that run, " +
				"or of all that there are; now, or of what was there at a moment of the past.",
		},
		{
			method: http.MethodPost, path: "/v1/images/{image}/vex", body: "VEXRequest", answer: "an OpenVEX document", form: formJSON, serve: excuse,
			says: "States that vulnerabilities don't affect an image, as evidence about it, and answers with all that was stated of it. " +
				"Naming no vulnerability states nothing.",
		},
		{
			method: http.MethodGet, path: "/v1/feeds", answer: "list of Feed", form: formJSON, serve: feeds,
			query: []parameter{{"at", "a moment of the past, as RFC 3339; now if it isn't given"}},
			says:  "The feeds of vulnerabilities that the server keeps, sorted by name; of a moment of the past, those that it had by its log.",
		},
		{
			method: http.MethodPut, path: "/v1/feeds/{feed}", body: "the feed's bytes", answer: "Feed", form: formJSON, serve: addFeed,
			query: []parameter{
				{"format", "`dsa`, `tracker`, `osv`, `kev` or `openvex`; found out if it isn't given"},
				{"source", "what is told of where it comes from: a file's name"},
				{"date", "how new the file is, as RFC 3339, for formats without a date of their own"},
				{"anyway", "`true` takes a feed that is older or much smaller than the one that it replaces"},
			},
			says: "Keeps a feed in place of the one by its name: whole, or not at all. It may be compressed with gzip, or a zip of JSON files.",
		},
		{
			method: http.MethodPost, path: "/v1/feeds", body: "RefreshRequest", answer: "list of Feed", form: formUpdates, serve: refreshFeeds,
			says: "Fetches feeds that came from a URL, or one from a new URL, and looks at the changelogs of packages that are newer than the images'. " +
				"What can't be had stays as it was.",
		},
		{
			method: http.MethodDelete, path: "/v1/feeds/{feed}", answer: "{}", form: formJSON, serve: removeFeed,
			says: "Forgets a feed.",
		},
	}
}

func scan(s *server, r *request) error {
	var req imx.ScanRequest
	if err := r.read(&req); err != nil {
		return err
	}
	return stream(r, func(ctx context.Context, report imx.Report) (imx.ScanResult, error) {
		return s.Scanner.Scan(ctx, r.by, req, report)
	})
}

func excuse(s *server, r *request) error {
	var req imx.VEXRequest
	if err := r.read(&req); err != nil {
		return err
	}
	return answer(r, func(ctx context.Context) (json.RawMessage, error) {
		return s.Scanner.Excuse(ctx, r.by, r.PathValue("image"), req)
	})
}

func feeds(s *server, r *request) error {
	at, err := r.moment("at")
	if err != nil {
		return err
	}
	return answer(r, func(context.Context) ([]imx.Feed, error) { return s.Scanner.Feeds(at) })
}

func addFeed(s *server, r *request) error {
	anyway, err := r.boolean("anyway")
	if err != nil {
		return err
	}
	req := imx.FeedRequest{
		Name: r.PathValue("feed"), Format: imx.FeedFormat(r.query.Get("format")), Source: r.query.Get("source"), Anyway: anyway,
	}
	if req.Date, err = r.moment("date"); err != nil {
		return err
	}
	return answer(r, func(ctx context.Context) (imx.Feed, error) { return s.Scanner.AddFeed(ctx, r.by, req, r.Body) })
}

func refreshFeeds(s *server, r *request) error {
	var req imx.RefreshRequest
	if err := r.read(&req); err != nil {
		return err
	}
	return stream(r, func(ctx context.Context, report imx.Report) ([]imx.Feed, error) {
		return s.Scanner.Refresh(ctx, r.by, req, report)
	})
}

func removeFeed(s *server, r *request) error {
	return answer(r, func(context.Context) (struct{}, error) {
		return struct{}{}, s.Scanner.RemoveFeed(r.by, r.PathValue("feed"))
	})
}
