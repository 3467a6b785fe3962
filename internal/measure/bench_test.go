package measure_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imx"
)

// farm is the environment variable that makes the test binary the instances of the benchmark: its port.
const farm = "IMX_MEASURE_FARM"

func TestMain(m *testing.M) {
	if port := os.Getenv(farm); port != "" {
		serveFarm(port)
	}
	os.Exit(m.Run())
}

// serveFarm answers with the metrics of a middling program (300 series, 25 KB) at every loopback address, until its input ends.
func serveFarm(port string) {
	var b strings.Builder
	fmt.Fprintln(&b, "# TYPE requests_total counter")
	for i := range 100 {
		fmt.Fprintf(&b, "requests_total{code=\"%d\",handler=\"/page/%d\",method=\"GET\"} %d\n", 200+i%2*300, i, i*7)
	}
	fmt.Fprintln(&b, "# TYPE took histogram")
	for i := range 10 {
		for j := range 18 {
			fmt.Fprintf(&b, "took_bucket{handler=\"/%d\",le=\"%d\"} %d\n", i, j, j)
		}
		fmt.Fprintf(&b, "took_sum{handler=\"/%d\"} 3.5\ntook_count{handler=\"/%d\"} 17\n", i, i)
	}
	l, err := net.Listen("tcp4", "0.0.0.0:"+port)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); os.Exit(0) }()
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, b.String()) }))
	os.Exit(1)
}

// Twenty instances in another process are read once; cpu-ms is what that costs the server, every 5 seconds.
func BenchmarkReadingTwentyInstances(b *testing.B) {
	w := newWorld(b)
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", farm, w.port))
	input, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = input.Close(); _ = cmd.Wait() })
	if _, err := fmt.Fscanln(output, new(string)); err != nil {
		b.Fatal(err)
	}
	for i := range 20 {
		id := fmt.Sprint("i", i)
		w.state.Instances[id] = imx.Instance{
			ID: id, Service: "web", Release: 1 + i%2, Address: netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)}), Phase: imx.Healthy, Started: w.now,
		}
	}
	began := used(b)
	for b.Loop() {
		if c := w.round(); c[1].Requests == 0 || c[2].Missing != "" {
			b.Fatalf("counted %+v", c)
		}
	}
	b.ReportMetric(float64((used(b)-began).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

// used is the CPU time of this process.
func used(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
