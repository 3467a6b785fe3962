package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"imx/internal/admission"
	"imx/internal/engine"
)

// kitsFolder is where in an instance's folder commands of kits have what they mount.
const kitsFolder = "kits"

// ExecIn is Exec with another root: that of a kit, with the configuration of the instance's release over it.
// The instance has no part in that: its own mounts, root and files stay as they are, and only its file systems in memory
// and its volumes are the program's, too. All else, from namespaces to the system call filter, is as Exec has it.
// The pass is one for the instance's release with the kit as its image.
// Errors: as Exec; Refused without a pass; as Scale where the kit's root can't be mounted.
func (e *Engine) ExecIn(ctx context.Context, p admission.Pass, c engine.KitCommand, out io.Writer) (int, error) {
	id := c.Instance
	in, ok := e.living(id)
	if !ok {
		return -1, unknown(id)
	}
	release := in.release
	release.Image = c.Kit
	if err := p.Covers(release); err != nil {
		return -1, err
	}
	key := id + "-" + c.Kit.Root.Short()
	defer e.use(key)()
	root, err := e.roots.prepareAs(ctx, key, release)
	if err != nil {
		return -1, err
	}
	dir, err := makeKitDir(e.store.instance(id))
	if err != nil {
		return -1, err
	}
	name := id + "-" + filepath.Base(dir)
	defer func() {
		// What is mounted there is so elsewhere; and what isn't removed is when the instance has ended.
		_ = errors.Join(os.RemoveAll(dir), os.RemoveAll(filepath.Join(e.cfg.crunDir(), name)))
	}()
	way, err := e.cgroups.open(id)
	if err != nil {
		return -1, err
	}
	defer way.close()
	code, before := -1, e.cgroups.oomKills(id)
	onOwnThread(func() {
		var b beside
		var spaces *spaces
		if err = e.ownMounts(); err != nil {
			return
		}
		if spaces, err = openSpaces(in); err != nil {
			return
		}
		defer spaces.close()
		if b.document, err = e.kitBundle(id, spaces, dir, kitProcess{root, c.Args}); err != nil {
			return
		}
		b.crun, b.way = e.crun("--log="+filepath.Join(dir, crunLog), "run", "--bundle", dir, "--config", "/proc/self/fd/3", name), way
		code, err = b.run(ctx, out)
	})
	if err == nil && code == killed {
		err = e.starved(id, in.release, before)
	}
	if err != nil {
		return code, err
	}
	return kitStatus(code, dir, out)
}

// crunLog is where crun says why it didn't run something: a status of its own is none of the program's.
const crunLog = "crun.log"

// kitStatus is the status of a program that crun has run, or was to run.
func kitStatus(code int, dir string, out io.Writer) (int, error) {
	said, err := os.ReadFile(filepath.Join(dir, crunLog))
	if len(said) == 0 || err != nil || code == 0 {
		return code, nil //nolint:nilerr // without a log there is nothing to say
	}
	err = startError(string(said), nil)
	u, ok := errors.AsType[unrunnable](err)
	if !ok {
		return -1, err
	}
	_, _ = fmt.Fprintln(out, u) // who doesn't take it has the status
	return u.code, nil
}

// living returns an instance whose first process runs.
func (e *Engine) living(id string) (*instance, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	in := e.instances[id]
	return in, in != nil && !in.starting && !in.record.Cleared && !isWarm(in.record.Instance.Phase) && !in.init.gone()
}

// use keeps a root from being unmounted until done is called.
func (e *Engine) use(key string) (done func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.uses.kits[key]++
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.uses.kits[key]--; e.uses.kits[key] == 0 {
			delete(e.uses.kits, key)
		}
	}
}

func makeKitDir(instance string) (string, error) {
	all := filepath.Join(instance, kitsFolder)
	if err := os.MkdirAll(all, 0o700); err != nil {
		return "", diskError(err, "making a folder for a command")
	}
	dir, err := os.MkdirTemp(all, "kit")
	return dir, diskError(err, "making a folder for a command")
}

