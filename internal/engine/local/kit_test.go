package local_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/admission"
	"imx/internal/engine"
	"imx/internal/engine/local"
)

// kitOn is a machine that also has an image to lay over its own, with the file /only-in-kit.
func kitOn(t *testing.T) (*machine, imx.Image) {
	m := newMachine(t)
	kit, root := imageIn(t, t.TempDir(), time.Unix(1, 0))
	first := m.cfg.Roots
	m.cfg.Roots = func(ctx context.Context, d imx.Digest) (string, error) {
		if d == kit.Digest {
			return root, nil
		}
		return first(ctx, d)
	}
	return m, kit
}

// A command of a kit has the instance's namespaces, user and memory, and another root, of which the instance sees nothing.
func TestACommandOfAKitIsInTheInstanceButForItsRoot(t *testing.T) {
	m, kit := kitOn(t)
	e := m.running(t)
	r := m.release("web", 1)
	r.Config.User = "app"
	r.Spec.Tmpfs = []imx.Tmpfs{{Path: "/var/run/app", Size: 1 << 20}} // through a link of the image
	in, kitted := e.healthy(t, r, 1)[0], r
	kitted.Image = kit
	if said, err := m.ask(t, in.ID, "/pipe"+query(map[string]string{"path": "/run/app/here"})); said != "" || err != nil {
		t.Fatal(said, err)
	}
	before, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", in.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code, err := e.ExecIn(t.Context(), admission.ForTrial(kitted), engine.KitCommand{Instance: in.ID, Kit: kit, Args: []string{"/bin/app", "look", "/etc/hostname", "/proc/1/comm", "/proc/self/mountinfo", "/run/app/none"}}, &out)
	if err != nil || code != 7 {
		t.Fatal(code, err, out.String())
	}
	text := out.String()
	for _, ns := range []string{"pid", "ipc", "uts", "net", "cgroup"} {
		its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", in.Pid, ns))
		if err != nil || !strings.Contains(text, ns+" "+its+"\n") {
			t.Errorf("namespace %s isn't %s, %v", ns, its, err)
		}
	}
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", in.Pid))
	if err != nil || strings.Contains(text, "mnt "+own+"\n") {
		t.Error("it shares the instance's mounts")
	}
	for _, want := range []string{"user 4711 4712\n", "/etc/hostname web\n", "/proc/1/comm app\n", "write open /written: read-only file system"} {
		if !strings.Contains(text, want) {
			t.Errorf("it doesn't say %q:\n%s", want, text)
		}
	}
	if there, err := os.Stat(fmt.Sprintf("/proc/%d/root/run/app/here", in.Pid)); err != nil || there.Mode()&os.ModeNamedPipe == 0 {
		t.Error("the instance lost what it has in memory", err)
	}
	if after, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", in.Pid)); err != nil || !bytes.Equal(before, after) {
		t.Error("the instance's mounts have changed", err)
	}
	if left, _ := filepath.Glob(filepath.Join(m.cfg.Dir, "instances", in.ID, "kits", "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// What a kit's command finds in memory is the instance's: a socket there can be spoken to.
func TestACommandOfAKitSharesTheInstancesMemory(t *testing.T) {
	m, kit := kitOn(t)
	e := m.running(t)
	r := m.release("web", 1)
	r.Spec.Volumes = []imx.Volume{{Name: "state", Path: "/srv/state"}}
	in, kitted := e.healthy(t, r, 1)[0], r
	kitted.Image = kit
	for _, path := range []string{"/tmp/note", "/dev/shm/note", "/srv/state/note"} {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/root%s", in.Pid, path), []byte("from "+path), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	code, err := e.ExecIn(t.Context(), admission.ForTrial(kitted), engine.KitCommand{Instance: in.ID, Kit: kit, Args: []string{"/bin/app", "look", "/tmp/note", "/dev/shm/note", "/srv/state/note"}}, &out)
	if err != nil || code != 7 {
		t.Fatal(code, err, out.String())
	}
	for _, path := range []string{"/tmp/note", "/dev/shm/note", "/srv/state/note"} {
		if !strings.Contains(out.String(), path+" from "+path) {
			t.Errorf("%s isn't there:\n%s", path, out.String())
		}
	}
}

func TestACommandOfAKitThatCantBeRunHangsOrHasNoPassIsTold(t *testing.T) {
	m, kit := kitOn(t)
	e := m.running(t)
	r := m.release("web", 1)
	in, kitted := e.healthy(t, r, 1)[0], r
	kitted.Image = kit
	var out bytes.Buffer
	if code, err := e.ExecIn(t.Context(), admission.ForTrial(kitted), engine.KitCommand{Instance: in.ID, Kit: kit, Args: []string{"/bin/none"}}, &out); err != nil || code != 127 || !strings.Contains(out.String(), "/bin/none") {
		t.Errorf("%d, %v, %s", code, err, out.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if code, err := e.ExecIn(ctx, admission.ForTrial(kitted), engine.KitCommand{Instance: in.ID, Kit: kit, Args: []string{"/bin/app", "hang"}}, &out); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d, %v, %s", code, err, out.String())
	}
	for _, pass := range []admission.Pass{{}, admission.ForTrial(r)} {
		command := engine.KitCommand{Instance: in.ID, Kit: kit, Args: []string{"/bin/app", "child"}}
		if _, err := e.ExecIn(t.Context(), pass, command, &out); imx.KindOf(err) != imx.Refused {
			t.Errorf("without its pass: %v", err)
		}
	}
	if _, err := e.ExecIn(t.Context(), admission.ForTrial(kitted), engine.KitCommand{Instance: "nobody", Kit: kit, Args: []string{"/bin/app"}}, &out); imx.KindOf(err) != imx.NotFound {
		t.Errorf("%v", err)
	}
}

// When the instance has gone, so has what its kits had.
func TestNothingOfAKitOutlivesItsInstance(t *testing.T) {
	m, kit := kitOn(t)
	e := m.running(t)
	r := m.release("web", 1)
	in, kitted := e.healthy(t, r, 1)[0], r
	kitted.Image = kit
	var out bytes.Buffer
	if code, err := e.ExecIn(t.Context(), admission.ForTrial(kitted), engine.KitCommand{Instance: in.ID, Kit: kit, Args: []string{"/bin/app", "child"}}, &out); err != nil || code != 0 {
		t.Fatal(code, err, out.String())
	}
	e.scale(t, r, 0)
	e.until(t, r, 1, imx.Ended)
	e.stop()
	if err := local.Purge(t.Context(), m.cfg); err != nil {
		t.Fatal(err)
	}
	if traces, err := local.Traces(m.cfg); err != nil || len(traces) > 0 {
		t.Errorf("%v, %v", traces, err)
	}
}
