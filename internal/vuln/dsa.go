package vuln

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"time"
)

// maxListLine bounds a line of an advisory list; the longest has 14 kB, all CVEs of one kernel.
const maxListLine = 1 << 20

// ParseDSA reads Debian's lists of security advisories, data/DSA/list and data/DLA/list of the security tracker:
//
//	[16 Jan 2025] DSA-5843-1 rsync - security update
//		{CVE-2024-12084 CVE-2024-12085}
//		[bookworm] - rsync 3.2.7-1+deb12u1
//
// Each CVE with each line of a release becomes an Advisory. An advisory without CVEs stands for itself, unless it only
// mends an earlier one ("regression update"). <not-affected> lines say nothing; <unfixed> and <end-of-life> ones say
// that every version has it. Errors: Refused for anything else, and for a list that ends in the middle.
func ParseDSA(r io.Reader, sink Sink) (Summary, error) {
	p := dsaParser{sink: sink}
	lines := bufio.NewReaderSize(r, 1<<16)
	for number := 1; ; number++ {
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = p.line(line)
		}
		if err != nil {
			return Summary{}, atLine(number, err)
		}
	}
	if !p.began {
		return Summary{}, refused("it has no advisory in it")
	}
	return p.sum, p.finish()
}

// readLine returns a line without its end. A last line without one was cut.
func readLine(r *bufio.Reader) (string, error) {
	var long []byte
	for {
		part, err := r.ReadSlice('\n')
		long = append(long, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) && len(long) <= maxListLine:
			continue
		case err == nil && len(long) <= maxListLine:
			return strings.TrimRight(string(long), "\r\n"), nil
		case err == nil || errors.Is(err, bufio.ErrBufferFull):
			return "", refused("it is longer than %d bytes", maxListLine)
		case errors.Is(err, io.EOF) && len(long) == 0:
			return "", io.EOF
		}
		return "", ended(err)
	}
}

func atLine(number int, err error) error {
	known := refused("line %d: %w", number, err)
	if e := asRefusal(err); e != nil {
		return known.WithHint("%s", e.Hint)
	}
	return err
}

type dsaParser struct {
	sink   Sink
	sum    Summary
	began  bool
	notice string // of the present advisory
	says   string
	date   time.Time
	cves   []string
	used   bool // it has had a line of a release, or a note that says why it has none
}

func (p *dsaParser) line(line string) error {
	text := strings.TrimSpace(line)
	switch {
	case text == "" || strings.HasPrefix(text, "NOTE:") || strings.HasPrefix(text, "TODO:"):
		p.used = p.used || text != ""
		return nil
	case line[0] == '[':
		return p.header(line)
	case !p.began:
		return refused("%s comes before any advisory", clip(text))
	case text[0] == '{':
		return p.names(text)
	case text[0] == '[':
		return p.release(text)
	}
	return refused("%s is neither CVEs, a release nor a note", clip(text))
}

// header begins an advisory: "[16 Jan 2025] DSA-5843-1 rsync - security update".
func (p *dsaParser) header(line string) error {
	stamp, rest, ok := strings.Cut(line[1:], "]")
	if !ok {
		return refused("%s has no end of its date", clip(line))
	}
	date, err := time.Parse("2 Jan 2006", stamp)
	if err != nil {
		return refused("%s is not a date as in [16 Jan 2025]", clip(stamp))
	}
	notice, says, _ := strings.Cut(strings.TrimSpace(rest), " ")
	if !strings.HasPrefix(notice, "DSA-") && !strings.HasPrefix(notice, "DLA-") && !strings.HasPrefix(notice, "ELA-") {
		return refused("%s is not the name of an advisory", clip(notice))
	}
	p.began, p.notice, p.says, p.date, p.cves, p.used = true, notice, says, date, nil, false
	p.sum.saw(date)
	return nil
}

// names are the CVEs of an advisory. Older lists name bugs beside them, under other databases' names.
func (p *dsaParser) names(text string) error {
	inner, ok := strings.CutSuffix(text[1:], "}")
	if !ok {
		return refused("%s has no end", clip(text))
	}
	for name := range strings.FieldsSeq(inner) {
		if isOdd(name) {
			return refused("%s is not the name of a vulnerability", clip(name))
		}
		p.cves = append(p.cves, name)
	}
	return nil
}

// release is what the advisory fixed in one release: "[bookworm] - rsync 3.2.7-1+deb12u1".
func (p *dsaParser) release(text string) error {
	codename, rest, ok := strings.Cut(text[1:], "]")
	words := strings.Fields(rest)
	if !ok || len(words) < 3 || words[0] != "-" {
		return refused("%s is not of the form [RELEASE] - PACKAGE VERSION", clip(text))
	}
	p.used = true
	a := Advisory{Notice: p.notice, Ecosystem: Debian(codename), Package: words[1], Published: p.date}
	switch version := words[2]; version {
	case "<not-affected>":
		return nil
	case "<unfixed>", "<end-of-life>", "<no-dsa>", "<ignored>", "<postponed>":
		a.Ranges, a.Urgency = []Range{{}}, strings.Trim(version, "<>")
	case "<undetermined>":
		p.sink.Skip(p.notice+" "+words[1], "whether it is affected isn't known")
		return nil
	default:
		a.Ranges = []Range{{Fixed: version}}
	}
	return p.each(a)
}

// each takes the advisory once for every CVE.
func (p *dsaParser) each(a Advisory) error {
	if len(p.cves) == 0 && !strings.Contains(p.says, "regression") {
		a.ID = a.Notice
		return p.sink.take(&p.sum, a)
	}
	for _, cve := range p.cves {
		a.ID = cve
		if err := p.sink.take(&p.sum, a); err != nil {
			return err
		}
	}
	return nil
}

// finish checks the last advisory: one with CVEs and nothing after them was cut.
func (p *dsaParser) finish() error {
	if len(p.cves) > 0 && !p.used {
		return refused("it ends after the CVEs of %s", p.notice).WithHint("the file was cut: fetch it again")
	}
	return nil
}
