package leak

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDepth is how often what was decoded is decoded again: a Secret of Kubernetes with an encoded value in it has two.
const maxDepth = 2

// Shorter runs of characters are words. What they would decode to is too short for any rule.
const (
	minBase64 = 16
	minHex    = 32
	// fullLine is from how many characters on a line of base64 may go on in the next: programs break at 64 or 76.
	fullLine = 60
)

// view is a text in which what was encoded can be read, and where each of its bytes came from.
type view struct {
	text []byte
	from []span // by byte of text; nil for a text that is as it was found
}

func (v *view) origin(i int) span {
	if v.from == nil {
		return span{i, i + 1}
	}
	return v.from[i]
}

// original is where a secret of the view stands in the text as it was found, false where nothing of it was encoded: that
// one is found without decoding.
func (v *view) original(s Secret) (Secret, bool) {
	encoded := false
	for i := s.Begin; i < s.End; i++ {
		at := v.origin(i)
		encoded = encoded || at.end-at.begin != 1
	}
	s.Begin, s.End = v.origin(s.Begin).begin, v.origin(s.End-1).end
	return s, encoded
}

// copy appends a part of another view as it is.
func (v *view) copy(of *view, begin, end int) {
	for i := begin; i < end; i++ {
		v.add(of.text[i], of.origin(i))
	}
}

func (v *view) add(b byte, from span) {
	v.text, v.from = append(v.text, b), append(v.from, from)
}

// decoder makes a view of another one: of its lines that have something encoded, with that decoded.
type decoder struct {
	in, out view
	line    int // where the line begins
	shown   int // up to where the line is in out; line, if nothing of it is
	alone   int // up to where lines are looked at one by one, because together they said nothing
}

// decoded is the view's lines that have something encoded, with that decoded; false if there are none.
func (v *view) decoded() (view, bool) {
	d := decoder{in: *v}
	for i := 0; i < len(v.text); {
		switch c := v.text[i]; {
		case c == '\n':
			i = d.newline(i)
		case c == '%':
			i = d.percent(i)
		case isBase64(c):
			i = d.run(i)
		default:
			i++
		}
	}
	d.newline(len(v.text))
	return d.out, len(d.out.text) > 0
}

// newline ends a line, with its break if it has one, and returns where the next begins.
func (d *decoder) newline(at int) int {
	next := min(at+1, len(d.in.text))
	if d.shown > d.line {
		d.out.copy(&d.in, d.shown, next)
	}
	d.line, d.shown = next, next
	return next
}

// percent decodes one byte of an address.
func (d *decoder) percent(at int) int {
	var b [1]byte
	if at+3 > len(d.in.text) {
		return at + 1
	}
	if _, err := hex.Decode(b[:], d.in.text[at+1:at+3]); err != nil || !readable(b[:]) {
		return at + 1
	}
	d.out.copy(&d.in, d.shown, at)
	d.out.add(b[0], span{d.in.origin(at).begin, d.in.origin(at + 2).end})
	d.shown = at + 3
	return d.shown
}

// run decodes what begins at a place, if that says something, and returns where it ends.
func (d *decoder) run(at int) int {
	r := &run{text: d.in.text, end: endOfRun(d.in.text, at)}
	if r.end-at < minBase64 || !r.promises(at) {
		return r.end
	}
	first := r.end
	r.gather(at, d.alone)
	plain, ok := r.decode()
	if !ok {
		if r.end > first {
			d.alone = r.end
			return d.run(at)
		}
		return first
	}
	d.out.copy(&d.in, d.shown, at)
	d.out.text, d.out.from = slices.Grow(d.out.text, len(plain)), slices.Grow(d.out.from, len(plain))
	for k, b := range plain {
		from := r.origin(k)
		d.out.add(b, span{d.in.origin(from.begin).begin, d.in.origin(from.end - 1).end})
	}
	if nl := bytes.LastIndexByte(r.text[at:r.end], '\n'); nl >= 0 {
		d.line = at + nl + 1
	}
	d.shown = r.end
	return r.end
}

// run are characters that may be base64, or hexadecimal: those of one line, or of several that are full.
type run struct {
	text []byte
	at   []int // where each character stands, without what pads the last
	end  int   // behind what pads the last
	bits int   // of each character
}