// ownMounts gives the calling thread mounts of its own, in which crun works.
func (e *Engine) ownMounts() error {
	if len(e.cgroups.v1) > 0 {
		return hideUnified(e.cgroups)
	}
	return privateMounts()
}

// spaces are an instance's namespaces, open: whatever becomes of its process, they are its own.
type spaces struct {
	files map[specs.LinuxNamespaceType]*os.File
}

func openSpaces(in *instance) (*spaces, error) {
	all := &spaces{map[specs.LinuxNamespaceType]*os.File{}}
	for kind, name := range map[specs.LinuxNamespaceType]string{
		specs.PIDNamespace: "pid", specs.MountNamespace: "mnt", specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts",
		specs.CgroupNamespace: "cgroup", specs.NetworkNamespace: "net",
	} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", in.record.Init.Pid, name))
		if err != nil {
			all.close()
			return nil, unknown(in.record.Instance.ID)
		}
		all.files[kind] = f
	}
	if in.init.gone() { // and its pid may have been another's
		all.close()
		return nil, unknown(in.record.Instance.ID)
	}
	return all, nil
}

func (s *spaces) close() {
	for _, f := range s.files {
		_ = f.Close() // nothing was written
	}
}

// path is where crun finds a namespace.
func (s *spaces) path(kind specs.LinuxNamespaceType) string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.files[kind].Fd())
}

// kitProcess is what is run of a kit.
type kitProcess struct {
	root string // host path
	args []string
}

// kitBundle is the bundle of a program that is run in a kit beside an instance: the instance's, with other mounts.
// What of the instance's is mounted for it is so below dir, for the calling thread and what it starts alone.
func (e *Engine) kitBundle(id string, s *spaces, dir string, p kitProcess) ([]byte, error) {
	var spec specs.Spec
	if err := read(filepath.Join(e.store.instance(id), "config.json"), &spec); err != nil {
		return nil, fmt.Errorf("reading the instance's bundle: %w", err)
	}
	spec.Root.Path, spec.Process.Args, spec.Hostname = p.root, p.args, ""
	for i, ns := range spec.Linux.Namespaces {
		if ns.Type != specs.MountNamespace {
			spec.Linux.Namespaces[i].Path = s.path(ns.Type)
		}
	}
	var points []string
	for i, m := range spec.Mounts {
		if m.Type != "tmpfs" || m.Destination == "/dev" {
			continue
		}
		source := filepath.Join(dir, strconv.Itoa(len(points)))
		points = append(points, m.Destination)
		spec.Mounts[i] = specs.Mount{
			Destination: m.Destination, Type: "bind", Source: source, Options: []string{"bind", "rw", "private", "nosuid", "noexec", "nodev"},
		}
	}
	if err := borrow(s.files[specs.MountNamespace], points, dir); err != nil {
		return nil, fmt.Errorf("mounting what instance %s has in memory: %w", id, err)
	}
	return json.Marshal(spec)
}

// borrow mounts what is mounted at points of a mount namespace at dir/0, dir/1 and so on, in the calling thread's own.
func borrow(from *os.File, points []string, dir string) error {
	own, err := os.Open("/proc/thread-self/ns/mnt")
	if err != nil {
		return err
	}
	defer own.Close() // nothing is written
	var trees []int
	defer func() {
		for _, fd := range trees {
			_ = unix.Close(fd) // mounted, or not needed
		}
	}()
	if err := unix.Setns(int(from.Fd()), unix.CLONE_NEWNS); err != nil {
		return err
	}
	for _, point := range points {
		fd, failed := unix.OpenTree(unix.AT_FDCWD, point, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if failed != nil {
			err = failed
			break
		}
		trees = append(trees, fd)
	}
	if err := errors.Join(err, unix.Setns(int(own.Fd()), unix.CLONE_NEWNS)); err != nil {
		return err
	}
	for i, fd := range trees {
		target := filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(target, 0o700); err != nil {
			return err
		}
		if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return err
		}
	}
	return nil
}
