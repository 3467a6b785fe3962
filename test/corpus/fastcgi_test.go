package corpus_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
)

// The record types of FastCGI 1.0 that one request takes.
const (
	fcgiBegin  = 1
	fcgiEnd    = 3
	fcgiParams = 4
	fcgiStdin  = 5
	fcgiStdout = 6
	fcgiStderr = 7
)

// fastcgi has a script run and reads its answer.
func fastcgi(ctx context.Context, address string) error {
	c, hangUp, err := dial(ctx, address)
	if err != nil {
		return err
	}
	defer hangUp()
	greeting := fmt.Sprintf("Good day %d", rand.IntN(1e6))
	var params []byte
	for _, p := range [][2]string{
		{"SCRIPT_FILENAME", "/srv/app/index.php"},
		{"SCRIPT_NAME", "/index.php"},
		{"REQUEST_METHOD", "GET"},
		{"QUERY_STRING", "greet=" + strings.ReplaceAll(greeting, " ", "+")},
		{"SERVER_PROTOCOL", "HTTP/1.1"},
	} {
		params = append(params, byte(len(p[0])), byte(len(p[1])))
		params = append(append(params, p[0]...), p[1]...)
	}
	records := []byte{}
	for _, r := range []struct {
		kind byte
		body []byte
	}{{fcgiBegin, []byte{0, 1, 0, 0, 0, 0, 0, 0}}, {fcgiParams, params}, {fcgiParams, nil}, {fcgiStdin, nil}} { // as responder
		records = append(records, 1, r.kind, 0, 1)
		records = binary.BigEndian.AppendUint16(records, uint16(len(r.body)))
		records = append(append(records, 0, 0), r.body...)
	}
	if _, err := c.Write(records); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return err
	}
	answer, err := fcgiAnswer(c)
	if err != nil {
		return err
	}
	header, body, _ := strings.Cut(answer, "\r\n\r\n")
	if !strings.Contains(header, "Content-type: text/plain") || body != greeting+" from PHP, opcache: true\n" {
		return fmt.Errorf("the script answers %q", answer)
	}
	return nil
}

// fcgiAnswer reads records up to the request's end and returns what the script printed.
func fcgiAnswer(r io.Reader) (string, error) {
	var out, errs strings.Builder
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return "", err
		}
		body := make([]byte, int(binary.BigEndian.Uint16(head[4:]))+int(head[6]))
		if _, err := io.ReadFull(r, body); err != nil {
			return "", err
		}
		body = body[:len(body)-int(head[6])]
		switch head[1] {
		case fcgiStdout:
			out.Write(body)
		case fcgiStderr:
			errs.Write(body)
		case fcgiEnd:
			if errs.Len() > 0 {
				return "", fmt.Errorf("the script complains: %s", errs.String())
			}
			return out.String(), nil
		}
	}
}
