// Package client speaks to an imx server over its unix socket, one method for each route of the
// public API. It keeps no state, tries nothing twice and prints nothing. It builds on every system
// that people have, so it hangs on the glossary and the standard library alone.
package client

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"imx"
)

// Client calls one server. Its methods may be called from several goroutines at once. Every error
// is an *imx.Error: the server's own, of the same kind, or one of kind Unavailable where no server
// answers or the answer breaks off, or Refused where the socket may not be opened.
type Client struct {
	socket string
	http   *http.Client
}

// New returns a client of the server that listens on the unix socket. It connects to nothing yet.
func New(socket string) *Client {
	c := &Client{socket: socket}
	c.http = &http.Client{Transport: &http.Transport{DialContext: c.dial, DisableCompression: true}}
	return c
}

// Version returns the server's version.
func (c *Client) Version(ctx context.Context) (imx.Version, error) {
	return read[imx.Version](ctx, c, "/v1/version", nil)
}

// Plan resolves a template. The report gets the progress, from this goroutine, before Plan returns.
func (c *Client) Plan(ctx context.Context, req imx.PlanRequest, report imx.Report) (imx.PlanResult, error) {
	return long[imx.PlanResult](ctx, c, call{http.MethodPost, "/v1/plan", req}, report)
}

// Build plans and builds the images, and makes no release.
func (c *Client) Build(ctx context.Context, req imx.PlanRequest, report imx.Report) (imx.ApplyResult, error) {
	return long[imx.ApplyResult](ctx, c, call{http.MethodPost, "/v1/build", req}, report)
}

// CheckRepro plans and builds the images, and builds each a second time to compare. Bytes that differ
// aren't an error: the ReproResult tells of them.
func (c *Client) CheckRepro(ctx context.Context, req imx.PlanRequest, report imx.Report) (imx.ReproResult, error) {
	return long[imx.ReproResult](ctx, c, call{http.MethodPost, "/v1/build/repro", req}, report)
}

// Test plans and builds the images, and tests them. A test that failed isn't an error: the TestReport tells of it.
func (c *Client) Test(ctx context.Context, req imx.TestRequest, report imx.Report) (imx.TestReport, error) {
	return long[imx.TestReport](ctx, c, call{http.MethodPost, "/v1/test", req}, report)
}

// Apply plans, builds, tests, and rolls the releases out. It returns when each rollout has ended; a release
// that failed is told by its State, not by an error.
func (c *Client) Apply(ctx context.Context, req imx.PlanRequest, report imx.Report) (imx.ApplyResult, error) {
	return long[imx.ApplyResult](ctx, c, call{http.MethodPost, "/v1/apply", req}, report)
}

// TakeOver releases what the environment before this one runs, and returns as Apply does; or only says what that would change.
func (c *Client) TakeOver(ctx context.Context, req imx.TakeoverRequest, report imx.Report) (imx.ApplyResult, error) {
	return long[imx.ApplyResult](ctx, c, call{http.MethodPost, "/v1/promote", req}, report)
}

// Freeze keeps every package that a lock names for good, and the lock.
func (c *Client) Freeze(ctx context.Context, req imx.FreezeRequest, report imx.Report) (imx.Frozen, error) {
	return long[imx.Frozen](ctx, c, call{http.MethodPost, "/v1/archives/freeze", req}, report)
}

// Collect removes what nothing needs any more.
func (c *Client) Collect(ctx context.Context, req imx.CollectRequest, report imx.Report) (imx.Collection, error) {
	return long[imx.Collection](ctx, c, call{http.MethodPost, "/v1/collect", req}, report)
}

// Archives returns the suites that the server saw an index of, and its frozen sets.
func (c *Client) Archives(ctx context.Context) (imx.Archives, error) {
	return read[imx.Archives](ctx, c, "/v1/archives", nil)
}

// Status returns the state at a moment, or now for the zero Time.
func (c *Client) Status(ctx context.Context, at time.Time) (imx.Status, error) {
	return read[imx.Status](ctx, c, "/v1/status", moment(at))
}

// moment asks about a moment of the past; about now for the zero Time.
func moment(at time.Time) url.Values {
	if at.IsZero() {
		return nil
	}
	return url.Values{"at": {at.Format(time.RFC3339Nano)}}
}

// Instances returns a service's instances, or all for "", sorted by ID; ended ones too, as long as
// the state keeps them. NotFound if there is no such service.
func (c *Client) Instances(ctx context.Context, service string) ([]imx.Instance, error) {
	query := url.Values{}
	if service != "" {
		query.Set("service", service)
	}
	return read[[]imx.Instance](ctx, c, "/v1/instances", query)
}

// Logs returns what an instance wrote, as text. A service's name stands for its newest instance.
// The caller closes the reader.
func (c *Client) Logs(ctx context.Context, instance string, o imx.LogOptions) (io.ReadCloser, error) {
	query := url.Values{
		"follow": {strconv.FormatBool(o.Follow)},
		"tail":   {strconv.Itoa(o.Tail)},
		"times":  {strconv.FormatBool(o.Times)},
	}
	lines, err := c.send(ctx, call{http.MethodGet, "/v1/instances/" + url.PathEscape(instance) + "/logs", nil}, query)
	if err != nil {
		return nil, err
	}
	return logReader{lines, c}, nil
}

// Why returns the chain from an instance back to what a person wrote.
func (c *Client) Why(ctx context.Context, instance string) (imx.Why, error) {
	return read[imx.Why](ctx, c, "/v1/instances/"+url.PathEscape(instance)+"/why", nil)
}

