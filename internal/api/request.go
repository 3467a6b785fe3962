package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"imx"
)

const ndjson = "application/x-ndjson"

// request is a request to one route, with its answer.
type request struct {
	*http.Request
	s *server
	w http.ResponseWriter
	// account is where the request is from, and by whose word it is.
	account string
	by      imx.Principal
	query   url.Values
	begun   bool // the answer's status has been sent
}

// endpoint serves one route.
func (s *server) endpoint(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		r := &request{Request: hr, s: s, w: w}
		err := r.open(hr.Context(), rt)
		if err == nil {
			err = rt.serve(s, r)
		}
		if err != nil && !r.begun {
			r.fail(err)
			return
		}
		if err != nil && hr.Context().Err() == nil {
			s.Log.LogAttrs(hr.Context(), slog.LevelWarn, "an answer couldn't be sent",
				slog.String("route", rt.method+" "+rt.path), slog.String("error", err.Error()))
		}
	})
}

// open finds who asks and reads the query. Errors: Refused, Invalid.
func (r *request) open(ctx context.Context, rt route) error {
	var err error
	if r.account, err = Caller(ctx); err != nil {
		return err
	}
	r.by = r.s.Who(r.account)
	if r.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return imx.Errorf(imx.Invalid, "the query can't be read: %w", err)
	}
	for name := range r.query {
		if !slices.ContainsFunc(rt.query, func(p parameter) bool { return p.name == name }) {
			return imx.Errorf(imx.Invalid, "%s %s has no query parameter %q", rt.method, rt.path, name)
		}
	}
	return nil
}

// read decodes the body, all of it, into v. Errors: Invalid.
func (r *request) read(v any) error {
	d := json.NewDecoder(http.MaxBytesReader(r.w, r.Body, MaxBody))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = errors.New("something follows its end")
		}
	}
	var big *http.MaxBytesError
	var own *imx.Error
	switch {
	case errors.As(err, &big):
		return tooBigError{imx.Errorf(imx.Invalid, "the request is larger than the %s that are allowed", imx.Size(big.Limit))}
	case errors.As(err, &own):
		return own
	}
	return imx.Errorf(imx.Invalid, "the request's body can't be read: %w", err).
		WithHint("docs/api.md tells what this route takes")
}

// tooBigError is the one error of kind Invalid with a status of its own.
type tooBigError struct{ error }

// Unwrap returns the error of kind Invalid.
func (e tooBigError) Unwrap() error { return e.error }

func (r *request) boolean(name string) (bool, error) {
	text := r.query.Get(name)
	switch text {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, imx.Errorf(imx.Invalid, "%s=%q is neither true nor false", name, text)
}

func (r *request) moment(name string) (time.Time, error) {
	text := r.query.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, imx.Errorf(imx.Invalid, "%s=%q is not a time", name, text).WithHint("write it as RFC 3339 does: 2006-01-02T15:04:05Z")
	}
	return at, nil
}

func (r *request) number(name string) (int64, error) {
	text := r.query.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, imx.Errorf(imx.Invalid, "%s=%q is not a whole number from 0 on", name, text)
	}
	return n, nil
}

// answer answers with what do returns.
func answer[T any](r *request, do func(ctx context.Context) (T, error)) error {
	v, err := do(r.Context())
	if err != nil {
		return err
	}
	return r.answer(v)
}

func (r *request) answer(v any) error {
	r.w.Header().Set("Content-Type", "application/json")
	r.begin()
	return json.NewEncoder(r.w).Encode(v)
}

// fail answers with an error.
func (r *request) fail(err error) {
	code := imx.KindOf(err).HTTPStatus()
	if _, big := errors.AsType[tooBigError](err); big {
		code = http.StatusRequestEntityTooLarge
	}
	r.begun = true
	writeError(r.w, code, imx.AsError(err))
}

// begin sends the status of an answer that isn't an error, once.
func (r *request) begin() {
	if !r.begun {
		r.begun = true
		r.w.WriteHeader(http.StatusOK)
	}
}

// flush sends what was written so far. That the client has gone, its context tells.
func (r *request) flush() { _ = http.NewResponseController(r.w).Flush() }

// breakOff ends an answer that can't be completed, so that the client sees that it isn't whole.
func (r *request) breakOff(err error) {
	if r.Context().Err() == nil {
		r.s.Log.LogAttrs(r.Context(), slog.LevelWarn, "an answer broke off",
			slog.String("path", r.URL.Path), slog.String("error", err.Error()))
	}
	panic(http.ErrAbortHandler)
}

// flushing sends each write at once.
type flushing struct{ r *request }

// Write implements io.Writer.
func (f flushing) Write(p []byte) (int, error) {
	n, err := f.r.w.Write(p)
	f.r.flush()
	return n, err
}

// writeError answers with an error. A failure to write leaves nobody to tell.
func writeError(w http.ResponseWriter, code int, e *imx.Error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(e)
}

func notThere(w http.ResponseWriter, r *http.Request) {
	writeError(w, http.StatusNotFound, imx.Errorf(imx.NotFound, "there is nothing at %s", r.URL.Path).
		WithHint("docs/api.md lists the paths of the API"))
}

func wrongMethod(known []string) http.Handler {
	slices.Sort(known)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", strings.Join(known, ", "))
		writeError(w, http.StatusMethodNotAllowed,
			imx.Errorf(imx.Invalid, "%s takes %s, not %s", r.URL.Path, strings.Join(known, " and "), r.Method))
	})
}

// dispatch gives the registry its requests as they are, and answers itself for paths such as
// /v1//log, which the mux would redirect in a form of its own.
func (s *server) dispatch(mux http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case s.Registry != nil && strings.HasPrefix(r.URL.Path, "/v2/"):
			s.Registry.ServeHTTP(w, r)
		case r.Method == http.MethodConnect || path.Clean(r.URL.Path) != r.URL.Path:
			notThere(w, r)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// recovering turns a panic into an error of kind Internal, or breaks the connection off where the
// answer has begun: an answer must not look whole when it isn't.
func (s *server) recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		watched := &watchedWriter{ResponseWriter: w}
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			s.panicked(r, fmt.Sprintf("%v\n%s", p, debug.Stack()))
			if watched.begun {
				panic(http.ErrAbortHandler)
			}
			writeError(w, http.StatusInternalServerError, defect())
		}()
		next.ServeHTTP(watched, r)
	})
}

// panicked notes a panic for whoever runs the server.
func (s *server) panicked(r *http.Request, p any) {
	s.Log.LogAttrs(r.Context(), slog.LevelError, "a request failed in an unforeseen way",
		slog.String("path", r.URL.Path), slog.Any("panic", p))
}

func defect() *imx.Error {
	return imx.Errorf(imx.Internal, "the server failed in an unforeseen way").
		WithHint("the server's own log tells more: please report it")
}

// watchedWriter knows whether an answer has begun.
type watchedWriter struct {
	http.ResponseWriter
	begun bool
}

// WriteHeader implements http.ResponseWriter.
func (w *watchedWriter) WriteHeader(code int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *watchedWriter) Write(p []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(p)
}

// Unwrap gives http.ResponseController the writer below.
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
