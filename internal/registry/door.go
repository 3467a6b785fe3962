package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"imx"
	"imx/internal/grant"
)

// Door is who may come in by one address of the registry, and what for.
type Door struct {
	Tokens    func() map[string]imx.RegistryToken // by id; the caller changes nothing in it
	Anonymous []imx.RegistryRight                 // what whoever shows no token may do
	// Known tells who a request comes from where that is known without a token, as on a unix socket: they may do all. Nil
	// means that it never is.
	Known func(ctx context.Context) (imx.Principal, bool)
	Audit *Audit // gets who pulled and pushed, and who was turned away; nil means that nobody wants to know
	Now   func() time.Time
}

// Visitor is who makes a request. The zero Visitor is the server itself.
type Visitor struct {
	By    imx.Principal
	Token string // the id of the token that they came in by; "" for none
	From  string // the address that they came from, without its port
	// May reports whether they have a right in a repository; nil means that they may do all, without limits.
	May func(right imx.RegistryRight, repository string) bool
}

// owner is whom the quotas count what the visitor brings to.
func (v Visitor) owner() imx.Principal {
	if v.Token == "" {
		return ""
	}
	return v.By
}

// whose names who brought what the quotas count to owner.
func (v Visitor) whose() string {
	if v.Token == "" {
		return "those without a token, and the server itself,"
	}
	return string(v.By)
}

func (v Visitor) limited() bool { return v.May != nil }

type visitorKey struct{}

func visitorOf(ctx context.Context) Visitor {
	v, _ := ctx.Value(visitorKey{}).(Visitor)
	return v
}

// Caller returns who a request came from, where it came by a Door.
func Caller(ctx context.Context) (imx.Principal, bool) {
	v := visitorOf(ctx)
	return v.By, v.By != ""
}

// tokenPath is where clients exchange a password for what they show from then on, as Docker's token specification has it. The
// two are the same here.
const tokenPath = "/v2/token"

// shown is what clients show that got theirs without a password.
const shown = string(grant.Anonymous)

// Behind serves what Handler does to those whom the door lets in.
func (r *Registry) Behind(d Door) http.Handler {
	inside, watch := r.Handler(), &witness{door: d, registry: r}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		v, err := d.visitor(req)
		if err == nil && req.URL.Path == tokenPath {
			err = d.giveToken(w, req, v)
			if err == nil {
				return
			}
		}
		if err == nil {
			err = d.allow(req, v)
		}
		if err != nil {
			d.turnAway(w, req, v, err)
			return
		}
		req = req.WithContext(context.WithValue(req.Context(), visitorKey{}, v))
		seen := &answered{ResponseWriter: w}
		defer watch.note(req, v, seen) // also where it breaks off
		inside.ServeHTTP(seen, req)
	})
}

// Visit finds out who asks, for what is at the same address beside the distribution API and sees itself to what they may. Errors: Refused.
func (d Door) Visit(req *http.Request) (Visitor, error) {
	v, err := d.visitor(req)
	v.From = from(req)
	return v, err
}

// visitor finds out who asks. Errors: as grant.Find.
func (d Door) visitor(req *http.Request) (Visitor, error) {
	if d.Known != nil {
		if by, known := d.Known(req.Context()); known {
			return Visitor{By: by}, nil
		}
	}
	secret := secretOf(req)
	if secret == "" {
		return Visitor{By: grant.Anonymous, From: from(req), May: d.anonymous}, nil
	}
	t, err := grant.Find(d.Tokens(), secret, d.Now())
	v := Visitor{By: t.Owner, Token: t.ID, From: from(req), May: func(right imx.RegistryRight, repository string) bool {
		return grant.Allows(t, right, repository) || d.anonymous(right, repository)
	}}
	if err != nil {
		return v, faultf(codeUnauthorized, "%w", err).withHint(imx.AsError(err).Hint)
	}
	return v, nil
}

// anonymous is what everybody may. Frozen sets are pushed by those whose token names them.
func (d Door) anonymous(right imx.RegistryRight, repository string) bool {
	return slices.Contains(d.Anonymous, right) && (right == imx.Pull || !strings.HasPrefix(repository, imx.FrozenPrefix))
}

// secretOf returns what a request shows: a token as the password of any user, or as a bearer's.
func secretOf(req *http.Request) string {
	if _, password, ok := req.BasicAuth(); ok {
		return password
	}
	scheme, bearer, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if bearer = strings.TrimSpace(bearer); strings.EqualFold(scheme, "Bearer") && bearer != shown {
		return bearer
	}
	return ""
}

