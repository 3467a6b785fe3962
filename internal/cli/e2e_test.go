package cli_test

// The end-to-end scripts run real instances of a small static program, so that they need no
// archive: an image without packages is made of the template's files alone.

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"imx"
	"imx/internal/daemon"
	"imx/internal/engine/local"
	"imx/internal/load"
)

// buildHello builds the program of the instances, for as long as the test and its scripts run.
func buildHello(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hello")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./testdata/hello")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// networks counts the ranges that scripts were given: each server has one of its own.
var networks atomic.Int64

// freeNetwork returns a range of addresses that no other server of the machine has: one that was killed may have left
// routes and links, whatever started it.
func freeNetwork() (string, error) {
	for range 256 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 254, byte(int64(os.Getpid()) + networks.Add(1)), 0}), 24)
		if local.CheckNetwork(p, "none") == nil {
			return p.String(), nil
		}
	}
	return "", errors.New("no range in 10.254.0.0/16 is free")
}

// e2eParams adds to params what scripts with instances need: the program at $HELLO, free ports
// $PORT, $PORT2 and $PORT3, ranges of addresses $NETWORK and $NETWORK2, and the commands below.
func e2eParams(t *testing.T, dir string) testscript.Params {
	t.Helper()
	hello, plain, watched := buildHello(t), plainProgram(t), watchedProgram(t)
	shop, err := filepath.Abs("../../examples/shop")
	if err != nil {
		t.Fatal(err)
	}
	p := params(t, dir)
	setup := p.Setup
	p.Setup = func(e *testscript.Env) error {
		if err := setup(e); err != nil {
			return err
		}
		e.Setenv("HELLO", hello)
		if isWatched(e) {
			use(e, watched)
			e.Setenv("IMX_PROBE", plain) // it runs in instances, and has to be static for that
		}
		e.Setenv("SHOP", shop)
		for _, name := range []string{"NETWORK", "NETWORK2"} {
			network, err := freeNetwork()
			if err != nil {
				return err
			}
			e.Setenv(name, network)
		}
		for _, name := range []string{"PORT", "PORT2", "PORT3"} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			_, port, err := net.SplitHostPort(l.Addr().String())
			if err != nil {
				return err
			}
			e.Setenv(name, port)
			if err := l.Close(); err != nil {
				return err
			}
		}
		return nil
	}
	p.Cmds["get"] = get
	p.Cmds["once"], p.Cmds["later"] = once, later
	p.Cmds["hold"], p.Cmds["between"] = hold, between
	p.Cmds["load"] = loads()
	p.Cmds["until"] = until
	p.Cmds["expand"] = expand
	p.Cmds["garble"] = garble
	p.Cmds["anyapply"] = anyapply
	p.Cmds["collecting"] = collecting
	p.Cmds["flip"] = flip
	p.Cmds["tag"] = tag
	p.Cmds["traces"] = traces
	p.Cmds["tinydisk"] = tinydisk
	p.Cmds["strike"], p.Cmds["pick"], p.Cmds["flush"] = strike, pick, flush
	p.Cmds["machinedown"], p.Cmds["before"], p.Cmds["fill"] = machinedown, before, fill
	p.Cmds["ownarchive"] = ownArchive(t)
	p.Cmds["valid"], p.Cmds["changelayer"] = validSBOM(t), changeLayer
	p.Cmds["changeevidence"] = changeEvidence
	p.Cmds["pgpkey"], p.Cmds["pgpsign"] = pgpkey, pgpsign
	return p
}

// get URL REGEXP asks until the answer's body matches, for 30 seconds at most: routes follow
// instances a moment later. With ! it asks once, and no answer may match.
func get(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: get URL REGEXP")
	}
	want := regexp.MustCompile(args[1])
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func() string {
		resp, err := client.Get(args[0])
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return string(body)
	}
	got := ask()
	if neg {
		if want.MatchString(got) {
			ts.Fatalf("%s answered %q", args[0], got)
		}
		return
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !want.MatchString(got); got = ask() {
		if time.Now().After(end) {
			ts.Fatalf("%s doesn't answer %q but %q", args[0], args[1], got)
		}
		<-tick.C
	}
}

// once URL REGEXP asks one time, and has half a minute of patience.
func once(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: once URL REGEXP")
	}
	if err := asked(args[0], args[1]); err != nil {
		ts.Fatalf("%v", err)
	}
}

// later URL REGEXP asks one time, and starts a server meanwhile, which makes the answer come.
func later(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: later URL REGEXP")
	}
	answered := make(chan error, 1)
	go func() { answered <- asked(args[0], args[1]) }()
	server(ts, false, nil)
	if err := <-answered; err != nil {
		ts.Fatalf("%v", err)
	}
}

