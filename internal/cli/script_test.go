package cli_test

// The scripts tell what a person sees who types imx commands. Those in testdata/script need no
// server: where one must answer, `serve` answers its requests from the script's own files, through
// the same socket. Those in testdata/e2e start the real one with `server`.

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"imx"
	"imx/internal/cli"
)

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, params(t, "testdata/script"))
}

// params are those of every script: the real imx, a data folder of its own, Git with a name to commit under, and
// the commands serve and server.
func params(t *testing.T, dir string) testscript.Params {
	t.Helper()
	program := plainProgram(t)
	return testscript.Params{
		Dir:           dir,
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			// Short, because a socket's path is; the work folder's name need not be.
			data, err := os.MkdirTemp("", "imx-script-") //nolint:usetesting // for its length
			if err != nil {
				return err
			}
			e.Defer(func() { _ = os.RemoveAll(data) })
			e.Setenv("IMX_DATA", data)
			use(e, program)
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, "cache"))
			e.Values[serverKey{}] = map[string]*serverProcess{}
			for _, v := range []string{
				"GORACE=atexit_sleep_ms=0", // or each command of a race-checked run would take a second more
				"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a",
				"GIT_COMMITTER_EMAIL=a@example.org", "GIT_CONFIG_NOSYSTEM=1", "GIT_CEILING_DIRECTORIES=" + filepath.Dir(e.WorkDir),
			} {
				name, value, _ := strings.Cut(v, "=")
				e.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"serve": serve, "server": server, "exits": exits, "editor": editor},
		Condition: func(name string) (bool, error) {
			switch name {
			case "client":
				return cli.ClientOnly, nil
			case "root":
				return os.Geteuid() == 0, nil
			case "login": // the kernel lets a process say who logged in
				return exec.Command("sh", "-ec", "echo 0 > /proc/self/loginuid").Run() == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
	}
}

// exits N CMD... runs a command and checks its exit status; output is for stdout and stderr.
func exits(ts *testscript.TestScript, negated bool, args []string) {
	if negated || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND [ARGUMENT]...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if failed, ok := err.(*exec.ExitError); ok { //nolint:errorlint // Exec returns it bare
		got = failed.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit status %d, not %s", got, args[0])
	}
}

// serve DIR answers requests to the data folder's socket: GET /v1/status with the file
// DIR/v1/status.json, and anything that isn't there as not found. It ends with the script.
func serve(ts *testscript.TestScript, negated bool, args []string) {
	if negated || len(args) != 1 {
		ts.Fatalf("usage: serve DIR")
	}
	listener, err := net.Listen("unix", filepath.Join(ts.Getenv("IMX_DATA"), "imx.sock"))
	ts.Check(err)
	root := ts.MkAbs(args[0])
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(r.URL.Path)+".json"))
		if err != nil {
			w.WriteHeader(http.StatusNotFound)
			b, _ = json.Marshal(imx.Errorf(imx.NotFound, "nothing is served at %s", r.URL.Path))
		}
		_, _ = w.Write(b)
	})}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(listener) }()
	ts.Defer(func() { _ = srv.Close(); <-ended })
}
