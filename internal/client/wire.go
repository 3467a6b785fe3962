package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"

	"imx"
)

// maxError bounds how much of an answer that isn't an error of imx's is read and shown.
const maxError = 4 << 10

// call is a request before it is one. A nil body sends none, a reader's is sent as it is.
type call struct {
	method, path string
	body         any
}

// read gets one value.
func read[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	return short[T](ctx, c, call{http.MethodGet, path, nil}, query)
}

// short makes a request that answers with one value.
func short[T any](ctx context.Context, c *Client, req call, query url.Values) (T, error) {
	var v T
	body, err := c.send(ctx, req, query)
	if err != nil {
		return v, err
	}
	defer func() { _ = body.Close() }() // everything worth knowing was read
	if err := json.NewDecoder(body).Decode(&v); err != nil {
		return v, c.broken(ctx, err)
	}
	return v, nil
}

// long makes a request that answers with imx.Update lines.
func long[T any](ctx context.Context, c *Client, req call, report imx.Report) (T, error) {
	var zero T
	body, err := c.send(ctx, req, nil)
	if err != nil {
		return zero, err
	}
	defer func() { _ = body.Close() }() // everything worth knowing was read
	lines := json.NewDecoder(body)
	for {
		var line imx.Update[T]
		if err := lines.Decode(&line); err != nil {
			return zero, c.broken(ctx, err)
		}
		switch {
		case line.Error != nil:
			return zero, line.Error
		case line.Result != nil:
			return *line.Result, nil
		case line.Progress != nil:
			report(*line.Progress)
		}
	}
}

// events reads the lines of /v1/log: events, and at most one error as the last.
func (c *Client) events(ctx context.Context, body io.Reader) iter.Seq2[imx.Event, error] {
	return func(yield func(imx.Event, error) bool) {
		lines := json.NewDecoder(body)
		for {
			var raw json.RawMessage
			err := lines.Decode(&raw)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(imx.Event{}, c.broken(ctx, err))
				return
			}
			event, err := eventLine(raw)
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// eventLine reads one line of /v1/log. The only key that an event can't have is "error".
func eventLine(raw []byte) (imx.Event, error) {
	var failed struct {
		Error *imx.Error `json:"error"`
	}
	if err := json.Unmarshal(raw, &failed); err == nil && failed.Error != nil {
		return imx.Event{}, failed.Error
	}
	var event imx.Event
	if err := json.Unmarshal(raw, &event); err != nil {
		return imx.Event{}, imx.AsError(err)
	}
	return event, nil
}

// send makes the request and returns the answer's body if it isn't an error. The caller closes it.
func (c *Client) send(ctx context.Context, req call, query url.Values) (io.ReadCloser, error) {
	r, err := newRequest(ctx, req, query)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode < http.StatusBadRequest {
		return resp.Body, nil
	}
	defer func() { _ = resp.Body.Close() }() // everything worth knowing was read
	return nil, c.answered(resp)
}

// newRequest makes a request for the socket's server; the host in its URL is only a name.
func newRequest(ctx context.Context, req call, query url.Values) (*http.Request, error) {
	body, raw := req.body.(io.Reader)
	if req.body != nil && !raw {
		b, err := json.Marshal(req.body)
		if err != nil {
			return nil, imx.Errorf(imx.Internal, "a request can't be written as JSON: %w", err)
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, req.method, "http://imx"+req.path, body)
	if err != nil {
		return nil, imx.Errorf(imx.Internal, "a request can't be made: %w", err)
	}
	if len(query) > 0 {
		r.URL.RawQuery = query.Encode()
	}
	switch {
	case raw:
		r.Header.Set("Content-Type", "application/octet-stream")
	case body != nil:
		r.Header.Set("Content-Type", "application/json")
	}
	return r, nil
}

// answered returns the error that an answer holds.
func (c *Client) answered(resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var e imx.Error
	if err == nil && json.Unmarshal(text, &e) == nil && e.Kind != "" {
		return &e
	}
	return imx.Errorf(imx.Internal, "%s answered %s in a form that this imx doesn't know: %q",
		c.socket, resp.Status, text[:min(len(text), maxError)]).
		WithHint("check that the client and the server are of the same version: imx version")
}

// broken returns the error for an answer that ended or went wrong in its middle.
func (c *Client) broken(ctx context.Context, err error) error {
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	var own *imx.Error
	switch {
	case ctx.Err() != nil:
		return stopped(ctx)
	case errors.As(err, &own):
		return own
	case errors.As(err, &syntax), errors.As(err, &typed):
		return imx.Errorf(imx.Internal, "the imx server at %s answered what this imx can't read: %w", c.socket, err).
			WithHint("check that the client and the server are of the same version: imx version")
	}
	return imx.Errorf(imx.Unavailable, "the imx server at %s stopped in the middle of its answer: %w", c.socket, err).
		WithHint("what it was asked for may have been done: look with imx status")
}

// stopped returns the error for a request that the caller gave up.
func stopped(ctx context.Context) error {
	return imx.Errorf(imx.Unavailable, "the request was given up: %w", context.Cause(ctx))
}

// logReader gives errors of reading the form of the package's others.
type logReader struct {
	body io.ReadCloser
	c    *Client
}

// Read implements io.Reader.
func (l logReader) Read(p []byte) (int, error) {
	n, err := l.body.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, imx.Errorf(imx.Unavailable, "the imx server at %s stopped in the middle of its answer: %w", l.c.socket, err)
}

// Close implements io.Closer.
func (l logReader) Close() error { return l.body.Close() }
