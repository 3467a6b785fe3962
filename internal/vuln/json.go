package vuln

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"imx"
)

// maxRecord bounds one JSON value that is read whole: the longest OSV record has 3 MB.
const maxRecord = 16 << 20

// asRefusal returns the refusal that an error is, or nil: what isn't the bytes' fault passes through as it is.
func asRefusal(err error) *imx.Error {
	var e *imx.Error
	if errors.As(err, &e) && e.Kind == imx.Refused {
		return e
	}
	return nil
}

// values reads JSON values, one after the other, and the elements of arrays among them, up to the end.
type values struct {
	bound *bound
	d     *json.Decoder
	inner bool // inside an array
}

func readValues(r io.Reader) *values {
	b := &bound{r: r}
	return &values{bound: b, d: json.NewDecoder(bufio.NewReaderSize(b, 1<<16))}
}

// next decodes the next value into v, or returns io.EOF after the last.
func (s *values) next(v any) error {
	for {
		s.bound.left = maxRecord
		if s.inner && !s.d.More() {
			if _, err := s.d.Token(); err != nil {
				return s.broken(err)
			}
			s.inner = false
			continue
		}
		if s.inner {
			return s.decode(v)
		}
		first, err := s.peek()
		if err != nil {
			return err
		}
		if first != '[' {
			return s.decode(v)
		}
		if _, err := s.d.Token(); err != nil {
			return s.broken(err)
		}
		s.inner = true
	}
}

// peek returns the first byte of the next value, or io.EOF where there is none.
func (s *values) peek() (byte, error) {
	if !s.d.More() { // false at the end of the stream, and before a bracket that closes nothing
		var nothing json.RawMessage
		err := s.d.Decode(&nothing)
		if errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		return 0, s.broken(err)
	}
	var first [1]byte
	r := s.d.Buffered()
	for {
		if _, err := r.Read(first[:]); err != nil {
			return 0, fmt.Errorf("vuln: looking at the next value: %w", err)
		}
		switch first[0] {
		case ' ', '\t', '\r', '\n':
			continue
		}
		return first[0], nil
	}
}

func (s *values) decode(v any) error {
	err := s.d.Decode(v)
	if err != nil {
		return s.broken(err)
	}
	return nil
}

// object steps through the members of the object that comes next, one at a time.
func (s *values) object(each func(key string) error) error {
	if err := s.open('{'); err != nil {
		return err
	}
	for s.d.More() {
		s.bound.left = maxRecord
		token, err := s.d.Token()
		if err != nil {
			return s.broken(err)
		}
		key, ok := token.(string)
		if !ok {
			return refused("it has %v where a name belongs", token)
		}
		if err := each(key); err != nil {
			return err
		}
	}
	_, err := s.d.Token()
	if err != nil {
		return s.broken(err)
	}
	return nil
}

// list steps through the elements of the array that comes next.
func (s *values) list(each func() error) error {
	if err := s.open('['); err != nil {
		return err
	}
	for s.d.More() {
		s.bound.left = maxRecord
		if err := each(); err != nil {
			return err
		}
	}
	_, err := s.d.Token()
	if err != nil {
		return s.broken(err)
	}
	return nil
}

func (s *values) open(delim json.Delim) error {
	s.bound.left = maxRecord
	token, err := s.d.Token()
	if err != nil {
		return s.broken(err)
	}
	if token != delim {
		return refused("it has %.40q where a %s belongs", fmt.Sprint(token), delim)
	}
	return nil
}

// broken is the error for JSON that can't be read. What the reader itself failed with passes through.
func (s *values) broken(err error) error {
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	switch {
	case s.bound.failed != nil:
		return s.bound.failed
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ended(err)
	case errors.As(err, &syntax):
		return refused("it is no JSON at byte %d: %w", syntax.Offset, err)
	case errors.As(err, &typed):
		return refused("at byte %d: %s can't be a %s", typed.Offset, typed.Field, typed.Value)
	}
	return refused("near byte %d: %w", s.d.InputOffset(), err)
}

// end makes sure that nothing follows.
func (s *values) end() error {
	switch token, err := s.d.Token(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return s.broken(err)
	default:
		return refused("%.40q follows its end", fmt.Sprint(token))
	}
}

// bound fails a stream of which one value never ends.
type bound struct {
	r      io.Reader
	left   int64
	failed error // anything but the end
}

// Read implements io.Reader.
func (b *bound) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.failed = refused("it has an entry of more than %s", imx.Size(maxRecord))
		return 0, b.failed
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		b.failed = err
	}
	return n, err
}