func asked(url, pattern string) error {
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && !regexp.MustCompile(pattern).Match(body) {
		err = fmt.Errorf("%s answered %q", url, body)
	}
	return err
}

// until REGEXP COMMAND... runs a command until its output matches, for 30 seconds at most.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP COMMAND [ARGUMENT]...")
	}
	want := regexp.MustCompile(args[0])
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); ; <-tick.C {
		_ = ts.Exec(args[1], args[2:]...)
		out := ts.ReadFile("stdout") + ts.ReadFile("stderr")
		if want.MatchString(out) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%v never printed %q, but at last:\n%s", args[1:], args[0], out)
		}
	}
}

// loads makes the command load. "load URL" sends 200 requests a second from then on, "load lossless"
// ends that after a thousand at least, and checks that each was answered well; "load end" ends it.
func loads() func(ts *testscript.TestScript, neg bool, args []string) {
	var mu sync.Mutex
	type run struct {
		*load.Load
		end func()
	}
	running := map[*testscript.TestScript]run{}
	end := func(ts *testscript.TestScript, least int64) (c load.Counts) {
		mu.Lock()
		r, is := running[ts]
		delete(running, ts)
		mu.Unlock()
		if !is {
			return c
		}
		for patience := time.Now().Add(time.Minute); r.Counts().Sent < least && time.Now().Before(patience); {
			<-time.After(50 * time.Millisecond)
		}
		r.end()
		return r.Counts()
	}
	return func(ts *testscript.TestScript, neg bool, args []string) {
		switch {
		case neg || len(args) != 1:
			ts.Fatalf("usage: load URL, load lossless, or load end")
		case args[0] == "end":
			c := end(ts, 0)
			ts.Logf("%+v", c)
		case args[0] == "lossless":
			if c := end(ts, 1000); c.Failed() > 0 || c.Sent < 1000 {
				ts.Fatalf("%d of %d requests failed; the first: %s", c.Failed(), c.Sent, c.First)
			}
		default:
			ctx, cancel := context.WithCancel(context.Background())
			l, ended := load.New(load.Config{Base: args[0], PerSecond: 200}), make(chan struct{})
			go func() { defer close(ended); l.Run(ctx) }()
			mu.Lock()
			running[ts] = run{l, func() { cancel(); <-ended }}
			mu.Unlock()
			ts.Defer(func() { end(ts, 0) })
		}
	}
}

// hold PORT listens on a port of the machine until the script ends.
func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hold PORT")
	}
	l, err := net.Listen("tcp", ":"+args[0])
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
}

// expand FILE... replaces $PORT and the like in files.
func expand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: expand FILE...")
	}
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), func(key string) string {
			if v := ts.Getenv(key); v != "" {
				return v
			}
			return "$" + key
		})
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// garble GLOB... appends bytes of a record that was never finished to the last file of each pattern.
func garble(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: garble GLOB...")
	}
	for _, pattern := range args {
		names, err := filepath.Glob(ts.MkAbs(pattern))
		ts.Check(err)
		if len(names) == 0 {
			ts.Fatalf("no file matches %s", pattern)
		}
		f, err := os.OpenFile(names[len(names)-1], os.O_APPEND|os.O_WRONLY, 0)
		ts.Check(err)
		_, err = f.Write([]byte{0, 0, 1, 0, 7, 7, 7})
		ts.Check(err)
		ts.Check(f.Close())
	}
}

// tinydisk DIR SIZE mounts a file system of that size on a folder, for as long as the script runs.
func tinydisk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: tinydisk DIR SIZE")
	}
	ts.Check(syscall.Mount("tmpfs", args[0], "tmpfs", 0, "size="+args[1]))
	ts.Defer(func() {
		if err := syscall.Unmount(args[0], 0); err != nil {
			ts.Logf("unmounting %s: %v", args[0], err)
			_ = syscall.Unmount(args[0], syscall.MNT_DETACH)
		}
	})
}

// tag NAME REPOSITORY sets a variable to the one tag that the registry at $PORT2 has of a repository.
func tag(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: tag NAME REPOSITORY")
	}
	resp, err := http.Get("http://127.0.0.1:" + ts.Getenv("PORT2") + "/v2/" + args[1] + "/tags/list")
	ts.Check(err)
	defer resp.Body.Close()
	var list struct {
		Tags []string `json:"tags"`
	}
	ts.Check(json.NewDecoder(resp.Body).Decode(&list))
	if len(list.Tags) != 1 {
		ts.Fatalf("%s has the tags %v", args[1], list.Tags)
	}
	ts.Setenv(args[0], list.Tags[0])
}

