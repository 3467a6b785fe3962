package corpus_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1" // mysql_native_password is made of it
	"encoding/binary"
	"fmt"
)

// What a client of the MySQL protocol says it can.
const (
	mysqlProtocol41       = 1 << 9
	mysqlSecureConnection = 1 << 15
	mysqlPluginAuth       = 1 << 19
)

// mariadb logs in with the password and asks a question.
func mariadb(ctx context.Context, address string) error {
	c, hangUp, err := dial(ctx, address)
	if err != nil {
		return err
	}
	defer hangUp()
	greeting, err := mysqlReceive(c)
	if err != nil {
		return err
	}
	salt, err := mysqlSalt(greeting)
	if err != nil {
		return err
	}
	login := binary.LittleEndian.AppendUint32(nil, mysqlProtocol41|mysqlSecureConnection|mysqlPluginAuth)
	login = binary.LittleEndian.AppendUint32(login, 1<<24-1)
	login = append(append(login, 45), make([]byte, 23)...) // the character set utf8mb4, and a gap
	login = append(login, "shop\x00"...)
	login = append(append(login, sha1.Size), mysqlProof("example", salt)...)
	login = append(login, "mysql_native_password\x00"...)
	if err := mysqlSend(c, 1, login); err != nil {
		return err
	}
	if _, err := mysqlReceive(c); err != nil {
		return fmt.Errorf("logging in: %w", err)
	}
	if err := mysqlSend(c, 0, []byte("\x03select 20 + 22")); err != nil {
		return err
	}
	var rows [][]byte
	for range 4 { // the number of columns, one column, the end of columns, one row
		p, err := mysqlReceive(c)
		if err != nil {
			return err
		}
		rows = append(rows, p)
	}
	return says(string(rows[3]), "\x0242")
}

// mysqlSalt finds the salt in the server's greeting: its first 8 bytes stand behind the version and the
// connection's number, the others 18 bytes further on.
func mysqlSalt(greeting []byte) ([]byte, error) {
	end := bytes.IndexByte(greeting, 0)
	if greeting[0] != 10 || end < 0 || len(greeting) < end+5+8+1+18+12 {
		return nil, fmt.Errorf("the greeting is %q", greeting)
	}
	rest := greeting[end+1+4:]
	return append(bytes.Clone(rest[:8]), rest[8+1+18:8+1+18+12]...), nil
}

// mysqlProof is the answer of mysql_native_password.
func mysqlProof(password string, salt []byte) []byte {
	once := sha1.Sum([]byte(password))
	twice := sha1.Sum(once[:])
	proof := sha1.Sum(append(bytes.Clone(salt), twice[:]...))
	for i := range proof {
		proof[i] ^= once[i]
	}
	return proof[:]
}

// mysqlSend sends a packet behind its length, of three bytes, and its number in the exchange.
func mysqlSend(c *bufio.ReadWriter, number byte, body []byte) error {
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	head[3] = number
	if _, err := c.Write(append(head, body...)); err != nil {
		return err
	}
	return c.Flush()
}

// mysqlReceive returns the next packet; one that tells an error is an error.
func mysqlReceive(c *bufio.ReadWriter) ([]byte, error) {
	head, err := read(c.Reader, 4)
	if err != nil {
		return nil, err
	}
	head[3] = 0
	body, err := read(c.Reader, int(binary.LittleEndian.Uint32(head)))
	if err == nil && (len(body) == 0 || body[0] == 0xff) {
		err = fmt.Errorf("the server says %q", body)
	}
	return body, err
}