// Images returns the images that the server has, the newest first.
func (c *Client) Images(ctx context.Context) ([]imx.ImageView, error) {
	return read[[]imx.ImageView](ctx, c, "/v1/images", nil)
}

// Image returns all that is known of the image that a person means by a name, a digest or the
// beginning of one, NAME@DIGEST, NAME:TAG, or a service. NotFound and Invalid name near ones.
func (c *Client) Image(ctx context.Context, wanted string) (imx.ImageDetail, error) {
	return ofImage[imx.ImageDetail](ctx, c, wanted, nil)
}

// Evidence returns what was stated of an image, the newest statement of each type. Errors: as Image.
func (c *Client) Evidence(ctx context.Context, image string) ([]imx.Evidence, error) {
	return ofImage[[]imx.Evidence](ctx, c, image, nil, "evidence")
}

// Statement returns the newest statement of a type about an image; the type may be a short name, as
// imx.PredicateNames has it. Errors: as Image; Refused for one whose bytes were changed.
func (c *Client) Statement(ctx context.Context, image, predicate string) (imx.Statement, error) {
	if short := imx.PredicateNames()[predicate]; short != "" {
		predicate = short
	}
	return ofImage[imx.Statement](ctx, c, image, nil, "evidence", predicate)
}

// Bundle returns the signed form of what Statement returns: a sigstore bundle. Errors: as Statement; NotFound for one that
// nobody signed.
func (c *Client) Bundle(ctx context.Context, image, predicate string) (json.RawMessage, error) {
	if short := imx.PredicateNames()[predicate]; short != "" {
		predicate = short
	}
	return ofImage[json.RawMessage](ctx, c, image, nil, "evidence", predicate, "bundle")
}

// SBOM returns what an image is made of, as an SPDX or a CycloneDX document in JSON; the format is "spdx" or
// "cyclonedx". Errors: as Image; Refused for an image or a document that was changed.
func (c *Client) SBOM(ctx context.Context, image, format string) (json.RawMessage, error) {
	return ofImage[json.RawMessage](ctx, c, image, url.Values{"format": {format}}, "sbom")
}

// ofImage gets what the server has below an image.
func ofImage[T any](ctx context.Context, c *Client, image string, query url.Values, below ...string) (T, error) {
	var none T
	if !fs.ValidPath(image) || image == "." { // the server would look for another page than an image's
		return none, imx.Errorf(imx.NotFound, "there is no image or service %q", image).WithHint("imx image list shows the images")
	}
	path := []string{"/v1/images", url.PathEscape(image)}
	for _, part := range below {
		path = append(path, url.PathEscape(part))
	}
	return read[T](ctx, c, strings.Join(path, "/"), query)
}

// Services returns the services that aren't destroyed, sorted by name.
func (c *Client) Services(ctx context.Context) ([]imx.Service, error) {
	return read[[]imx.Service](ctx, c, "/v1/services", nil)
}

// Releases returns a service's kept releases, the oldest first.
func (c *Client) Releases(ctx context.Context, service string) ([]imx.Release, error) {
	return read[[]imx.Release](ctx, c, servicePath(service)+"/releases", nil)
}

// Rollback goes back to an earlier good release, the previous one for 0, and returns it once it
// has the traffic.
func (c *Client) Rollback(ctx context.Context, service string, to int, report imx.Report) (imx.Release, error) {
	return long[imx.Release](ctx, c, call{http.MethodPost, servicePath(service) + "/rollback", imx.RollbackRequest{To: to}}, report)
}

// Scale changes how many instances a service has, or gives the number back to its scale block.
func (c *Client) Scale(ctx context.Context, service string, req imx.ScaleRequest, report imx.Report) (imx.Service, error) {
	return long[imx.Service](ctx, c, call{http.MethodPost, servicePath(service) + "/scale", req}, report)
}

// Destroy takes services down together, and with volumes everything that they stored. Services that
// connect to each other are destroyed in one call. Naming none is an error of kind Invalid.
func (c *Client) Destroy(ctx context.Context, services []string, volumes bool, report imx.Report) error {
	query := url.Values{"service": services, "volumes": {strconv.FormatBool(volumes)}}
	_, err := long[struct{}](ctx, c, call{http.MethodDelete, "/v1/services?" + query.Encode(), nil}, report)
	return err
}

// Events returns the log's events from an index on, and with follow those to come until ctx ends.
// An error ends the sequence.
func (c *Client) Events(ctx context.Context, from int64, follow bool) iter.Seq2[imx.Event, error] {
	query := url.Values{"from": {strconv.FormatInt(from, 10)}, "follow": {strconv.FormatBool(follow)}}
	return func(yield func(imx.Event, error) bool) {
		lines, err := c.send(ctx, call{http.MethodGet, "/v1/log", nil}, query)
		if err != nil {
			yield(imx.Event{}, err)
			return
		}
		defer func() { _ = lines.Close() }() // everything worth knowing was read
		for event, err := range c.events(ctx, lines) {
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// VerifyLog has the server recompute its log from the records. A bad log isn't an error: the
// LogCheck tells of it.
func (c *Client) VerifyLog(ctx context.Context, earlier ...imx.Checkpoint) (imx.LogCheck, error) {
	return short[imx.LogCheck](ctx, c, call{http.MethodPost, "/v1/log/verify", imx.VerifyRequest{Earlier: earlier}}, nil)
}

func servicePath(service string) string { return "/v1/services/" + url.PathEscape(service) }
