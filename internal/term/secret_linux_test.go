package term_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/term"
)

// typist is a person at a terminal: what they type, and what they see.
type typist struct {
	keys *os.File // the terminal's other side
	tty  *os.File
	fd   int // the terminal's
}

func sitDown(t *testing.T) typist {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	number, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return typist{keys, tty, int(tty.Fd())}
}

// echoes says whether what is typed is shown.
func (p typist) echoes(t *testing.T) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(p.fd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// quietly waits for the question, and then until nothing that is typed would be shown.
type quietly struct {
	bytes.Buffer
	asked chan struct{}
}

func (q *quietly) Write(b []byte) (int, error) {
	n, err := q.Buffer.Write(b)
	if strings.HasSuffix(q.String(), ": ") {
		close(q.asked)
	}
	return n, err
}

func TestASecretIsReadAndNotShown(t *testing.T) {
	p := sitDown(t)
	seen := &quietly{asked: make(chan struct{})}
	asked := term.Plain(p.tty, os.Stdout, seen)
	asked.Asks = true
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		<-seen.asked
		for p.echoes(t) { // the terminal shows what is typed until it is told not to
		}
		_, _ = p.keys.WriteString("open sesame\n")
	}()
	got, err := asked.Secret(t.Context(), "Passphrase:")
	if err != nil || string(got) != "open sesame" {
		t.Fatalf("%q, %v", got, err)
	}
	if seen.String() != "Passphrase: \n" || !p.echoes(t) {
		t.Errorf("they saw %q; what is typed next is shown: %v", seen, p.echoes(t))
	}
}

func TestATerminalIsAsBeforeWhenASecretIsGivenUp(t *testing.T) {
	p := sitDown(t)
	seen := &quietly{asked: make(chan struct{})}
	asked := term.Plain(p.tty, os.Stdout, seen)
	asked.Asks = true
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		<-seen.asked
		for p.echoes(t) {
		}
		cancel()
	}()
	if _, err := asked.Secret(ctx, "Passphrase:"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if !p.echoes(t) {
		t.Error("what is typed next isn't shown")
	}
}

func TestNobodyIsAskedForASecretInAPipe(t *testing.T) {
	_, err := term.Plain(strings.NewReader("x\n"), os.Stdout, os.Stderr).Secret(t.Context(), "Passphrase:")
	if imx.KindOf(err) != imx.Invalid {
		t.Errorf("%v", err)
	}
}
