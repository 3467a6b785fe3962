package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imx"
)

// logLimit is where conmon itself cuts a log off, if no engine runs that would rotate it earlier.
const logLimit = 32 << 20

// launcher starts instances with crun under conmon.
type launcher struct {
	cfg     Config
	store   store
	cgroups cgroups
}

// launched is what a launch made.
type launched struct{ init, monitor process }

// launch makes the instance's processes, puts them under their limits and lets them go. All it
// needs (record, root, network namespace, cgroups) is there already. What an error leaves is found
// by the instance's cgroup.
func (l launcher) launch(ctx context.Context, b bundle) (launched, error) {
	id := b.record.Instance.ID
	dir := l.store.instance(id)
	if err := l.writeBundle(dir, b); err != nil {
		return launched{}, err
	}
	way, err := l.cgroups.open(id)
	if err != nil {
		return launched{}, err
	}
	defer way.close()
	var made launched
	onOwnThread(func() {
		if err = hideUnified(l.cgroups); err == nil {
			made, err = l.startHidden(ctx, id, dir, way)
		}
	})
	if err != nil {
		return launched{}, fmt.Errorf("starting %s: %w", id, naming(err, b.release))
	}
	return made, nil
}

// onOwnThread runs f on a thread that ends with it, whatever f made of the thread's namespaces.
func onOwnThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The process's first thread can't end, and it is what /proc/self shows. While this
			// goroutine holds it, the next gets another.
			onOwnThread(f)
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
	<-done
}

func (l launcher) writeBundle(dir string, b bundle) error {
	spec, err := b.spec()
	if err != nil {
		return err
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("local: %w", err)
	}
	err = errors.Join(
		os.MkdirAll(filepath.Join(dir, "exit"), 0o700),
		os.MkdirAll(l.cfg.crunDir(), 0o700),
		os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600),
	)
	return diskError(err, "writing the bundle of instance "+b.record.Instance.ID)
}

// startHidden creates the instance, limits it and starts it, on a thread that crun accepts.
func (l launcher) startHidden(ctx context.Context, id, dir string, way *entrance) (launched, error) {
	pid, err := l.create(ctx, id, dir, way.monitor)
	if err != nil {
		return launched{}, err
	}
	if err := way.enter(pid); err != nil {
		return launched{}, err
	}
	made, err := identifyBoth(pid, filepath.Join(dir, "conmon.pid"))
	if err != nil {
		return launched{}, err
	}
	return made, l.goOn(ctx, id)
}

// goOn has the instance's first process become its program.
func (l launcher) goOn(ctx context.Context, id string) error {
	err := l.cfg.unblock(id)
	if !errors.Is(err, errHeldOtherwise) {
		return err
	}
	crun := l.crun("start", id)
	start := exec.CommandContext(ctx, crun[0], crun[1:]...)
	if out, err := start.CombinedOutput(); err != nil {
		return startError(string(out), err)
	}
	return nil
}

// hideUnified gives the calling thread a mount namespace in which a hybrid machine's version 2
// tree isn't mounted: crun 1.8 refuses to run where it sees both versions.
func hideUnified(c cgroups) error {
	if len(c.v1) == 0 {
		return nil
	}
	if err := privateMounts(); err != nil {
		return err
	}
	if err := unix.Unmount(c.unified, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("hiding the version 2 cgroup tree: %w", err)
	}
	return nil
}

// privateMounts gives the calling thread a mount namespace: mounting and unmounting here stays here, unmounting there
// comes here.
func privateMounts() error {
	err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, "")
	}
	if err != nil {
		return fmt.Errorf("making a mount namespace: %w", err)
	}
	return nil
}

// crunArgs: crun leaves cgroups alone, the engine has made them.
func (l launcher) crunArgs(args ...string) []string {
	return append([]string{"--cgroup-manager=disabled", "--root=" + l.cfg.crunDir()}, args...)
}

// crun is the program with these arguments.
func (l launcher) crun(args ...string) []string {
	return append([]string{l.cfg.runtime()}, l.crunArgs(args...)...)
}

// create runs conmon, which runs `crun create`, and returns the pid of the instance's first
// process, which waits for `crun start`.
func (l launcher) create(ctx context.Context, id, dir string, group *os.File) (int, error) {
	syncRead, syncWrite, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer syncRead.Close()  // read-only
	defer syncWrite.Close() // closed before; here for the errors
	cmd, output, err := l.conmon(ctx, id, dir)
	if err != nil {
		return 0, err
	}
	defer output.Close() // conmon has its own descriptor
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer nothing.Close() // read-only
	// conmon waits for its start pipe's end; there is nothing that it should wait for.
	cmd.Env = append(cmd.Env, "_OCI_SYNCPIPE=3", "_OCI_STARTPIPE=4")
	cmd.ExtraFiles = []*os.File{syncWrite, nothing}
	// In its cgroup from its very first moment: cgroup.kill finds it, whenever this process dies.
	cmd.SysProcAttr = &unix.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd()), Setsid: true}
	// Run returns at once, for conmon goes into the background. The sync pipe ends with its last writer.
	if err := errors.Join(cmd.Run(), syncWrite.Close()); err != nil {
		return 0, fmt.Errorf("conmon: %w: %s", err, tail(output.Name()))
	}
	return l.awaitCreated(syncRead, output.Name())
}