// wanted is the right that a request needs, and where: in no repository for what is about none. It takes a path apart as
// ociserver does, from its end: what it finds a repository in that one doesn't must be nothing that ociserver answers.
func wanted(req *http.Request) (imx.RegistryRight, string) {
	rest, ok := strings.CutPrefix(req.URL.Path, "/v2/")
	if !ok {
		return imx.Pull, ""
	}
	for _, end := range []string{"/blobs/uploads/", "/blobs/uploads"} {
		if repo, ok := strings.CutSuffix(rest, end); ok {
			return imx.Push, repo
		}
	}
	right := imx.Push
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		right = imx.Pull
	}
	rest, _, _ = cutLast(rest, "/")
	repo, sort, _ := cutLast(rest, "/")
	switch sort {
	case "blobs", "manifests", "tags", "referrers":
		return right, repo
	case "uploads":
		return imx.Push, strings.TrimSuffix(repo, "/blobs")
	}
	return right, ""
}

// allow refuses what the visitor may not do.
func (d Door) allow(req *http.Request, v Visitor) error {
	right, repo := wanted(req)
	switch {
	case v.May == nil:
		return nil
	case repo == "" && v.Token != "":
		return nil
	case repo == "" && len(d.Anonymous) > 0 && (right == imx.Pull && len(d.Tokens()) == 0 || !pings(req)):
		return nil // no token could do more: nobody is asked for one
	case repo != "" && v.May(right, repo):
		return nil
	case v.Token != "":
		return faultf(codeDenied, "the token of %s may not %s in repository %.80q", v.By, right, repo).
			withHint("imx registry token list shows what it may; imx registry token create makes another")
	case len(d.Tokens()) == 0 && len(d.Anonymous) > 0:
		return faultf(codeReadOnly, "this address of the registry gives images out and takes none").
			withHint("imx registry token create makes a token to push with; or start the server with --push to let whoever reaches the registry's address push")
	case repo == "":
		return faultf(codeUnauthorized, "this address of the registry wants to know who you are").withHint("imx registry token create makes a token, to log in with as the password")
	}
	return faultf(codeUnauthorized, "to %s in repository %.80q a token is needed here", right, repo).
		withHint("imx registry token create makes one, to log in with as the password")
}

// pings reports whether a client asks how to log in.
func pings(req *http.Request) bool {
	return req.Header.Get("Authorization") == "" && (req.URL.Path == "/v2/" || req.URL.Path == "/v2")
}

// turnAway answers who may not come in, and tells them how they could.
func (d Door) turnAway(w http.ResponseWriter, req *http.Request, v Visitor, err error) {
	if f, ok := err.(*fault); ok && f.code == codeUnauthorized { //nolint:errorlint // they are made here
		w.Header().Set("WWW-Authenticate", challenge(req))
	}
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	if d.Audit != nil && !pings(req) {
		_, repo := wanted(req)
		if checkRepository(repo) != nil {
			repo = "" // no repository's name, and of any length
		}
		d.Audit.Note(imx.RegistryPull{By: v.By, From: from(req), Repository: repo, Refused: imx.AsError(err).Message})
	}
	writeError(w, req, err)
}

// challenge is the answer's part that tells a client where to get what it shows from then on. Clients that know
// Basic alone may send that without being told.
func challenge(req *http.Request) string {
	scheme := "http"
	if req.TLS != nil || req.Header.Get("X-Forwarded-Proto") == "https" { // whoever lies about it misleads themselves
		scheme = "https"
	}
	text := fmt.Sprintf("Bearer realm=%q,service=%q", scheme+"://"+req.Host+tokenPath, "imx")
	if right, repo := wanted(req); repo != "" {
		scope := "pull"
		if right == imx.Push {
			scope = "pull,push"
		}
		text += ",scope=" + strconv.Quote("repository:"+repo+":"+scope)
	}
	return text
}

// giveToken answers a client that logs in. What it was given a password for may be nothing: it learns that when it tries.
func (d Door) giveToken(w http.ResponseWriter, req *http.Request, v Visitor) error {
	if req.Method != http.MethodGet {
		return faultf(codeReadOnly, "tokens are asked for by GET here")
	}
	if v.Token == "" && len(d.Anonymous) == 0 {
		return faultf(codeUnauthorized, "this address of the registry wants to know who you are").withHint("imx registry token create makes a token, to log in with as the password")
	}
	secret := secretOf(req)
	if secret == "" {
		secret = shown
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client is gone if it fails
		"token": secret, "access_token": secret, "expires_in": 3600, "issued_at": d.Now().UTC().Format(time.RFC3339),
	})
	return nil
}

// answered is an answer that tells its status.
type answered struct {
	http.ResponseWriter

	status int
}

// WriteHeader implements http.ResponseWriter.
func (a *answered) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// from is the address of the other end, without its port, or "socket".
func from(req *http.Request) string {
	if host, _, err := net.SplitHostPort(req.RemoteAddr); err == nil {
		return host
	}
	return "socket"
}
