package trial_test

// What a test says of a network that doesn't answer: the reason, in words and without Go's.

import (
	"io"
	"net"
	"testing"

	"imx"
	"imx/internal/trial"
)

// answering is the address of a server that reads a little of each connection, writes an answer and closes.
func answering(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4<<10))
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

func TestANetworkErrorIsToldInWords(t *testing.T) {
	closed, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	for want, got := range map[string]string{
		"connection refused":                                       trial.AskTCP(t.Context(), imx.TCPTest{Name: "a"}, nobody).Got,
		"the connection was closed without an answer":              trial.AskHTTP(t.Context(), imx.HTTPTest{Name: "a", Method: "GET", Path: "/"}, answering(t, "")).Got,
		"200 OK, then the connection was closed within the answer": trial.AskHTTP(t.Context(), imx.HTTPTest{Name: "a", Method: "GET", Path: "/"}, answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")).Got,
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := trial.AskHTTP(t.Context(), imx.HTTPTest{Name: "a", Method: "GET", Path: "/"}, nobody).Got; got != "connection refused" {
		t.Errorf("%q", got)
	}
}
