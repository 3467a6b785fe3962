package local_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"imx"
	"imx/internal/admission"
	"imx/internal/engine"
	"imx/internal/engine/local"
	"imx/internal/erofs"
	"imx/internal/network/nft"
)

// machine is one engine's part of the test's machine: its own folder, mark and addresses.
type machine struct {
	cfg   local.Config
	image imx.Image
	ports []uint16 // free ports to publish

	table    string         // its firewall's name
	services map[string]int // by name: the index of its port
}

// newMachine prepares a machine whose traces are removed with the test, however that ends.
func newMachine(tb testing.TB) *machine {
	tb.Helper()
	if os.Getuid() != 0 {
		tb.Skip("instances need root")
	}
	image, root := testImage(tb)
	number := nextMachine()
	name := fmt.Sprintf("imx-test-%d", number)
	table, err := nft.New(name)
	if err != nil {
		tb.Fatal(err)
	}
	m := &machine{image: image, table: name, ports: freePorts(tb, 4), cfg: local.Config{
		Dir:      tb.TempDir(),
		ID:       fmt.Sprintf("t%s", strconv.FormatInt(int64(number), 36)),
		Network:  netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 212, byte(number), 0}), 24),
		Roots:    func(context.Context, imx.Digest) (string, error) { return root, nil },
		Files:    func(imx.Digest) (io.ReadCloser, error) { return nil, fs.ErrNotExist },
		Firewall: table,
		Log:      slog.New(slog.NewTextHandler(testWriter{tb}, nil)),
	}}
	tb.Cleanup(func() {
		if err := local.Purge(context.Background(), m.cfg); err != nil {
			tb.Errorf("purging: %v", err)
		}
	})
	return m
}

// nextMachine counts the machines of this process from a number of its own, below 256, so that
// test processes that run side by side seldom meet.
var nextMachine = sync.OnceValue(func() func() int {
	n := os.Getpid()
	return func() int { n++; return n % 256 }
})()

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", bytes.TrimSpace(p))
	return len(p), nil
}

func freePorts(tb testing.TB, n int) []uint16 {
	tb.Helper()
	var ports []uint16
	for range n {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			tb.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, netip.MustParseAddrPort(l.Addr().String()).Port())
	}
	return ports
}

func readJSON(tb testing.TB, path string, v any) {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

var buildApp = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "imx-app-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "app"), "./testdata/app")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "app"))
})

// still is the smallest program for amd64: it waits for signals, for ever.
func still() []byte {
	code := []byte{0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7} // mov eax, SYS_pause; syscall; jmp to the beginning
	const base, head, section = 0x400000, 64, 56
	size := uint64(head + section + len(code))
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	for _, v := range []any{
		uint16(2), uint16(62), uint32(1), uint64(base + head + section), uint64(head), uint64(0), // an executable for x86-64, and where it begins
		uint32(0), uint16(head), uint16(section), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000), // all of the file, to be read and executed
	} {
		_ = binary.Write(&b, binary.LittleEndian, v) // a buffer takes everything
	}
	b.Write(code)
	return b.Bytes()
}

// testImage makes an image root with one program, which is in a part, and the odd link, and returns its file's path.
func testImage(tb testing.TB) (imx.Image, string) {
	tb.Helper()
	return imageIn(tb, tb.TempDir(), time.Unix(0, 0))
}

// imageIn is testImage in a folder. Those of other times are other images with the same part.
func imageIn(tb testing.TB, dir string, made time.Time) (imx.Image, string) {
	tb.Helper()
	app, err := buildApp()
	if err != nil {
		tb.Fatal(err)
	}
	file := func(path string, mode fs.FileMode, data []byte) erofs.Entry {
		return erofs.Entry{
			Path: path, Mode: mode, Size: int64(len(data)),
			Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
		}
	}
	entries := []erofs.Entry{
		file("bin/app", 0o755, app),
		file("bin/still", 0o755, still()),
		file("etc/passwd", 0o644, []byte("root:x:0:0::/root:/bin/sh\napp:x:4711:4712::/home/app:/bin/false\n")),
		file("etc/group", 0o644, []byte("root:x:0:\napp:x:4712:\nextra:x:4713:app\n")),
		{Path: "private", Mode: fs.ModeDir | 0o700, UID: 4711, GID: 4712},
		{Path: "run/lock", Mode: fs.ModeDir | 0o755},
		{Path: "var/run", Mode: fs.ModeSymlink | 0o777, Link: "/run"},
	}
	path := filepath.Join(dir, fmt.Sprintf("root%d.erofs", made.Unix()))
	part := erofs.Part{Digest: imx.DigestBytes(app), Size: int64(len(app))}
	if err := os.WriteFile(erofs.PartFile(path, part.Digest), app, 0o600); err != nil {
		tb.Fatal(err)
	}
	entries[0].In = &erofs.Place{}
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	if err := erofs.WriteIndex(f, entries, []erofs.Part{part}, made); err != nil {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	digest := imx.DigestBytes(data)
	return imx.Image{Name: "app", Digest: digest, Root: digest}, path
}

// runningEngine is an engine whose Run goes on until the test ends or stop is called.
type runningEngine struct {
	*local.Engine
	changed chan struct{}
	stop    func()
}

func (m *machine) run(tb testing.TB, e *local.Engine) *runningEngine {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &runningEngine{Engine: e, changed: make(chan struct{}, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Run(ctx, func() {
			select {
			case r.changed <- struct{}{}:
			default:
			}
		})
	}()
	r.stop = func() {
		cancel()
		<-done
	}
	tb.Cleanup(r.stop)
	return r
}

// scale lets the engine start what it needs to.
func scale(tb testing.TB, e engine.Runner, r imx.Release, n int) error {
	tb.Helper()
	return e.Scale(tb.Context(), admission.ForTrial(r), r, n)
}

func (e *runningEngine) scale(tb testing.TB, r imx.Release, n int) {
	tb.Helper()
	if err := scale(tb, e, r, n); err != nil {
		tb.Fatal(err)
	}
}

// until waits until n instances of the release are in the phase and returns them.
func (e *runningEngine) until(tb testing.TB, r imx.Release, n int, p imx.Phase) []imx.Instance {
	tb.Helper()
	patience := time.After(30 * time.Second)
	for {
		seen, err := e.Observe(tb.Context())
		if err != nil {
			tb.Fatal(err)
		}
		var found []imx.Instance
		for _, x := range seen.Instances {
			if x.Service == r.Service && x.Release == r.Number && x.Phase == p {
				found = append(found, x)
			}
		}
		if len(found) == n {
			return found
		}
		select {
		case <-e.changed:
		case <-patience:
			tb.Fatalf("waited in vain for %d instances that are %s; there are %+v", n, p, seen.Instances)
		}
	}
}

func (e *runningEngine) healthy(tb testing.TB, r imx.Release, n int) []imx.Instance {
	tb.Helper()
	e.scale(tb, r, n)
	return e.until(tb, r, n, imx.Healthy)
}
