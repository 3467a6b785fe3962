package local

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"imx"
)

// bundle is all that the OCI specification of one instance is decided from.
type bundle struct {
	record   record
	release  imx.Release
	root     string // host path of the mounted root
	netns    string // host path of its network namespace
	volumes  string // host path of the service's volumes
	probe    string // Config.Probe
	identity identity
	accounts accounts
	nofile   uint64 // the most open files that may be allowed without raising the engine's own limit
	oomScore int    // the engine's own oom_score_adj
}

// Sizes of the file systems in memory that every instance has; they count into its memory limit.
const (
	tmpSize = 16 << 20
	shmSize = 64 << 20
)

// spec returns the OCI runtime specification of an instance: no capability, no way to one, and no
// place to put a file and run it.
func (b bundle) spec() (*specs.Spec, error) {
	args, err := command(b.release)
	if err != nil {
		return nil, err
	}
	mounts, err := b.mounts()
	if err != nil {
		return nil, err
	}
	cwd := b.release.Config.WorkDir
	if cwd == "" {
		cwd = "/"
	}
	return &specs.Spec{
		Version:  "1.0.0",
		Root:     &specs.Root{Path: b.root, Readonly: true},
		Hostname: b.release.Service,
		Process: &specs.Process{
			Args: args,
			Env:  b.environment(),
			Cwd:  cwd,
			User: specs.User{UID: b.identity.UID, GID: b.identity.GID, AdditionalGids: b.identity.Groups},
			// Five empty sets: a nil one would mean "leave as it is".
			Capabilities:    &specs.LinuxCapabilities{},
			NoNewPrivileges: true,
			OOMScoreAdj:     &b.oomScore,
			Rlimits: []specs.POSIXRlimit{
				{Type: "RLIMIT_NOFILE", Soft: min(1024, b.nofile), Hard: b.nofile},
				{Type: "RLIMIT_CORE"},
			},
		},
		Mounts: mounts,
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.CgroupNamespace},
				{Type: specs.NetworkNamespace, Path: b.netns},
			},
			Seccomp:           seccompProfile(),
			MaskedPaths:       maskedPaths(),
			ReadonlyPaths:     []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
			RootfsPropagation: "private",
		},
	}, nil
}

func command(r imx.Release) ([]string, error) {
	args := r.Spec.Command
	if len(args) == 0 {
		args = r.Config.Command
	}
	if len(args) == 0 {
		return nil, imx.Errorf(imx.Invalid, "service %q has no command", r.Service).
			WithHint("give the image or the service a command")
	}
	return args, nil
}

func (b bundle) environment() []string {
	env := map[string]string{
		"PATH":         "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME":         b.identity.Home,
		"IMX_INSTANCE": b.record.Instance.ID,
		"IMX_SERVICE":  b.release.Service,
		"IMX_RELEASE":  fmt.Sprint(b.release.Number),
	}
	maps.Copy(env, b.release.Config.Environment)
	maps.Copy(env, b.release.Spec.Environment)
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// mounts returns everything that is mounted over the root, parents before what lies in them. What
// can be written to can't be executed from.
func (b bundle) mounts() ([]specs.Mount, error) {
	safe := []string{"nosuid", "noexec", "nodev"}
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: safe},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: append(safe, "ro")},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "mode=755", "size=64k", "ro"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: safe},
		tmpfs("/dev/shm", shmSize, 0o1777, identity{}),
	}
	mounts = append(mounts, b.probeMount()...)
	fixed := len(mounts)
	declared := false
	for _, t := range b.release.Spec.Tmpfs {
		m, err := b.tmpfs(t)
		if err != nil {
			return nil, err
		}
		declared = declared || m.Destination == "/tmp"
		mounts = append(mounts, m)
	}
	if !declared {
		mounts = append(mounts, tmpfs("/tmp", tmpSize, 0o1777, identity{}))
	}
	for _, v := range b.release.Spec.Volumes {
		mounts = append(mounts, specs.Mount{
			Destination: path.Clean(v.Path), Type: "bind", Source: filepath.Join(b.volumes, v.Name),
			Options: append([]string{"bind", "rw", "private"}, safe...),
		})
	}
	slices.SortStableFunc(mounts[fixed:], func(x, y specs.Mount) int { return strings.Compare(x.Destination, y.Destination) })
	return mounts, nil
}