func (l launcher) conmon(ctx context.Context, id, dir string) (*exec.Cmd, *os.File, error) {
	args := []string{
		"--cid", id, "--cuuid", id, "--name", id,
		"--runtime", l.cfg.runtime(),
		"--bundle", dir,
		"--container-pidfile", filepath.Join(dir, "init.pid"),
		"--conmon-pidfile", filepath.Join(dir, "conmon.pid"),
		"--log-path", "k8s-file:" + filepath.Join(dir, "log"),
		"--log-size-max", strconv.Itoa(logLimit),
		"--exit-dir", filepath.Join(dir, "exit"),
		"--socket-dir-path", dir, "--full-attach",
		"--log-level", "error",
	}
	for _, a := range append(l.crunArgs(), "--log="+filepath.Join(dir, "crun.log")) {
		args = append(args, "--runtime-arg", a)
	}
	// Explicit files everywhere: an inherited pipe of the server's would never close.
	output, err := os.OpenFile(filepath.Join(dir, "conmon.out"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, diskError(err, "starting "+id)
	}
	// Not bound to ctx: it lives on when the caller gives up waiting.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "conmon", args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.Dir = "/" // wherever the server was started may be gone
	cmd.Stdout, cmd.Stderr = output, output
	return cmd, output, nil
}

// awaitCreated reads conmon's report: the pid, or crun's words of why there is none.
func (launcher) awaitCreated(sync *os.File, output string) (int, error) {
	// crun creates in milliseconds; the bound is for a machine that has come to a halt.
	if err := sync.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, err
	}
	var report struct {
		Pid     int    `json:"pid"`
		Message string `json:"message"`
	}
	if err := json.NewDecoder(sync).Decode(&report); err != nil {
		return 0, fmt.Errorf("conmon said nothing of the instance: %w: %s", err, tail(output))
	}
	if report.Pid <= 0 {
		return 0, startError(report.Message, nil)
	}
	return report.Pid, nil
}

// What a shell exits with when it can't run a command.
const (
	notExecutable = 126
	notFound      = 127
)

// unrunnable is the failure of a command that isn't there, or isn't a program.
type unrunnable struct {
	said string // what is wrong with it
	code int    // notExecutable or notFound
}

// Error implements error.
func (u unrunnable) Error() string { return "the command can't be run: " + u.said }

func (u unrunnable) explained() error {
	return imx.Errorf(imx.Invalid, "%w", u).
		WithHint("the command must be an executable file of the image, given by its path")
}

// startError turns crun's words into an error that a person can act on.
func startError(said string, cause error) error {
	said = strings.TrimSpace(said)
	// crun writes "2026-...Z: executable file `x` not found in $PATH: No such file or directory"
	if i := strings.LastIndex(said, "Z: "); i >= 0 {
		said = said[i+len("Z: "):]
	}
	said = strings.TrimPrefix(said, "error: ")
	if strings.Contains(said, "executable") || strings.Contains(said, "exec ") {
		code := notExecutable
		lower := strings.ToLower(said) // crun's C library and this program differ in "Not a directory"
		if strings.Contains(lower, "not found") || strings.HasSuffix(lower, unix.ENOENT.Error()) || strings.HasSuffix(lower, unix.ENOTDIR.Error()) {
			code = notFound
		}
		return unrunnable{said, code}.explained()
	}
	if cause != nil {
		return fmt.Errorf("crun: %s: %w", said, cause)
	}
	return fmt.Errorf("crun: %s", said)
}

// naming makes crun's words of a command that can't be run name it, if they don't.
func naming(err error, r imx.Release) error {
	u, ok := errors.AsType[unrunnable](err)
	args, missing := command(r)
	if !ok || missing != nil || strings.Contains(u.said, args[0]) {
		return err
	}
	u.said = args[0] + ": " + strings.TrimPrefix(u.said, "open executable: ")
	return u.explained()
}

func identifyBoth(pid int, monitorFile string) (launched, error) {
	text, err := os.ReadFile(monitorFile)
	if err != nil {
		return launched{}, err
	}
	monitorPid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return launched{}, err
	}
	initProcess, err := identify(pid)
	if err != nil {
		return launched{}, err
	}
	monitor, err := identify(monitorPid)
	return launched{initProcess, monitor}, err
}

// tail returns the last words of a small file, to say them in an error.
func tail(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	data = bytes.TrimSpace(data)
	return string(data[max(0, len(data)-300):])
}

// clear takes away everything that a launch of the instance made outside of its folder, whole or
// half done, and the parts of its folder that only a living instance needs.
func (l launcher) clear(ctx context.Context, id string) error {
	dir := l.store.instance(id)
	errs := []error{l.cgroups.clear(ctx, id), os.RemoveAll(filepath.Join(l.cfg.crunDir(), id))}
	for _, name := range []string{"config.json", "init.pid", "conmon.pid", "conmon.out", "crun.log", "ctl", "winsz", "attach", "exit", kitsFolder} {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, name)))
	}
	return errors.Join(errs...)
}

// exitCode returns what conmon wrote at the end of the instance's first process, or false.
func (l launcher) exitCode(id string) (int, bool) {
	text, err := os.ReadFile(filepath.Join(l.store.instance(id), "exit", id))
	if err != nil {
		return 0, false
	}
	code, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return code, err == nil
}
