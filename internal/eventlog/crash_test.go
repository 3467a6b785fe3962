package eventlog_test

// A server is killed with SIGKILL in the midst of appending. Everything that it had acknowledged
// is on the log when the next one opens it.

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"imx/internal/eventlog"
)

const crashDir = "EVENTLOG_CRASH_DIR"

// TestMain runs the tests, or, told so by the environment, is the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		appendForEver(dir)
	}
	os.Exit(m.Run())
}

// appendForEver appends records from four goroutines and prints the index of each that was acknowledged.
func appendForEver(dir string) {
	log, _, err := eventlog.Open(eventlog.Config{Dir: dir})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for c := range 4 {
		go func() {
			for i := 0; ; i++ {
				text := fmt.Sprintf("%d %d %s", c, i, strings.Repeat("y", i%300))
				first, err := log.Append([]byte(text+" a"), []byte(text+" b"))
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				fmt.Printf("ok %d %s\n", first, text)
			}
		}()
	}
	select {}
}

func TestWhatWasAcknowledgedIsThereAfterKill9(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[int64]string{}
	r := rand.New(rand.NewPCG(5, 6))
	for range 8 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashDir+"="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 50 + r.IntN(300) {
			if !lines.Scan() {
				t.Fatal("the child ended by itself")
			}
			heard(t, acknowledged, lines.Text())
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it still said before it died counts too
			if strings.Count(lines.Text(), " ") >= 3 {
				heard(t, acknowledged, lines.Text())
			}
		}
		_, _ = io.Copy(io.Discard, out)
		_ = child.Wait() // it was killed
		log, rec, err := eventlog.Open(eventlog.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		got := contents(t, log)
		for first, text := range acknowledged {
			if int(first)+1 >= len(got) || !strings.HasPrefix(got[first], text) || !strings.HasSuffix(got[first+1], " b") {
				t.Fatalf("record %d, %q, was acknowledged and isn't there", first, text)
			}
		}
		closeLog(t, log)
		wantGood(t, check(t, dir), rec.Records)
	}
}

// heard keeps what a line of the child acknowledges.
func heard(t *testing.T, acknowledged map[int64]string, line string) {
	t.Helper()
	rest, ok := strings.CutPrefix(line, "ok ")
	index, text, _ := strings.Cut(rest, " ")
	first, err := strconv.ParseInt(index, 10, 64)
	if !ok || err != nil {
		t.Fatalf("the child said %q", line)
	}
	acknowledged[first] = strings.TrimRight(text, "y")
}
