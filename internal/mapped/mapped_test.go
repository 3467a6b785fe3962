package mapped_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/mapped"
)

// Lines as Linux writes them, in the order of proc_pid_maps(5).
const maps = `55d0c4a00000-55d0c4a2b000 r--p 00000000 00:41 1843                       /usr/sbin/nginx
55d0c4a2b000-55d0c4af0000 r-xp 0002b000 00:41 1843                       /usr/sbin/nginx
7f0c10000000-7f0c10021000 rw-p 00000000 00:00 0
7f0c20000000-7f0c20001000 rw-s 00000000 00:01 2051                       /dev/zero (deleted)
7f0c30000000-7f0c30001000 r-xp 00000000 00:41 99                         /srv/a folder/with (brackets).so (deleted)
7f0c40000000-7f0c40001000 r--p 00000000 00:41 77                         /srv/two\012lines
7ffd1e9d6000-7ffd1e9f7000 rw-p 00000000 00:00 0                          [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
`

func TestMapsAreReadAsLinuxWritesThem(t *testing.T) {
	got, err := mapped.Parse(strings.NewReader(maps))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]mapped.Region{
		{Range: "55d0c4a00000-55d0c4a2b000", Path: "/usr/sbin/nginx"},
		{Range: "55d0c4a2b000-55d0c4af0000", Path: "/usr/sbin/nginx", Runs: true},
		{Range: "7f0c20000000-7f0c20001000", Path: "/dev/zero", Deleted: true},
		{Range: "7f0c30000000-7f0c30001000", Path: "/srv/a folder/with (brackets).so", Runs: true, Deleted: true},
		{Range: "7f0c40000000-7f0c40001000", Path: "/srv/two\nlines"},
	}, got); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"hello\n", "a b c d e f\n", strings.Repeat("x", 1<<20)} {
		if got, err := mapped.Parse(strings.NewReader(text)); err == nil {
			t.Errorf("%.20q: %v", text, got)
		}
	}
}

func TestAProcessThatIsNoInstancesIsRefused(t *testing.T) {
	if _, err := mapped.Under(os.Getpid()); imx.KindOf(err) != imx.Refused {
		t.Error(err)
	}
	if _, err := mapped.Under(1 << 30); imx.KindOf(err) != imx.NotFound {
		t.Error(err)
	}
}

// A real process in a mount namespace of its own: its program, a library that was replaced under it, and one that was
// deleted.
func TestWhatIsMappedIsToldApartFromWhatLiesAtItsPath(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes a mount namespace")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "sleeper")
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip(err)
	}
	bytes, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, bytes, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--fork", "--kill-child", "sh", "-c", "echo ready; exec "+program+" 600")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Skip("unshare doesn't work here")
	}
	sleeper := func() (mapped.Process, mapped.File) {
		for {
			all, err := mapped.Under(cmd.Process.Pid)
			if imx.KindOf(err) == imx.Refused { // it isn't in its namespace yet
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range all {
				if p.Name != "sleeper" || len(p.Files) < 2 { // it is being started, and has its C library last
					continue
				}
				for _, f := range p.Files {
					if f.Path == program {
						return p, f
					}
				}
			}
			if t.Context().Err() != nil {
				t.Fatal("it never ran")
			}
		}
	}
	p, f := sleeper()
	if p.Name != "sleeper" || !f.Runs || f.Gone {
		t.Errorf("%s: %+v", p.Name, f)
	}
	if len(p.Files) < 2 {
		t.Errorf("a program has a C library: %+v", p.Files)
	}
	if err := os.Rename(program, program+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range mustProcess(t, cmd.Process.Pid, p.Pid).Files {
		if f.Path == program+".old" && f.Gone {
			t.Errorf("it was renamed, and is still there: %+v", f)
		}
	}
	if err := os.Remove(program + ".old"); err != nil {
		t.Fatal(err)
	}
	gone := false
	for _, f := range mustProcess(t, cmd.Process.Pid, p.Pid).Files {
		gone = gone || f.Path == program+".old" && f.Gone && f.Runs
	}
	if !gone {
		t.Error("a deleted program that runs isn't told")
	}
}

func mustProcess(t *testing.T, first, pid int) mapped.Process {
	t.Helper()
	all, err := mapped.Under(first)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.Pid == pid {
			return p
		}
	}
	t.Fatalf("process %d isn't there: %+v", pid, all)
	return mapped.Process{}
}

func FuzzParse(f *testing.F) {
	f.Add(maps)
	f.Fuzz(func(t *testing.T, text string) {
		all, err := mapped.Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, r := range all {
			if r.Path == "" && !strings.Contains(text, "deleted") {
				t.Fatalf("%+v", r)
			}
		}
	})
}
