package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"imx"
)

// maxLock bounds a lock file; one of a hundred images has about 2 MiB.
const maxLock = 64 << 20

// ParseLock reads a lock file. It is strict, because what it lets pass is built and run: unknown
// fields, a field or package that stands twice and references to nothing are refused. The
// error, of kind Invalid or Refused, names the line.
func ParseLock(b []byte) (imx.Lock, error) {
	if len(b) > maxLock {
		return imx.Lock{}, damaged("it has %d bytes", len(b))
	}
	var head struct {
		Version int `json:"version"`
	}
	r := lockReader{text: b, offsets: map[string][]int64{}}
	if err := json.Unmarshal(b, &head); err != nil {
		return imx.Lock{}, r.broken(err, 0)
	}
	if err := checkLockVersion(head.Version); err != nil {
		return imx.Lock{}, err
	}
	r.d = json.NewDecoder(bytes.NewReader(b))
	r.d.DisallowUnknownFields()
	if err := r.object(); err != nil {
		return imx.Lock{}, err
	}
	if f := findFault(r.lock); f != nil {
		return imx.Lock{}, damaged("line %d: %w", r.line(r.offsets[f.list][f.index]), f.err)
	}
	return r.lock, nil
}

// lockReader reads a lock piece by piece, to know the line of each.
type lockReader struct {
	text    []byte
	d       *json.Decoder
	lock    imx.Lock
	offsets map[string][]int64 // where each entry of each list begins
}

// line returns the number of the line at the offset, with what blanks come after it skipped.
func (r *lockReader) line(offset int64) int {
	for offset < int64(len(r.text)) && bytes.IndexByte([]byte(" \t\r\n,:"), r.text[offset]) >= 0 {
		offset++
	}
	return 1 + bytes.Count(r.text[:min(offset, int64(len(r.text)))], []byte("\n"))
}

// broken makes the error for JSON that can't be read; base is where the value began that the
// error counts from.
func (r *lockReader) broken(err error, base int64) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	what := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "json: "), "imx: ")
	switch {
	case errors.As(err, &syntax):
		base = max(base, syntax.Offset-1)
	case errors.As(err, &kind) && kind.Field == "":
		what = "it isn't what a lock has there, but a JSON " + kind.Value
	case errors.As(err, &kind):
		base += kind.Offset - 1
		what = strconv.Quote(kind.Field) + " can't be a JSON " + kind.Value
	case errors.Is(err, io.ErrUnexpectedEOF):
		base = int64(len(r.text))
	}
	return damaged("line %d: %s", r.line(base), what)
}

// object reads the one object that a lock file is.
func (r *lockReader) object() error {
	if t, err := r.d.Token(); err != nil || t != json.Delim('{') {
		return damaged("line 1: it isn't a JSON object")
	}
	seen := map[string]bool{}
	for r.d.More() {
		at := r.d.InputOffset()
		t, err := r.d.Token()
		if err != nil {
			return r.broken(err, at)
		}
		key, _ := t.(string)
		if seen[key] {
			return damaged("line %d: %q stands twice", r.line(at), key)
		}
		seen[key] = true
		if err := r.value(key, at); err != nil {
			return err
		}
	}
	if _, err := r.d.Token(); err != nil {
		return r.broken(err, r.d.InputOffset())
	}
	return nil
}

func (r *lockReader) value(key string, at int64) error {
	switch key {
	case "version":
		if err := r.d.Decode(&r.lock.Version); err != nil {
			return r.broken(err, at)
		}
		return nil
	case "suites":
		return array(r, key, &r.lock.Suites)
	case "packages":
		return array(r, key, &r.lock.Packages)
	case "images":
		return array(r, key, &r.lock.Images)
	}
	return damaged("line %d: %q is no part of a lock", r.line(at), key)
}

// array reads a list of T.
func array[T any](r *lockReader, key string, list *[]T) error {
	at := r.d.InputOffset()
	if t, err := r.d.Token(); err != nil || t != json.Delim('[') {
		return damaged("line %d: %q isn't a list", r.line(at), key)
	}
	*list = []T{}
	for r.d.More() {
		at := r.d.InputOffset()
		var one T
		if err := r.d.Decode(&one); err != nil {
			return r.broken(err, at)
		}
		*list, r.offsets[key] = append(*list, one), append(r.offsets[key], at)
	}
	if _, err := r.d.Token(); err != nil {
		return r.broken(err, at)
	}
	return nil
}
