package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"imx"
)

// ByHand is what somebody starts instances with who has conmon, crun and ip, a bundle, and no engine. It makes use of none of the
// engine's ways of doing so, but for what this machine demands (hideUnified) and the few writes that limit an instance.
type ByHand struct {
	engine *Engine
	bundle []byte // of an instance that runs, which is started again and again
	netns  string // that instance's network namespace
	Bridge string // where interfaces of whole ones are
}

// ByHand starts what the instance of that id is.
func (e *Engine) ByHand(id string) (*ByHand, error) {
	bundle, err := os.ReadFile(filepath.Join(e.store.instance(id), "config.json"))
	return &ByHand{engine: e, bundle: bundle, netns: filepath.Join(e.cfg.netnsDir(), id), Bridge: "imxb" + e.cfg.ID}, err
}

// gateway is the bridge's address; handRange is where those that are on it have theirs.
const (
	gateway   = "198.18.0.1"
	handRange = "198.18.0.0/15"
)

// Prepare makes the bridge.
func (h *ByHand) Prepare(ctx context.Context) error {
	return ip(ctx, "", "link add "+h.Bridge+" type bridge", "addr add "+gateway+"/15 dev "+h.Bridge, "link set "+h.Bridge+" up")
}

// Clear takes it away.
func (h *ByHand) Clear(ctx context.Context) error { return ip(ctx, "", "link del "+h.Bridge) }

// Crun starts one with crun alone, in the network of the instance that it is like, without limits. Nobody keeps its output and its
// exit status.
func (h *ByHand) Crun(ctx context.Context, name string) error {
	return h.within(name, func(group *os.File) error {
		dir, err := h.bundleDir(name, h.bundle)
		if err != nil {
			return err
		}
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer null.Close()
		onOwnThread(func() {
			if err = hideUnified(h.engine.cgroups); err != nil {
				return
			}
			cmd := exec.CommandContext(ctx, "crun", "--cgroup-manager=disabled", "--root="+h.engine.cfg.crunDir(), "run", "--detach", "--bundle", dir, name)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = null, null, null
			cmd.SysProcAttr = &unix.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
			err = cmd.Run()
		})
		return err
	})
}

// Bare starts one with conmon and crun, in the network of the instance that it is like, without limits.
func (h *ByHand) Bare(ctx context.Context, name string) error {
	return h.within(name, func(group *os.File) error { return h.run(ctx, name, h.bundle, &entrance{monitor: group}) })
}

// within calls f with a new cgroup, where End finds what is in it.
func (h *ByHand) within(name string, f func(group *os.File) error) error {
	group := h.engine.cgroups.monitor(name)
	if err := os.MkdirAll(group, 0o700); err != nil {
		return err
	}
	dir, err := os.Open(group)
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(dir)
}

// bundleDir makes the folder of a bundle.
func (h *ByHand) bundleDir(name string, bundle []byte) (string, error) {
	dir := h.engine.store.instance(name)
	return dir, errors.Join(os.MkdirAll(filepath.Join(dir, "exit"), 0o700), os.WriteFile(filepath.Join(dir, "config.json"), bundle, 0o600))
}

// Whole starts one with what an instance has: a network namespace with an address on a bridge, and limits.
func (h *ByHand) Whole(ctx context.Context, name string, n int) error {
	address := netip.MustParsePrefix(handRange).Addr().As4()
	address[2], address[3] = byte(n/200+1), byte(n%200+1)
	veth := h.Bridge + fmt.Sprint(n)
	err := errors.Join(
		exec.CommandContext(ctx, "ip", "netns", "add", name).Run(),
		ip(ctx, "", "link add "+veth+" type veth peer name eth0 netns "+name, "link set "+veth+" master "+h.Bridge+" up"),
		ip(ctx, name, "link set lo up", "addr add "+netip.AddrFrom4(address).String()+"/15 dev eth0", "link set eth0 up", "route add default via "+gateway),
		h.engine.cgroups.make(name, imx.Resources{}),
	)
	if err != nil {
		return err
	}
	way, err := h.engine.cgroups.open(name)
	if err != nil {
		return err
	}
	defer way.close()
	return h.run(ctx, name, bytes.ReplaceAll(h.bundle, []byte(h.netns), []byte("/run/netns/"+name)), way)
}

// ip runs the ip program once, for several commands, in a network namespace if one is named.
func ip(ctx context.Context, netns string, lines ...string) error {
	args := []string{"-batch", "-"}
	if netns != "" {
		args = append([]string{"-n", netns}, args...)
	}
	cmd := exec.CommandContext(ctx, "ip", args...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip: %w: %s", err, out)
	}
	return nil
}

// run creates the container with conmon and crun, puts it under its limits, and starts it.
func (h *ByHand) run(ctx context.Context, name string, bundle []byte, way *entrance) error {
	dir, err := h.bundleDir(name, bundle)
	if err != nil {
		return err
	}
	onOwnThread(func() {
		var pid int
		if err = hideUnified(h.engine.cgroups); err != nil {
			return
		}
		if pid, err = h.conmon(ctx, name, dir, way.monitor); err != nil {
			return
		}
		if err = way.enter(pid); err == nil {
			err = exec.CommandContext(ctx, "crun", "--cgroup-manager=disabled", "--root="+h.engine.cfg.crunDir(), "start", name).Run()
		}
	})
	return err
}

// conmon returns the process that conmon and crun made.
func (h *ByHand) conmon(ctx context.Context, name, dir string, group *os.File) (int, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer read.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, errors.Join(err, write.Close())
	}
	defer null.Close()
	cmd := exec.CommandContext(ctx, "/usr/bin/conmon", "--cid", name, "--cuuid", name, "--name", name, "--runtime", "/usr/bin/crun",
		"--bundle", dir, "--container-pidfile", filepath.Join(dir, "init.pid"), "--conmon-pidfile", filepath.Join(dir, "conmon.pid"),
		"--log-path", "k8s-file:"+filepath.Join(dir, "log"), "--exit-dir", filepath.Join(dir, "exit"), "--socket-dir-path", dir, "--full-attach",
		"--runtime-arg", "--cgroup-manager=disabled", "--runtime-arg", "--root="+h.engine.cfg.crunDir())
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "_OCI_SYNCPIPE=3", "_OCI_STARTPIPE=4"}
	cmd.ExtraFiles = []*os.File{write, null}
	cmd.SysProcAttr = &unix.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd()), Setsid: true}
	if err := errors.Join(cmd.Run(), write.Close()); err != nil {
		return 0, err
	}
	var report struct {
		Pid     int    `json:"pid"`
		Message string `json:"message"`
	}
	if err := json.NewDecoder(read).Decode(&report); err != nil || report.Pid <= 0 {
		return 0, fmt.Errorf("conmon: %w: %s", err, report.Message)
	}
	return report.Pid, nil
}

// End takes away what Bare or Whole made.
func (h *ByHand) End(ctx context.Context, name string) error {
	err := errors.Join(h.engine.clear(ctx, name), os.RemoveAll(h.engine.store.instance(name)))
	if _, missing := os.Stat("/run/netns/" + name); missing == nil {
		err = errors.Join(err, exec.CommandContext(ctx, "ip", "netns", "del", name).Run())
	}
	return err
}
