// Package api is imx's public HTTP interface: it turns requests into calls of the parts that do
// the work, and their answers and errors into HTTP. It decides nothing, stores nothing and listens
// nowhere. docs/api.md describes it, and is made from the same table of routes.
package api

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"time"

	"imx"
)

// MaxBody is the most that a request to /v1 may send, in bytes.
const MaxBody = 16 << 20

// Applier turns templates into plans, images and releases. Its errors become the answer's.
type Applier interface {
	Plan(ctx context.Context, by imx.Principal, req imx.PlanRequest, report imx.Report) (imx.PlanResult, error)
	Build(ctx context.Context, by imx.Principal, req imx.PlanRequest, report imx.Report) (imx.ApplyResult, error)
	// CheckRepro builds each image twice and compares.
	CheckRepro(ctx context.Context, by imx.Principal, req imx.PlanRequest, report imx.Report) (imx.ReproResult, error)
	// Test builds the images and tests them.
	Test(ctx context.Context, by imx.Principal, req imx.TestRequest, report imx.Report) (imx.TestReport, error)
	Apply(ctx context.Context, by imx.Principal, req imx.PlanRequest, report imx.Report) (imx.ApplyResult, error)
	// Release releases a candidate.
	Release(ctx context.Context, by imx.Principal, id string, report imx.Report) (imx.ApplyResult, error)
}

// Taker releases what the environment before this one runs.
type Taker interface {
	// Take releases it as it is, or only says what that would change.
	Take(ctx context.Context, by imx.Principal, req imx.TakeoverRequest, report imx.Report) (imx.ApplyResult, error)
}

// Operator changes what runs. Errors: NotFound for an unknown service or release, Conflict while
// something else holds it.
type Operator interface {
	// Rollback goes back to the release numbered to, or to the previous good one for 0.
	Rollback(ctx context.Context, by imx.Principal, service string, to int, report imx.Report) (imx.Release, error)
	// Scale sets the number of instances, or gives it back to the scale block: one of both is asked for.
	Scale(ctx context.Context, by imx.Principal, service string, req imx.ScaleRequest, report imx.Report) (imx.Service, error)
	// Destroy takes the services, of which there is at least one, down together, with volumes also
	// what they stored.
	Destroy(ctx context.Context, by imx.Principal, services []string, volumes bool, report imx.Report) error
}

// Viewer answers questions and changes nothing.
type Viewer interface {
	// Status is the state at a moment, or now for the zero Time.
	Status(ctx context.Context, at time.Time) (imx.Status, error)
	Why(ctx context.Context, instance string) (imx.Why, error)
	// Rollout is how a service's rollout stands now, with what is counted. Errors: NotFound.
	Rollout(ctx context.Context, service string) (imx.RolloutView, error)
	// History is what the log has of a service's rollouts, also of one that was destroyed. Errors: NotFound.
	History(ctx context.Context, service string) ([]imx.Event, error)
	// Events yields the log from an index on, and with follow goes on until ctx ends.
	Events(ctx context.Context, from int64, follow bool) iter.Seq2[imx.Event, error]
	CheckLog(ctx context.Context, earlier ...imx.Checkpoint) (imx.LogCheck, error)
	Version() imx.Version
}

// Freezer keeps packages for good.
type Freezer interface {
	// Freeze keeps every package that a lock names, and the lock.
	Freeze(ctx context.Context, by imx.Principal, req imx.FreezeRequest, report imx.Report) (imx.Frozen, error)
	// Archives lists the suites that were seen, and what is frozen.
	Archives(ctx context.Context) (imx.Archives, error)
}

// Images answers what is inside images.
type Images interface {
	// Images lists them, the newest first.
	Images(ctx context.Context) ([]imx.ImageView, error)
	// Image returns the one that a person means: see inventory.Find. NotFound and Invalid name near ones.
	Image(ctx context.Context, wanted string) (imx.ImageDetail, error)
}

// Collector removes what nothing needs any more.
type Collector interface {
	Collect(ctx context.Context, by imx.Principal, req imx.CollectRequest, report imx.Report) (imx.Collection, error)
}

// Evidence answers what was stated of images.
type Evidence interface {
	// Evidence lists the newest statement of each type about the image that a person means, sorted by type.
	Evidence(ctx context.Context, image string) ([]imx.Evidence, error)
	// Statement returns the newest of a type, which may be a short name. Errors: NotFound; Refused for a changed one.
	Statement(ctx context.Context, image, predicate string) (imx.Statement, error)
	// Bundle returns its signed form: a sigstore bundle. Errors: as Statement; NotFound for one that nobody signed.
	Bundle(ctx context.Context, image, predicate string) (json.RawMessage, error)
	// SBOM returns the document of a type, and makes it of an image that has none. Errors: Refused for an image, or a
	// document, that was changed.
	SBOM(ctx context.Context, by imx.Principal, image, predicateType string) (json.RawMessage, error)
}