// traces REGEXP looks for something that the server has on this machine outside of its folder. With ! there is none.
func traces(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: traces REGEXP")
	}
	found, err := daemon.Traces(ts.Getenv("IMX_DATA"))
	ts.Check(err)
	wanted := regexp.MustCompile(args[0])
	if slices.ContainsFunc(found, wanted.MatchString) == neg {
		ts.Fatalf("the server has on this machine:\n%s", strings.Join(found, "\n"))
	}
}

// flip GLOB OLD NEW replaces some bytes of a file by as many others, as a forger would.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 || len(args[1]) != len(args[2]) {
		ts.Fatalf("usage: flip GLOB OLD NEW")
	}
	names, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(names) != 1 {
		ts.Fatalf("%s matches %v", args[0], names)
	}
	text := ts.ReadFile(names[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s has no %q", names[0], args[1])
	}
	ts.Check(os.WriteFile(names[0], []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
}

// anyapply DIR kills the server at each event of an apply of DIR in turn. After each death the next
// server must have finished the apply or undone it, with every event still there; and the apply is
// then repeated to the end, so that the next round begins from the same place.
func anyapply(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: anyapply DIR")
	}
	s, template := processOf(ts), filepath.Join(ts.MkAbs(args[0]), "hello.imx.hcl")
	binary := ts.Getenv("IMX")
	run := func(args ...string) (string, error) {
		cmd := exec.Command(binary, args...)
		cmd.Env = append(os.Environ(), "IMX_DATA="+ts.Getenv("IMX_DATA"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	edit := func(n int) {
		text := regexp.MustCompile(`GREETING = "[^"]*"`).ReplaceAllString(ts.ReadFile(template), fmt.Sprintf("GREETING = %q", fmt.Sprint("round ", n)))
		ts.Check(os.WriteFile(template, []byte(text), 0o600))
	}
	events := func() int {
		out, err := run("log", "--json")
		if err != nil {
			ts.Fatalf("imx log: %v\n%s", err, out)
		}
		return strings.Count(out, "\n")
	}
	const most = 40 // more events than an apply has
	for kill := 1; kill <= most; kill++ {
		edit(2 * kill)
		before := events()
		follow := exec.Command(binary, "log", "-f", "--json", "--from", strconv.Itoa(before))
		follow.Env = append(os.Environ(), "IMX_DATA="+ts.Getenv("IMX_DATA"))
		stream, err := follow.StdoutPipe()
		ts.Check(err)
		ts.Check(follow.Start())
		applied := make(chan struct{})
		go func() {
			defer close(applied)
			_, _ = run("apply", "--yes", filepath.Dir(template)) // it fails where the server dies under it
		}()
		seen, lines := 0, bufio.NewScanner(stream)
		lines.Buffer(nil, 16<<20)
		finished := false
		for seen < kill && lines.Scan() {
			seen++
			finished = finished || strings.Contains(lines.Text(), `"rollout-finished"`)
			if finished {
				break
			}
		}
		s.end(ts, syscall.SIGKILL)
		_ = follow.Wait()
		<-applied
		s.start(ts, nil)
		if now := events(); now < before+seen {
			ts.Fatalf("killed at event %d of the apply: of %d events %d are left", kill, before+seen, now)
		}
		settle(ts, run, kill)
		if finished {
			ts.Logf("killed at each of %d events", kill)
			return
		}
		edit(2*kill + 1)
		if out, err := run("apply", "--yes", filepath.Dir(template)); err != nil {
			ts.Fatalf("killed at event %d: the next apply fails: %v\n%s", kill, err, out)
		}
	}
	ts.Fatalf("an apply didn't end within %d events", most)
}

// settle waits until nothing is under way any more, and checks that what is there fits together.
func settle(ts *testscript.TestScript, run func(...string) (string, error), kill int) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); ; <-tick.C {
		out, err := run("status", "--json")
		var status imx.Status
		if err == nil {
			err = json.Unmarshal([]byte(out), &status)
		}
		if err != nil {
			ts.Fatalf("killed at event %d: %v\n%s", kill, err, out)
		}
		v := status.State.Services["hello"]
		healthy := 0
		for _, in := range status.State.Instances {
			if in.Phase == imx.Healthy && in.Release == v.Current {
				healthy++
			}
		}
		if status.State.Apply == nil && v.Current == v.Target && healthy == v.Replicas && len(v.Routes) == 1 && v.Routes[v.Current] > 0 {
			break
		}
		if time.Now().After(end) {
			ts.Fatalf("killed at event %d: it never settles:\n%s", kill, out)
		}
	}
	if out, err := run("log", "verify"); err != nil {
		ts.Fatalf("killed at event %d: %v\n%s", kill, err, out)
	}
}
