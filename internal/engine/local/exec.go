package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"imx"
)

// Exec runs a program beside an instance's first process: in its namespaces, as its user, with its environment and
// under its limits and its system call filter. What it writes goes to out, of which an error ends nothing. It
// returns the program's exit status, 128 and the signal if one ended it, 126 or 127 if it can't be run.
// When ctx ends first, so does the wait; the program then ends with its instance. If it has ended, and only what it
// started holds its output open, the status is its own all the same, and -1 otherwise.
// Errors: NotFound for an unknown instance or one that doesn't run; Exhausted, with the status, if the instance's limit of
// memory ended it.
func (e *Engine) Exec(ctx context.Context, id string, args []string, out io.Writer) (int, error) {
	in, ok := e.living(id)
	if !ok {
		return -1, unknown(id)
	}
	way, err := e.cgroups.open(id)
	if err != nil {
		return -1, err
	}
	defer way.close()
	return e.runBeside(ctx, in, besideArgs{args, way, nil}, out)
}

// besideArgs say what runBeside runs, in which groups, and what ends it when its time is over, but for a given pid: crun's,
// which then ends by itself. Where nothing does, only the wait for it ends.
type besideArgs struct {
	args []string
	way  *entrance
	end  func(crun int) error
}

// runBeside is Exec of an instance that runs.
func (e *Engine) runBeside(ctx context.Context, in *instance, b besideArgs, out io.Writer) (int, error) {
	id := in.record.Instance.ID // never changes
	process, err := processOf(e.store.instance(id), b.args)
	if err != nil {
		return -1, err
	}
	code := -1
	before := e.cgroups.oomKills(id)
	onOwnThread(func() {
		if err = hideUnified(e.cgroups); err == nil {
			code, err = beside{e.crun("exec", "--process", "/proc/self/fd/3", id), process, b.way, b.end}.run(ctx, out)
		}
	})
	if err == nil && code == killed {
		err = e.starved(id, in.release, before)
	}
	return code, err
}

// reaping is how long crun may take to end after what it ran was killed.
const reaping = 2 * time.Second

// killed is the status of what SIGKILL ended.
const killed = 128 + int(unix.SIGKILL)

// starved is an error if the limit of memory has ended more processes of an instance than before.
func (e *Engine) starved(id string, r imx.Release, before int) error {
	if e.cgroups.oomKills(id) <= before {
		return nil
	}
	return imx.Errorf(imx.Exhausted, "it needed more memory than the instance's limit of %s", memoryOf(r))
}

// processOf is the first process of an instance with another command, as crun reads it.
func processOf(dir string, args []string) ([]byte, error) {
	var spec specs.Spec
	if err := read(filepath.Join(dir, "config.json"), &spec); err != nil {
		return nil, fmt.Errorf("reading the instance's bundle: %w", err)
	}
	spec.Process.Args = args
	return json.Marshal(spec.Process)
}

// beside is a program to be started beside an instance's first process.
type beside struct {
	crun     []string // its program and arguments
	document []byte   // what crun reads from descriptor 3: it says what to run
	way      *entrance
	end      func(crun int) error // see besideArgs
}

// run runs the program, on a thread that crun accepts, as Exec says.
func (b beside) run(ctx context.Context, out io.Writer) (int, error) {
	words, tell, err := os.Pipe()
	if err != nil {
		return -1, err
	}
	defer words.Close() // read-only
	defer tell.Close()  // closed before; here for the errors
	said, hear, err := os.Pipe()
	if err != nil {
		return -1, err
	}
	defer said.Close() // read-only
	cmd := exec.CommandContext(ctx, b.crun[0], b.crun[1:]...)
	cmd.Dir = "/"
	if b.end != nil {
		cmd.Cancel = func() error { return b.end(cmd.Process.Pid) }
		cmd.WaitDelay = reaping
	}
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = []*os.File{words}, hear, hear
	cmd.SysProcAttr = &unix.SysProcAttr{UseCgroupFD: true, CgroupFD: int(b.way.monitor.Fd()), Setsid: true}
	err = cmd.Start()
	_ = hear.Close() // the program has its own
	if err != nil {
		return -1, fmt.Errorf("crun: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = said.Close() }) // what it started may hold the other end
	defer stop()
	// crun begins when it has read what to run: by then it is where its limits are, and its children will be.
	err = b.way.enter(cmd.Process.Pid)
	if err == nil {
		_, err = tell.Write(b.document)
	}
	err = errors.Join(err, tell.Close())
	_, _ = io.Copy(out, said) // ends with its last writer, or with ctx
	_ = cmd.Wait()            // the status tells it
	if err == nil && ctx.Err() != nil && cmd.ProcessState.Exited() {
		return cmd.ProcessState.ExitCode(), context.Cause(ctx)
	}
	if err != nil || ctx.Err() != nil {
		return -1, errors.Join(err, context.Cause(ctx))
	}
	return exitStatus(cmd.ProcessState), nil
}

// exitStatus is a status as a shell shows it.
func exitStatus(s *os.ProcessState) int {
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return s.ExitCode()
}