// Trust keeps who may speak: imx's own keys, and people with theirs.
type Trust interface {
	Upstreams

	// Keys lists all keys, also those that ended: imx's own first.
	Keys(ctx context.Context) ([]imx.Key, error)
	// Rotate makes a new key of a role of imx's own. Errors: Invalid for a role without one.
	Rotate(ctx context.Context, by imx.Principal, req imx.RotateRequest) (imx.Key, error)
	// EndKey ends a key. Errors: NotFound; Invalid without a reason; Conflict for one that ended before.
	EndKey(ctx context.Context, by imx.Principal, req imx.KeyEndRequest) (imx.Key, error)
	// People lists who is known, sorted by name.
	People(ctx context.Context) ([]imx.KnownPerson, error)
	// SetPerson makes somebody known, or changes what is known of them. Errors: Invalid; Refused for a key of a kind that
	// doesn't count; Conflict for one that is somebody else's.
	SetPerson(ctx context.Context, by imx.Principal, req imx.PersonRequest) (imx.KnownPerson, error)
	// RemovePerson ends what somebody may do. Errors: NotFound.
	RemovePerson(ctx context.Context, by, name imx.Principal, reason string) error
}

// Logs gives what an instance wrote. The handler closes the reader.
type Logs interface {
	Logs(ctx context.Context, instance string, o imx.LogOptions) (io.ReadCloser, error)
}

// Scanner says which vulnerabilities images have, and keeps the feeds that it knows them from.
type Scanner interface {
	Scan(ctx context.Context, by imx.Principal, req imx.ScanRequest, report imx.Report) (imx.ScanResult, error)
	// Excuse states why vulnerabilities don't affect an image, and returns all that was stated of it.
	Excuse(ctx context.Context, by imx.Principal, image string, req imx.VEXRequest) (json.RawMessage, error)
	// Feeds are those of now, or of a moment of the past.
	Feeds(at time.Time) ([]imx.Feed, error)
	// AddFeed keeps a feed that is sent, of any length.
	AddFeed(ctx context.Context, by imx.Principal, req imx.FeedRequest, r io.Reader) (imx.Feed, error)
	// Refresh fetches feeds, and returns those that it brought.
	Refresh(ctx context.Context, by imx.Principal, req imx.RefreshRequest, report imx.Report) ([]imx.Feed, error)
	RemoveFeed(by imx.Principal, name string) error
}

// Judge says what may run, and keeps the policies and exceptions that decide it.
type Judge interface {
	Verify(ctx context.Context, q imx.VerifyQuery) (imx.Verification, error)
	Policy(environment string) (imx.PolicyView, error)
	SetPolicy(ctx context.Context, by imx.Principal, req imx.PolicyRequest) (imx.PolicyView, error)
	Exceptions() []imx.Exception
	Except(by imx.Principal, x imx.Exception) (imx.Exception, error)
	EndException(by imx.Principal, id, reason string) error
}

// Config joins the handler to the parts that do the work.
type Config struct {
	Applier   Applier
	Taker     Taker
	Operator  Operator
	Healer    Healer
	Rollouts  Rollouts
	Viewer    Viewer
	Images    Images
	Evidence  Evidence
	Judge     Judge
	Desk      Desk
	Sources   Sources
	Trust     Trust
	Logs      Logs
	Freezer   Freezer
	Collector Collector
	Scanner   Scanner
	Registrar Registrar
	Ingresses Ingresses
	Offers    Offers
	// Who is who acts when a local account asks; nil means the accounts themselves: nobody is known.
	Who      func(account string) imx.Principal
	Registry http.Handler // answers below /v2/; nil means that there is no registry
	Log      *slog.Logger // gets panics and answers that couldn't be sent; nil means nobody does
}

// New returns the handler for the server's unix socket. Its requests must carry who they come
// from: the http.Server needs ConnContext.
func New(cfg Config) http.Handler {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Who == nil {
		cfg.Who = imx.AccountPrincipal
	}
	s := &server{cfg}
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, r := range routes() {
		methods[r.path] = append(methods[r.path], r.method)
		mux.Handle(r.method+" "+r.path, s.endpoint(r))
	}
	for path, known := range methods {
		mux.Handle(path, wrongMethod(known))
	}
	mux.HandleFunc("/", notThere)
	return s.recovering(s.dispatch(mux))
}

type server struct{ Config }
