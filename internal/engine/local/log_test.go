// Logs: from conmon's file to what a person reads, across rotations, up to the end.

package local_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/engine/local"
)

func (m *machine) log(t *testing.T, e *runningEngine, id string) string {
	t.Helper()
	r, err := e.Logs(t.Context(), id, imx.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAFollowedLogGoesOnOverARotationAndEndsWithItsInstance(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	r := m.release("web", 1)
	id := e.healthy(t, r, 1)[0].ID
	stream, err := e.Logs(t.Context(), id, imx.LogOptions{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	lines := bufio.NewScanner(stream)
	var got []string
	next := func() {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("the log ended after %q: %v", got, lines.Err())
		}
		got = append(got, lines.Text())
	}
	say := func(line string) { m.tell(t, id, "/say"+query(map[string]string{"line": line})) }
	next()
	say("before")
	next()
	dir := filepath.Join(m.cfg.Dir, "instances", id)
	if err := local.Rotate(dir, 1); err != nil {
		t.Fatal(err)
	}
	await(t, "log was begun anew", func() bool { _, err := os.Stat(dir + "/log"); return err == nil })
	say("after")
	next()
	e.scale(t, r, 0)
	for lines.Scan() {
		got = append(got, lines.Text())
	}
	want := []string{"hello from " + id, "before", "after", "stopping"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("followed (-want +got):\n%s", diff)
	}
	if whole := m.log(t, e, id); whole != strings.Join(want, "\n")+"\n" {
		t.Errorf("read at the end: %q", whole)
	}
}

func TestAFollowedLogEndsWhenItIsClosed(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	id := e.healthy(t, m.release("web", 1), 1)[0].ID
	stream, err := e.Logs(t.Context(), id, imx.LogOptions{Follow: true, Tail: 1})
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stream).ReadString('\n'); err != nil || line != "hello from "+id+"\n" {
		t.Errorf("read %q, %v", line, err)
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
	if n, err := stream.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("after Close: %d, %v", n, err)
	}
}

func TestALogSaysWhatWasDroppedOfIt(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	id := e.healthy(t, m.release("web", 1), 1)[0].ID
	dir := filepath.Join(m.cfg.Dir, "instances", id)
	for _, line := range []string{"first", "second", "third"} {
		await(t, "log was begun anew", func() bool { _, err := os.Stat(dir + "/log"); return err == nil })
		m.tell(t, id, "/say"+query(map[string]string{"line": line}))
		await(t, "line is there", func() bool { return strings.Contains(m.log(t, e, id), line) })
		if err := local.Rotate(dir, 1); err != nil {
			t.Fatal(err)
		}
	}
	first, rest, _ := strings.Cut(m.log(t, e, id), "\n")
	if ok, _ := regexp.MatchString(`^imx: [1-9][0-9]+ bytes of earlier lines were dropped$`, first); !ok || rest != "third\n" {
		t.Errorf("it begins with %q and goes on with %q", first, rest)
	}
}

func TestLongLinesAreJoinedAgain(t *testing.T) {
	const at = "2026-01-02T03:04:05.000000006+00:00"
	raw := fmt.Sprintf("%[1]s stdout P one, \n%[1]s stderr F between\n%[1]s stdout F two\n%[1]s stdout F \nnonsense\n", at)
	var out bytes.Buffer
	if err := local.PrintLog(&out, strings.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("between\none, two\n\n", out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzPrintLog(f *testing.F) {
	f.Add([]byte("2026-01-02T03:04:05Z stdout P a\n2026-01-02T03:04:05Z stdout F b\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var out bytes.Buffer
		if err := local.PrintLog(&out, bytes.NewReader(raw)); err != nil && len(raw) < 1<<20 {
			t.Errorf("%q: %v", raw, err)
		}
		if out.Len() > len(raw)+1 {
			t.Errorf("%d bytes became %d", len(raw), out.Len())
		}
	})
}
