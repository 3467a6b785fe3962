package cli_test

// Scripts run the real program, built once for all of them. It is built without the race detector also where that watches the tests:
// what a server does takes several times as long under it. The scripts of watchedScripts run one that is watched, and what they
// have found in its log fails them; what the others do alike has no race that these don't show, and each package has tests of its own.

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"imx/internal/check/apart"
	"imx/internal/cli"
	"imx/internal/raced"
)

// watchedScripts are those in which most happens at the same time: the whole life of a service, with rollouts under requests; a server
// that ends at each event of an apply; a port that others want; collections without pause beside builds and starts.
func watchedScripts() []string {
	return []string{"life", "killed", "ports", "gc"}
}

// isWatched reports whether the race detector watches the server of a script.
func isWatched(e *testscript.Env) bool {
	script, _ := strings.CutPrefix(filepath.Base(e.WorkDir), "script-")
	return raced.Enabled && slices.Contains(watchedScripts(), script)
}

// programs is the environment's name of the folder in which this run's programs are.
const programs = "IMX_TEST_PROGRAMS"

// Rules that nobody vouches for run in a process of their own, of the program that they are found in: of a test that calls Main, this one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == apart.Word {
		os.Exit(apart.Main(context.Background(), os.Stdin, os.Stdout))
	}
	os.Exit(withPrograms(m))
}

func withPrograms(m *testing.M) int {
	dir, err := os.MkdirTemp("", "imx-programs-")
	if err == nil {
		err = os.Setenv(programs, dir)
	}
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	return m.Run()
}

// plainProgram is the path of imx as make builds it, for as long as the tests run.
func plainProgram(t *testing.T) string {
	t.Helper()
	return builtProgram(t, "plain", "CGO_ENABLED=0", "-trimpath")
}

// watchedProgram is the path of imx under the race detector, where that watches the tests too, and otherwise of the plain one.
func watchedProgram(t *testing.T) string {
	t.Helper()
	if !raced.Enabled {
		return plainProgram(t)
	}
	return builtProgram(t, "watched", "CGO_ENABLED=1", "-race")
}

// builtProgram builds imx in a folder by that name, unless another test has done so. The watched one is compiled as these tests are, and the
// plain one as make does it, so that little is compiled twice.
func builtProgram(t *testing.T, name, env string, flags ...string) string {
	t.Helper()
	dir := filepath.Join(os.Getenv(programs), name)
	path := filepath.Join(dir, "imx")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Open(dir)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close() // which gives the lock up
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path
	}
	if cli.ClientOnly {
		flags = append(flags, "-tags", "client")
	}
	args := append([]string{"build", "-ldflags", "-s -w -X main.version=0.0.0-test", "-o", path}, flags...)
	cmd := exec.CommandContext(t.Context(), "go", append(args, "imx/cmd/imx")...)
	cmd.Env = append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// use makes a program the imx of a script: by that name, and at $IMX.
func use(e *testscript.Env, program string) {
	e.Setenv("IMX", program)
	e.Setenv("PATH", filepath.Dir(program)+string(filepath.ListSeparator)+os.Getenv("PATH"))
}
