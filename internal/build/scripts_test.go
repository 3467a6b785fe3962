// Maintainer scripts are foreign code that runs as root. These tests run hostile and broken ones, and
// look for what they left on the host.

package build_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/build"
	"imx/internal/erofs/erofstest"
)

// script is a package whose only content is a postinst.
func script(name, text string) pkg {
	return pkg{Name: name, Scripts: map[string]string{"postinst": "#!/bin/bash\n" + text + "\n"}}
}

// left reports processes whose command line has the word, and mounts below dir.
func left(tb testing.TB, dir, word string) []string {
	tb.Helper()
	var found []string
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range all {
		if line, err := os.ReadFile(name); err == nil && strings.Contains(string(line), word) {
			found = append(found, name+": "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir) {
			found = append(found, line)
		}
	}
	return found
}

// nothingLeft waits until the kernel has taken down what was killed.
func nothingLeft(tb testing.TB, word string) {
	tb.Helper()
	dir := filepath.Join(shared.dir, "build")
	deadline := time.After(10 * time.Second)
	for {
		found := left(tb, dir, word)
		if entries, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(entries) > 0 {
			found = append(found, fmt.Sprint("tmp: ", entries, err))
		}
		if groups, err := shared.builder.Groups(); err != nil || len(groups) > 0 {
			found = append(found, fmt.Sprint("groups: ", groups, err))
		}
		if len(found) == 0 {
			return
		}
		select {
		case <-deadline:
			tb.Fatalf("left behind: %s", strings.Join(found, "\n"))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestAScriptThatFailsIsNamedWithTheLastItWroteAndItsDaemonsAreGone(t *testing.T) {
	w, b := host(t)
	_, err := b.Run(t.Context(), w.own(t, imx.ImageSpec{}, script("broken", `
setsid sleep 31536001 &
(setsid sleep 31536001 </dev/null >/dev/null 2>&1 &)
for i in $(seq 100); do echo "line $i"; done
echo the database is missing >&2
exit 3`)), w.fetch, log(t))
	if imx.KindOf(err) != imx.Invalid {
		t.Errorf("kind %q", imx.KindOf(err))
	}
	for _, want := range []string{"building image.own: configuring the package broken: ", "line 100\n", "the database is missing", "exit status 3"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "line 1\n") {
		t.Errorf("the error shows all of the output: %v", err)
	}
	nothingLeft(t, "31536001")
}

func TestADaemonThatAScriptLeavesBehindEndsWithTheBuild(t *testing.T) {
	w, b := host(t)
	run(t, b, w.own(t, imx.ImageSpec{}, script("daemon", `(trap "" TERM HUP; setsid sleep 31536002 &) >/dev/null 2>&1`)))
	nothingLeft(t, "31536002")
}

func TestAScriptThatHangsIsStoppedAtTheLimit(t *testing.T) {
	w, _ := host(t)
	cfg := w.config(filepath.Join(shared.dir, "build"))
	cfg.Limit = 2 * time.Second
	b, err := build.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Run(t.Context(), w.own(t, imx.ImageSpec{}, script("hangs", "echo waiting for the moon; sleep 31536003")), w.fetch, log(t))
	if imx.KindOf(err) != imx.Exhausted || !strings.Contains(err.Error(), "configuring the package hangs: it was stopped after 2s") ||
		!strings.Contains(err.Error(), "waiting for the moon") {
		t.Errorf("kind %q: %v", imx.KindOf(err), err)
	}
	nothingLeft(t, "31536003")
}

// bounded is the shared builder with other bounds.
func bounded(tb testing.TB, change func(*build.Config)) *build.Builder {
	tb.Helper()
	cfg := shared.world.config(filepath.Join(shared.dir, "build"))
	change(&cfg)
	b, err := build.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestTheLimitOfAStepIsForEachPackageAnew(t *testing.T) {
	w, _ := host(t)
	b := bounded(t, func(c *build.Config) { c.StepLimit = 2 * time.Second })
	var slow []pkg
	for _, name := range []string{"slow-a", "slow-b", "slow-c", "slow-d"} {
		slow = append(slow, script(name, "sleep 0.9"))
	}
	run(t, b, w.own(t, imx.ImageSpec{}, slow...))
	_, err := b.Run(t.Context(), w.own(t, imx.ImageSpec{}, append(slow, script("slow-e", "echo the last word; sleep 31536006"))...), w.fetch, log(t))
	if imx.KindOf(err) != imx.Exhausted || !strings.Contains(err.Error(), "configuring the package slow-e: it was stopped after 2s") ||
		!strings.Contains(err.Error(), "the last word") {
		t.Errorf("kind %q: %v", imx.KindOf(err), err)
	}
	nothingLeft(t, "31536006")
}

// harmful are scripts that the builder must not let have their way: what they do, how the build ends
// (nil kind: well) and what its error says.
func harmful() map[string]struct {
	pkg  pkg
	kind imx.Kind
	says []string
} {
	type harm = struct {
		pkg  pkg
		kind imx.Kind
		says []string
	}
	const asks = `. /usr/share/debconf/confmodule
db_input critical asks/name || true
db_go || true
db_get asks/name
test -n "$RET" || { echo "nobody gave a name" >&2; exit 9; }`
	question := script("asks", asks)
	question.Scripts["templates"] = "Template: asks/name\nType: string\nDescription: Name?\n It must have one.\n"
	early := pkg{Name: "early", Scripts: map[string]string{"preinst": "#!/bin/sh\necho too early to tell; exit 4\n"}}
	return map[string]harm{
		"forks without end":        {script("forks", `bomb() { bomb | bomb & }; bomb; sleep 31536007`), imx.Exhausted, []string{"more than 64 processes"}},
		"takes all memory":         {script("eats", `x=$(tr '\0' x </dev/zero)`), imx.Exhausted, []string{"more than 128.0 MiB of memory"}},
		"fills the temporary disk": {script("fills", `cat /dev/zero >/tmp/31536007`), imx.Exhausted, []string{"more than 128.0 MiB of memory"}},
		"reads an answer":          {script("reads", `echo "Proceed?"; read answer || { echo "no answer" >&2; exit 7; }`), imx.Invalid, []string{"Proceed?", "no answer"}},
		"asks by debconf":          {question, imx.Invalid, []string{"nobody gave a name"}},
		"wants the network":        {script("calls", `exec 3<>/dev/tcp/192.0.2.1/80`), imx.Invalid, []string{"Network is unreachable"}},
		"fails before unpacking":   {early, imx.Invalid, []string{"unpacking the package early", "too early to tell"}},
		"kills the first process":  {script("kills", `kill -KILL 1; kill -TERM 1; kill -HUP 1; test -e /proc/1/comm`), "", nil},
		"kills all processes":      {script("slays", `(sleep 31536007 &) ; trap "" TERM; kill -TERM -1; kill -KILL -1 || true`), "", nil},
	}
}

func TestAScriptThatDoesHarmIsStoppedOrHasNoEffect(t *testing.T) {
	w, b := host(t)
	if !b.Caged() {
		t.Skip("this machine has no control groups for memory and processes")
	}
	run(t, b, w.own(t, imx.ImageSpec{}, pkg{Name: "base"})) // the base may use more
	small := bounded(t, func(c *build.Config) {
		c.Memory, c.Processes, c.StepLimit = 128<<20, 64, 20*time.Second
	})
	for does, harm := range harmful() {
		t.Run(does, func(t *testing.T) {
			_, err := small.Run(t.Context(), w.own(t, imx.ImageSpec{}, harm.pkg), w.fetch, quiet)
			if imx.KindOf(err) != harm.kind {
				t.Errorf("kind %q: %v", imx.KindOf(err), err)
			}
			for _, want := range append(harm.says, harm.pkg.Name) {
				if err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q: %v", want, err)
				}
			}
			nothingLeft(t, "31536007")
		})
	}
}

func TestAScriptThatWritesWithoutEndIsStopped(t *testing.T) {
	w, b := host(t)
	_, err := b.Run(t.Context(), w.own(t, imx.ImageSpec{}, script("talks", "yes and so on")), w.fetch, log(t))
	if imx.KindOf(err) != imx.Exhausted || !strings.Contains(err.Error(), "of output") || len(err.Error()) > 4096 {
		t.Errorf("kind %q: %.4096v", imx.KindOf(err), err)
	}
	nothingLeft(t, "and so on")
}

func TestACancelledBuildStopsAtOnceAndTheNextOneWorks(t *testing.T) {
	w, b := host(t)
	p := w.own(t, imx.ImageSpec{}, script("slow", "test -e /usr/share/patience || sleep 31536004"))
	ctx, cancel := context.WithCancel(t.Context())
	report := func(pr imx.Progress) {
		if pr.Message == "configuring slow" {
			cancel()
		}
	}
	if _, err := b.Run(ctx, p, w.fetch, report); ctx.Err() == nil || err == nil {
		t.Errorf("cancelled: %v", err)
	}
	nothingLeft(t, "31536004")
	p.Ship = append(p.Ship, w.put(t, pkg{Name: "a-patience", Files: files{{Path: "/usr/share/patience"}}}))
	run(t, b, p)
}

func TestAScriptSeesNothingOfTheHostAndHasNoPowerOverIt(t *testing.T) {
	w, b := host(t)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hostonly"), 0o644); err != nil {
		t.Fatal(err)
	}
	res := run(t, b, w.own(t, imx.ImageSpec{Generated: []string{"/etc/seen"}}, script("looks", fmt.Sprintf(`
exec >/etc/seen 2>/dev/null
try() { name=$1; shift; if "$@" >/dev/null 2>&1; then echo "$name: yes"; else echo "$name: no"; fi; }
connect() { exec 3<>/dev/tcp/127.0.0.1/%s; }
talk() { perl -MIO::Socket::INET -e '
	my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1) or exit 1;
	IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $s->sockport) or exit 1'; }
escape() { mkdir -p /srv/x && perl -e 'chroot("/srv/x") or exit 1; chdir("..") for 1..20; chroot("."); exit(-e "%s" ? 0 : 1)'; }
echo "host: $(hostname), in full $(hostname --fqdn)"
echo "user: $(id -u)"
echo "interfaces: $(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | xargs)"
echo "first process: $(cat /proc/1/comm)"
echo "capabilities: $(grep CapBnd /proc/self/status | cut -f2)"
echo "no new privileges: $(grep NoNewPrivs /proc/self/status | cut -f2)"
echo "devices: $(ls /dev | xargs)"
echo "time zone: $(date -d @0 +%%Z), epoch: $SOURCE_DATE_EPOCH, umask: $(umask), input: $(wc -c </dev/stdin)"
echo "frontend: $DEBIAN_FRONTEND"
try "the host's files" cat %s
try "way out of the root" escape
try "network" connect
try "loopback of its own" talk
try "mount" mount -t tmpfs none /mnt
try "mount in a user namespace" unshare -Urm mount -t tmpfs none /mnt
try "device nodes" mknod /tmp/null c 1 3
try "kernel settings" sh -c 'echo /tmp/x >/proc/sys/kernel/core_pattern'
try "trigger" sh -c 'echo h >/proc/sysrq-trigger'
try "the packages" touch /run/packages/x
try "services" invoke-rc.d --force nothing start
try "policy" /usr/sbin/policy-rc.d
rm -rf /srv/x
`, port, secret, secret))))
	got, err := os.ReadFile(filepath.Join(erofstest.Mounted(t, b, res.Image.Digest), "etc/seen"))
	if err != nil {
		t.Fatal(err)
	}
	want := `host: build, in full build.localdomain
user: 0
interfaces: lo
first process: dpkg
capabilities: 00000000800000fb
no new privileges: 1
devices: fd full null random shm stderr stdin stdout tty urandom zero
time zone: UTC, epoch: 1740830400, umask: 0022, input: 0
frontend: noninteractive
the host's files: no
way out of the root: no
network: no
loopback of its own: yes
mount: no
mount in a user namespace: no
device nodes: no
kernel settings: no
trigger: no
the packages: no
services: no
policy: no
`
	if string(got) != want {
		t.Errorf("a script saw\n%swanted\n%s", got, want)
	}
}
