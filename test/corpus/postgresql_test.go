package corpus_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The kinds of authentication that PostgreSQL asks for, of its protocol 3.0.
const (
	pgAuthOK       = 0
	pgAuthSASL     = 10
	pgAuthContinue = 11
	pgAuthFinal    = 12
)

// postgresql logs in with the password and asks a question.
func postgresql(ctx context.Context, address string) error {
	c, hangUp, err := dial(ctx, address)
	if err != nil {
		return err
	}
	defer hangUp()
	startup := append([]byte{0, 3, 0, 0}, "user\x00postgres\x00database\x00postgres\x00\x00"...)
	if err := pgSend(c, 0, startup); err != nil {
		return err
	}
	if err := pgLogin(c, "example"); err != nil {
		return fmt.Errorf("logging in: %w", err)
	}
	if err := pgSend(c, 'Q', []byte("select 1 + 1, current_user\x00")); err != nil {
		return err
	}
	for {
		kind, body, err := pgReceive(c)
		switch {
		case err != nil:
			return err
		case kind == 'D': // two columns, each behind its length
			return says(string(body), "\x00\x02\x00\x00\x00\x012\x00\x00\x00\x08postgres")
		}
	}
}

// pgSend sends a message; the first of a connection has no kind.
func pgSend(c *bufio.ReadWriter, kind byte, body []byte) error {
	var m []byte
	if kind != 0 {
		m = append(m, kind)
	}
	m = binary.BigEndian.AppendUint32(m, uint32(len(body)+4))
	if _, err := c.Write(append(m, body...)); err != nil {
		return err
	}
	return c.Flush()
}

// pgReceive returns the next message; one that tells an error is an error.
func pgReceive(c *bufio.ReadWriter) (kind byte, body []byte, err error) {
	head, err := read(c.Reader, 5)
	if err != nil {
		return 0, nil, err
	}
	body, err = read(c.Reader, int(binary.BigEndian.Uint32(head[1:]))-4)
	if err == nil && head[0] == 'E' {
		err = fmt.Errorf("the server says %q", bytes.Split(body, []byte{0}))
	}
	return head[0], body, err
}

// pgLogin proves with SCRAM-SHA-256 (RFC 5802) that it knows the password, and has the server prove it too.
func pgLogin(c *bufio.ReadWriter, password string) error {
	nonce := rand.Text()
	first := "n=,r=" + nonce
	if _, err := pgAuth(c, pgAuthSASL); err != nil {
		return err
	}
	hello := append([]byte("SCRAM-SHA-256\x00"), binary.BigEndian.AppendUint32(nil, uint32(len("n,,"+first)))...)
	if err := pgSend(c, 'p', append(hello, "n,,"+first...)); err != nil {
		return err
	}
	challenge, err := pgAuth(c, pgAuthContinue)
	if err != nil {
		return err
	}
	answer, signature, err := scram(password, first, challenge)
	if err != nil {
		return err
	}
	if err := pgSend(c, 'p', []byte(answer)); err != nil {
		return err
	}
	if final, err := pgAuth(c, pgAuthFinal); err != nil || final != "v="+signature {
		return fmt.Errorf("the server proves itself by %q, %w", final, err)
	}
	_, err = pgAuth(c, pgAuthOK)
	return err
}

// pgAuth expects the server's next message to be of a kind of authentication.
func pgAuth(c *bufio.ReadWriter, want uint32) (string, error) {
	kind, body, err := pgReceive(c)
	if err != nil {
		return "", err
	}
	if kind != 'R' || len(body) < 4 || binary.BigEndian.Uint32(body) != want {
		return "", fmt.Errorf("message %c %q, where authentication %d has to come", kind, body, want)
	}
	return string(body[4:]), nil
}

// scram returns the client's answer to a challenge, and the signature that the server must then show.
func scram(password, first, challenge string) (answer, signature string, err error) {
	fields := map[string]string{}
	for part := range strings.SplitSeq(challenge, ",") {
		key, value, _ := strings.Cut(part, "=")
		fields[key] = value
	}
	salt, err := base64.StdEncoding.DecodeString(fields["s"])
	if err != nil {
		return "", "", err
	}
	rounds, err := strconv.Atoi(fields["i"])
	if err != nil {
		return "", "", err
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		return "", "", err
	}
	sign := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		_, _ = io.WriteString(h, text) // a hash never fails
		return h.Sum(nil)
	}
	clientKey := sign(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	bare := "c=biws,r=" + fields["r"]
	said := first + "," + challenge + "," + bare
	proof := sign(stored[:], said)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	b64 := base64.StdEncoding.EncodeToString
	return bare + ",p=" + b64(proof), b64(sign(sign(salted, "Server Key"), said)), nil
}
