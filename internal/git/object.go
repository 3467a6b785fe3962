package git

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"imx"
)

// Object is a commit or an annotated tag, as far as it says who made it and signed it.
type Object struct {
	Author    Identity // of a tag: its tagger
	Committer Identity // of a tag: its tagger
	Subject   string   // the message's first line
	Payload   []byte   // what a signature is over
	Signature string   // armored, SSH's or OpenPGP's; "" if there is none
}

// Identity is a name, an address and a moment, as Git writes them.
type Identity struct {
	Name, Email string
	Time        time.Time
}

// String returns "Name <email>".
func (i Identity) String() string { return i.Name + " <" + i.Email + ">" }

// ParseCommit reads a commit object's bytes
// (https://git-scm.com/docs/signature-format: the signature is a header, and what it is over is all else).
// Errors: Refused for what no commit looks like.
func ParseCommit(raw []byte) (Object, error) {
	head, message, ok := bytes.Cut(raw, []byte("\n\n"))
	if !ok {
		return Object{}, malformed("a commit")
	}
	var o Object
	var payload bytes.Buffer
	for lines := bytes.SplitAfter(append(bytes.Clone(head), '\n'), []byte("\n")); len(lines) > 0; {
		line, rest := lines[0], lines[1:]
		end := 0
		for end < len(rest) && bytes.HasPrefix(rest[end], []byte(" ")) {
			end++
		}
		header := bytes.Join(append([][]byte{line}, rest[:end]...), nil)
		lines = rest[end:]
		key, value, _ := strings.Cut(strings.TrimSuffix(string(header), "\n"), " ")
		if key == "gpgsig" {
			if o.Signature != "" {
				return Object{}, malformed("a commit")
			}
			o.Signature = strings.ReplaceAll(value, "\n ", "\n") + "\n"
			continue
		}
		payload.Write(header)
		var err error
		if o, err = o.header(key, value); err != nil {
			return Object{}, err
		}
	}
	payload.WriteString("\n")
	payload.Write(message)
	o.Payload = payload.Bytes()
	return o.whole("a commit", string(message))
}

// ParseTag reads an annotated tag object's bytes: its signature ends its message. It returns the object's name
// that the tag points at, too.
func ParseTag(raw []byte) (o Object, target string, err error) {
	body := string(raw)
	for _, begin := range []string{"-----BEGIN SSH SIGNATURE-----", "-----BEGIN PGP SIGNATURE-----"} {
		if at := strings.LastIndex(body, "\n"+begin); at >= 0 {
			o.Signature, body = body[at+1:], body[:at+1]
			break
		}
	}
	o.Payload = []byte(body)
	head, message, ok := strings.Cut(body, "\n\n")
	if !ok {
		return Object{}, "", malformed("a tag")
	}
	for line := range strings.Lines(head + "\n") {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch key {
		case "object":
			target = value
		case "tagger":
			if o.Author, err = parseIdentity(value); err != nil {
				return Object{}, "", err
			}
			o.Committer = o.Author
		}
	}
	o, err = o.whole("a tag", message)
	return o, target, err
}

func (o Object) header(key, value string) (_ Object, err error) {
	switch key {
	case "author":
		o.Author, err = parseIdentity(value)
	case "committer":
		o.Committer, err = parseIdentity(value)
	}
	return o, err
}

func (o Object) whole(what, message string) (Object, error) {
	if o.Author.Email == "" || o.Committer.Email == "" {
		return Object{}, malformed(what)
	}
	o.Subject, _, _ = strings.Cut(message, "\n")
	return o, nil
}

// parseIdentity reads "Name <email> 1700000000 +0100".
func parseIdentity(text string) (Identity, error) {
	open, end := strings.Index(text, " <"), strings.LastIndex(text, "> ")
	if open < 0 || end < open {
		return Identity{}, malformed("an author or a committer")
	}
	seconds, _, _ := strings.Cut(text[end+2:], " ")
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return Identity{}, malformed("an author or a committer")
	}
	return Identity{Name: text[:open], Email: text[open+2 : end], Time: time.Unix(unix, 0).UTC()}, nil
}

func malformed(what string) error {
	return imx.Errorf(imx.Refused, "the repository has what should be %s and isn't", what).WithHint("git fsck tells more about it")
}