// probeMount is the probe, for an instance that runs it.
func (b bundle) probeMount() []specs.Mount {
	args, err := command(b.release)
	if err != nil || args[0] != ProbePath || b.probe == "" {
		return nil
	}
	return []specs.Mount{{Destination: ProbePath, Type: "bind", Source: b.probe, Options: []string{"bind", "ro", "nosuid", "nodev", "private"}}}
}

func (b bundle) tmpfs(t imx.Tmpfs) (specs.Mount, error) {
	owner, mode := b.identity, uint32(t.Mode)
	p := path.Clean(t.Path)
	if t.Owner != "" {
		var err error
		if owner, err = b.accounts.resolve(t.Owner); err != nil {
			return specs.Mount{}, fmt.Errorf("tmpfs %s: %w", t.Path, err)
		}
	}
	if mode == 0 {
		mode = 0o700
		if p == "/tmp" {
			mode, owner = 0o1777, identity{}
		}
	}
	size := int64(t.Size)
	if size == 0 {
		size = tmpSize
	}
	return tmpfs(p, size, mode, owner), nil
}

func tmpfs(p string, size int64, mode uint32, owner identity) specs.Mount {
	return specs.Mount{Destination: p, Type: "tmpfs", Source: "tmpfs", Options: []string{
		"nosuid", "noexec", "nodev", "rw",
		fmt.Sprintf("size=%d", size), fmt.Sprintf("mode=%o", mode),
		fmt.Sprintf("uid=%d", owner.UID), fmt.Sprintf("gid=%d", owner.GID),
	}}
}

// maskedPaths tell of the machine or reach into it, for nothing that an instance needs.
func maskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/kmsg",
		"/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware", "/sys/kernel",
	}
}

// seccompProfile is an allow list: a system call that isn't in it fails with EPERM, and clone3,
// whose arguments no filter can see, with ENOSYS, so that libc falls back to clone.
func seccompProfile() *specs.LinuxSeccomp {
	eperm, enosys := uint(syscall.EPERM), uint(syscall.ENOSYS)
	profile := &specs.LinuxSeccomp{
		DefaultAction:   specs.ActErrno,
		DefaultErrnoRet: &eperm,
		Architectures:   architectures(),
		Syscalls: []specs.LinuxSyscall{
			{Names: allowedCalls(), Action: specs.ActAllow},
			{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: &enosys},
			{Names: []string{"clone"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{
				Index: 0, Value: syscall.CLONE_NEWNS | syscall.CLONE_NEWCGROUP | syscall.CLONE_NEWUTS |
					syscall.CLONE_NEWIPC | syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET,
				ValueTwo: 0, Op: specs.OpMaskedEqual, // no new namespace
			}}},
		},
	}
	// One entry a value: the conditions inside an entry would all have to hold.
	for _, family := range []uint64{syscall.AF_UNIX, syscall.AF_INET, syscall.AF_INET6, syscall.AF_NETLINK} {
		profile.Syscalls = append(profile.Syscalls, equal("socket", family))
	}
	for _, personality := range []uint64{0, 0x0008, 0x20000, 0x20008, 0xffffffff} { // Linux, 32-bit address limits, or: which is it?
		profile.Syscalls = append(profile.Syscalls, equal("personality", personality))
	}
	for call, mode := range map[string]uint{"mknod": 1, "mknodat": 2} { // a named pipe is no device
		profile.Syscalls = append(profile.Syscalls, specs.LinuxSyscall{Names: []string{call}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{
			{Index: mode, Value: syscall.S_IFMT, ValueTwo: syscall.S_IFIFO, Op: specs.OpMaskedEqual},
		}})
	}
	return profile
}

func equal(call string, value uint64) specs.LinuxSyscall {
	return specs.LinuxSyscall{Names: []string{call}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{
		{Index: 0, Value: value, Op: specs.OpEqualTo},
	}}
}
