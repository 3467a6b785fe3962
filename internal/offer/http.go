package offer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"imx"
)

// Path is where offers are asked for, at the TCP address of a server's registry.
const Path = "/imx/v1/offers"

// How many offers are made, for all who ask together: each is signed, and what it names is read, which takes 3 ms for a plan of two images and 150 ms for
// one of a hundred.
const (
	perSecond = 2
	atOnce    = 10
)

// patience is for how long an offer is waited for.
const patience = 30 * time.Second

// Visitor is who asks at a server's address.
type Visitor struct {
	By   imx.Principal
	From string // the address that they came from
	// Known says that they came with a token, or are root.
	Known bool
	// May reports whether they may pull from a repository; nil means from all.
	May func(repository string) bool
}

// Desk joins a Maker to the address at which it is asked.
type Desk struct {
	Maker *Maker
	// Visit finds out who asks. Errors: Refused for who can't come in.
	Visit func(req *http.Request) (Visitor, error)
	Note  func(p imx.RegistryPull) // gets what was offered to whom, and who was turned away
}

// Handler answers those who ask for offers: with a bundle, or an imx.Error in JSON.
func (d Desk) Handler() http.Handler {
	known, strangers := rate.NewLimiter(perSecond, atOnce), rate.NewLimiter(perSecond, atOnce)
	limits := func(v Visitor) *rate.Limiter {
		if v.Known {
			return known
		}
		return strangers // who can't take the place of those who have a token
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		bundle, err := d.answer(req, limits)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if err != nil {
			w.WriteHeader(imx.KindOf(err).HTTPStatus())
			_ = json.NewEncoder(w).Encode(imx.AsError(err)) // the client is gone if it fails
			return
		}
		_, _ = w.Write(bundle) //nolint:gosec // JSON that was made here, sent as such; as above
	})
}

func (d Desk) answer(req *http.Request, limits func(v Visitor) *rate.Limiter) ([]byte, error) {
	if req.Method != http.MethodGet {
		return nil, imx.Errorf(imx.Invalid, "%s takes GET, not %.20s", Path, req.Method)
	}
	v, err := d.Visit(req)
	if err != nil {
		return nil, d.refused(v, err)
	}
	q := Query{Service: req.URL.Query().Get("service"), Asked: req.URL.Query().Get("asked"), May: v.May}
	if len(q.Service) > maxAsked {
		return nil, imx.Errorf(imx.Invalid, "%.40q... can't be a service's name", q.Service)
	}
	if !d.Maker.May(v.May) && v.May != nil {
		return nil, d.refused(v, errHidden(q.Service))
	}
	if !limits(v).Allow() {
		return nil, imx.Errorf(imx.Unavailable, "too many offers are asked for at once").WithHint("try again in a moment")
	}
	bundle, o, err := d.Maker.Offer(req.Context(), q)
	if imx.KindOf(err) == imx.Refused {
		return nil, d.refused(v, err)
	}
	if err != nil {
		return nil, err
	}
	for _, im := range o.Images {
		d.Note(imx.RegistryPull{By: v.By, From: v.From, Repository: im.Image.Name, Digest: im.Artifact})
	}
	return bundle, nil
}

// refused writes down whom nothing was told.
func (d Desk) refused(v Visitor, err error) error {
	d.Note(imx.RegistryPull{By: v.By, From: v.From, Refused: imx.AsError(err).Message})
	return err
}

// Ask asks a server for an offer, at the address of its registry, and returns the bundle: Verify says whether to believe it. The secret is a token of that
// registry, NAME:PASSWORD, or "".
// Errors: those that the other server answers with; Unavailable where it can't be reached; Refused for an answer that is none.
func Ask(ctx context.Context, address, secret, service, asked string) ([]byte, error) {
	if err := CheckAsked(asked); err != nil {
		return nil, err
	}
	query := url.Values{"asked": {asked}}
	if service != "" {
		query.Set("service", service)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(address, "/")+Path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, imx.Errorf(imx.Invalid, "%q is no address of a registry: %w", address, err)
	}
	if secret = strings.TrimSpace(secret); secret != "" {
		name, password, ok := strings.Cut(secret, ":")
		if !ok {
			name, password = "imx", secret
		}
		req.SetBasicAuth(name, password)
	}
	straight := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }} // the secret is for this host alone
	resp, err := straight.Do(req)
	if err != nil {
		return nil, imx.Errorf(imx.Unavailable, "the server at %s can't be asked: %w", address, withoutURL(err)).
			WithHint("is it running, and reachable from this machine? imx upstream list shows its address")
	}
	defer func() { _ = resp.Body.Close() }() // everything worth knowing was read
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxBundle+1))
	switch {
	case err != nil:
		return nil, imx.Errorf(imx.Unavailable, "the answer of the server at %s broke off: %w", address, err).WithHint("try again")
	case len(body) > MaxBundle:
		return nil, imx.Errorf(imx.Refused, "the server at %s answers with more than %d bytes", address, MaxBundle).
			WithHint("is it an imx server's registry? imx upstream list shows its address")
	case resp.StatusCode != http.StatusOK:
		return nil, answered(address, resp.Status, body)
	}
	return body, nil
}

// withoutURL is an error of a request without the URL, which has what was asked.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// answered is the error that a server answered with, as far as it is one.
func answered(address, status string, body []byte) error {
	const most = 4 << 10
	var e imx.Error
	if len(body) > most || json.Unmarshal(body, &e) != nil || e.Message == "" {
		return imx.Errorf(imx.Unavailable, "the server at %s answers with %.60s, and offers nothing", address, status).
			WithHint("is it an imx server's registry, of the same version as this one? imx upstream list shows its address")
	}
	switch e.Kind {
	case imx.Invalid, imx.NotFound, imx.Conflict, imx.Refused, imx.Unavailable, imx.Exhausted:
	case imx.Internal:
		e.Kind = imx.Unavailable // the defect is the other server's
	default:
		e.Kind = imx.Unavailable
	}
	return &imx.Error{Kind: e.Kind, Message: fmt.Sprintf("the server at %s says: %s", address, e.Message), Hint: e.Hint}
}
