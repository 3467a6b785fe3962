package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// route is one thing that can be asked for. The table of routes is all that dispatch and the
// documentation are made from.
type route struct {
	method, path string
	query        []parameter
	body         string // type of the request's body; "" means none
	answer       string // type of the answer
	form         form
	says         string
	serve        func(s *server, r *request) error
}

// parameter is one key of the query. Keys that a route doesn't name are refused.
type parameter struct{ name, says string }

// form is how an answer is written.
type form string

const (
	formJSON    form = "JSON"
	formUpdates form = "Updates" // lines of imx.Update
	formEvents  form = "Events"  // lines of imx.Event
	formText    form = "text"
)

func routes() []route {
	return slices.Concat(planRoutes(), archiveRoutes(), readRoutes(), imageRoutes(), scanRoutes(), registryRoutes(), trustRoutes(), upstreamRoutes(), verdictRoutes(), reviewRoutes(), serviceRoutes(), rolloutRoutes(), healRoutes(), ingressRoutes())
}

func planRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/v1/version", answer: "Version", form: formJSON, serve: version,
			says: "The server's version.",
		},
		{
			method: http.MethodPost, path: "/v1/plan", body: "PlanRequest", answer: "PlanResult", form: formUpdates, serve: plan,
			says: "Resolves a template to a plan and tells what applying it would change. Changes nothing.",
		},
		{
			method: http.MethodPost, path: "/v1/build", body: "PlanRequest", answer: "ApplyResult", form: formUpdates, serve: build,
			says: "Plans and builds the images, and makes no release.",
		},
		{
			method: http.MethodPost, path: "/v1/build/repro", body: "PlanRequest", answer: "ReproResult", form: formUpdates, serve: checkRepro,
			says: "Plans and builds the images, then builds each a second time from nothing but its packages, and compares. " +
				"Bytes that differ are told by the result, not by the status.",
		},
		{
			method: http.MethodPost, path: "/v1/test", body: "TestRequest", answer: "TestReport", form: formUpdates, serve: test,
			says: "Plans and builds the images, and tests them: the template's tests, and what no instance may be able to do. " +
				"A test that fails is told by the result, not by the status.",
		},
		{
			method: http.MethodPost, path: "/v1/apply", body: "PlanRequest", answer: "ApplyResult", form: formUpdates, serve: apply,
			says: "Plans, builds, tests, and rolls the releases out. Each release of the result tells whether it became good or failed.",
		},
		{
			method: http.MethodPost, path: "/v1/promote", body: "TakeoverRequest", answer: "ApplyResult", form: formUpdates, serve: takeOver,
			says: "Releases what the environment before this one runs, the same images by digest: asks its server for a signed offer, brings what that names, " +
				"and builds nothing. Or only tells what it would change.",
		},
	}
}

func archiveRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/v1/archives", answer: "Archives", form: formJSON, serve: archives,
			says: "The suites that the server saw an index of, and the frozen sets that it has. A set's bytes are in the registry: " +
				"repository `frozen/` and its name, under its tag.",
		},
		{
			method: http.MethodPost, path: "/v1/archives/freeze", body: "FreezeRequest", answer: "Frozen", form: formUpdates, serve: freeze,
			says: "Keeps every package that the lock names, and the lock, fetching what is missing. Nothing deletes them from then on, " +
				"and a build with the lock needs no archive. A set that was copied elsewhere is brought in by pushing it to the registry.",
		},
		{
			method: http.MethodPost, path: "/v1/collect", body: "CollectRequest", answer: "Collection", form: formUpdates, serve: collect,
			says: "Removes what no release, instance, tag or newest image needs any more, or tells what that would be.",
		},
	}
}

func readRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/v1/status", answer: "Status", form: formJSON, serve: status,
			query: []parameter{{"at", "a moment of the past, as RFC 3339; now if it isn't given"}},
			says:  "The whole state, now or at a moment of the past.",
		},
		{
			method: http.MethodGet, path: "/v1/instances", answer: "list of Instance", form: formJSON, serve: instances,
			query: []parameter{{"service", "only this service's"}},
			says:  "The instances, sorted by id; ended ones too, as long as the state keeps them.",
		},
		{
			method: http.MethodGet, path: "/v1/instances/{instance}/logs", answer: "the instance's lines", form: formText, serve: logs,
			query: []parameter{
				{"follow", "`true` goes on with new lines until the instance has ended"},
				{"tail", "only the last so many of the lines already written; 0 means all"},
				{"times", "`true` begins each line with its time and stream"},
			},
			says: "What an instance wrote. A service's name stands for its newest instance.",
		},
		{
			method: http.MethodGet, path: "/v1/instances/{instance}/why", answer: "Why", form: formJSON, serve: why,
			says: "The chain of digests from an instance back to the template's commit.",
		},
		{
			method: http.MethodGet, path: "/v1/log", answer: "Event", form: formEvents, serve: events,
			query: []parameter{
				{"from", "index of the first event; 0 if it isn't given"},
				{"follow", "`true` goes on with new events until the client leaves"},
			},
			says: "The log's events in order.",
		},
		{
			method: http.MethodPost, path: "/v1/log/verify", body: "VerifyRequest", answer: "LogCheck", form: formJSON, serve: verify,
			says: "Recomputes the log from its records, and compares it with checkpoints that were kept elsewhere. " +
				"A bad log is told by the result, not by the status.",
		},
	}
}

func imageRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/v1/images", answer: "list of ImageView", form: formJSON, serve: images,
			says: "The images that were built, and those that were pushed from outside, the newest first.",
		},
		{
			method: http.MethodGet, path: "/v1/images/{image}", answer: "ImageDetail", form: formJSON, serve: image,
			says: "All that is in an image: its configuration, layers and inventory. " +
				"`{image}` is what `imx image` takes, escaped as one part of a path: an image's name, a digest or its beginning, " +
				"NAME@DIGEST, NAME:TAG, a service's name, or `image.NAME` and `service.NAME` where both have one.",
		},
		{
			method: http.MethodGet, path: "/v1/images/{image}/evidence", answer: "list of Evidence", form: formJSON, serve: evidenceOf,
			says: "What was stated of an image, the newest statement of each type. `{image}` as above.",
		},
		{
			method: http.MethodGet, path: "/v1/images/{image}/sbom", answer: "the document", form: formJSON, serve: sbom,
			query: []parameter{{"format", "`spdx` (2.3, the default) or `cyclonedx` (1.6)"}},
			says: "What an image is made of. The image's bytes are read and compared with its inventory first. Of an image that has no " +
				"such document yet, as one that was pushed, it is made and kept as evidence.",
		},
		{
			method: http.MethodGet, path: "/v1/images/{image}/evidence/{type}", answer: "Statement", form: formJSON, serve: statement,
			says: "The newest statement of a type about an image: an in-toto Statement v1, after checking its signature, and that its key " +
				"counted. `{type}` is `provenance`, `spdx`, `cyclonedx`, `scan`, `test`, `vex` or `check`.",
		},
		{
			method: http.MethodGet, path: "/v1/images/{image}/evidence/{type}/bundle", answer: "the bundle", form: formJSON, serve: bundle,
			says: "The signed form of that statement: a sigstore bundle v0.3, byte for byte.",
		},
	}
}

func serviceRoutes() []route {
	volumes := parameter{"volumes", "`true` destroys what the volumes hold, too"}
	return []route{
		{
			method: http.MethodGet, path: "/v1/services", answer: "list of Service", form: formJSON, serve: services,
			says: "The services that aren't destroyed, sorted by name.",
		},
		{
			method: http.MethodDelete, path: "/v1/services", answer: "{}", form: formUpdates, serve: destroy,
			query: []parameter{{"service", "a service's name; given once for each"}, volumes},
			says:  "Takes several services down together, as those must be that connect to each other.",
		},
		{
			method: http.MethodDelete, path: "/v1/services/{service}", answer: "{}", form: formUpdates, serve: destroyOne,
			query: []parameter{volumes},
			says:  "Takes a service down.",
		},
		{
			method: http.MethodGet, path: "/v1/services/{service}/releases", answer: "list of Release", form: formJSON, serve: releases,
			says: "A service's kept releases, the oldest first.",
		},
		{
			method: http.MethodPost, path: "/v1/services/{service}/rollback", body: "RollbackRequest", answer: "Release",
			form: formUpdates, serve: rollback,
			says: "Goes back to the good release numbered `to`, or to the previous good one.",
		},
		{
			method: http.MethodPost, path: "/v1/services/{service}/scale", body: "ScaleRequest", answer: "Service",
			form: formUpdates, serve: scale,
			says: "Changes how many instances a service has.",
		},
	}
}

// Reference returns docs/api.md's part that the table of routes decides.
func Reference() string {
	var b strings.Builder
	for _, r := range routes() {
		fmt.Fprintf(&b, "### %s %s\n\n%s\n\n", r.method, r.path, r.says)
		for _, q := range r.query {
			fmt.Fprintf(&b, "- query `%s`: %s\n", q.name, q.says)
		}
		if r.body != "" {
			fmt.Fprintf(&b, "- body: `%s`\n", r.body)
		}
		fmt.Fprintf(&b, "- answer: %s\n\n", r.form.describe(r.answer))
	}
	return b.String()
}

func (f form) describe(answer string) string {
	switch f {
	case formUpdates:
		return fmt.Sprintf("lines of `Update`, the last one with the result, `%s`, or an `Error`", answer)
	case formEvents:
		return fmt.Sprintf("lines of `%s`; where reading fails, a last line `{\"error\": ...}`", answer)
	case formText:
		return answer + ", as plain text"
	case formJSON:
	}
	return "`" + answer + "`"
}