func endOfRun(text []byte, begin int) int {
	i := begin
	for i < len(text) && isBase64(text[i]) {
		i++
	}
	return i
}

// promises reports whether what the run begins with can be text: for most words it can't.
func (r *run) promises(begin int) bool {
	head := r.text[begin : begin+minBase64]
	if !bytes.ContainsFunc(head[2:], func(c rune) bool { return !isHex(byte(c)) }) { //nolint:gosec // ASCII alone
		return true
	}
	var plain [minBase64 / 4 * 3]byte
	n, err := base64.RawStdEncoding.Decode(plain[:], standard(head))
	return err == nil && readable(plain[:n-utf8.UTFMax+1])
}

// gather takes the run's characters together; lines before alone aren't joined with the next.
func (r *run) gather(begin, alone int) {
	end := r.end
	if bytes.HasPrefix(r.text[begin:end], []byte("0x")) {
		begin += len("0x")
	}
	r.bits = 4
	r.at = make([]int, 0, end-begin)
	for more := true; more; {
		for i := begin; i < end; i++ {
			r.at = append(r.at, i)
			if !isHex(r.text[i]) {
				r.bits = 6
			}
		}
		for r.end = end; r.end < len(r.text) && r.end < end+2 && r.text[r.end] == '='; {
			r.end++
		}
		more = false
		if end-begin >= fullLine && begin >= alone {
			begin, end, more = r.nextLine()
		}
	}
	if len(r.at) < minHex || len(r.at)%2 != 0 {
		r.bits = 6
	}
}

// nextLine is the line below the run's end, if there is nothing else on it.
func (r *run) nextLine() (begin, end int, ok bool) {
	rest := bytes.TrimPrefix(r.text[r.end:], []byte("\r"))
	if !bytes.HasPrefix(rest, []byte("\n")) {
		return 0, 0, false
	}
	begin = len(r.text) - len(bytes.TrimLeft(rest, "\n\t "))
	end = endOfRun(r.text, begin)
	if end == begin || bytes.Count(r.text[r.end:begin], []byte("\n")) > 1 {
		return 0, 0, false
	}
	behind := bytes.TrimLeft(r.text[end:min(end+len("==\r\n"), len(r.text))], "=\r")
	return begin, end, len(behind) == 0 || behind[0] == '\n'
}

// decode returns what the run says, false if that is no text.
func (r *run) decode() ([]byte, bool) {
	chars := make([]byte, len(r.at))
	for i, at := range r.at {
		chars[i] = r.text[at]
	}
	if r.bits == 4 {
		n, err := hex.Decode(chars, chars)
		return chars[:n], err == nil && readable(chars[:n])
	}
	plain := make([]byte, base64.RawStdEncoding.DecodedLen(len(chars)))
	n, err := base64.RawStdEncoding.Decode(plain, standard(chars))
	return plain[:n], err == nil && readable(plain[:n])
}

// origin is where a byte of what the run decodes to came from.
func (r *run) origin(k int) span {
	return span{r.at[k*8/r.bits], r.at[(k*8+7)/r.bits] + 1}
}

// standard is base64 in its first alphabet, of which the one for addresses differs in two characters.
func standard(chars []byte) []byte {
	return bytes.Map(func(c rune) rune {
		switch c {
		case '-':
			return '+'
		case '_':
			return '/'
		}
		return c
	}, chars)
}

// readable reports whether people wrote it, or could have: what decodes by chance has other bytes soon.
func readable(b []byte) bool {
	for len(b) > 0 {
		c, n := utf8.DecodeRune(b)
		if c == utf8.RuneError && n < 2 || unicode.IsControl(c) && !strings.ContainsRune("\t\r\n", c) {
			return false
		}
		b = b[n:]
	}
	return true
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || lower(c) >= 'a' && lower(c) <= 'f' }

// isBase64 holds for the characters of both alphabets.
func isBase64(c byte) bool {
	return c >= '0' && c <= '9' || lower(c) >= 'a' && lower(c) <= 'z' || c == '+' || c == '/' || c == '-' || c == '_'
}
