package keeper_test

// What the ingress costs beside other reverse proxies, each in a process of its own, before the same instance: requests over kept
// connections, and the processor's time that the proxy's processes had. nginx is measured where it is installed.

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"imx"
)

// bareWord makes this program Go's own reverse proxy and nothing else.
const bareWord = "__bare"

func bare(port, to string) int {
	at, err := url.Parse(to)
	if err != nil {
		return 1
	}
	proxy := httputil.NewSingleHostReverseProxy(at)
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true}
	_ = http.ListenAndServe("127.0.0.1:"+port, proxy)
	return 1
}

func BenchmarkProxies(b *testing.B) {
	for _, rival := range []struct {
		name  string
		start func(w *world) (url string, pids func() []int)
	}{{"imx", imxProxy}, {"ReverseProxy", bareProxy}, {"nginx", nginxProxy}} {
		b.Run(rival.name, func(b *testing.B) {
			w := newWorld(b)
			w.release(1, imx.Route{Host: "shop.example"})
			at, pids := rival.start(w)
			c := w.client()
			w.serves(c, at, "shop-")
			before := spent(b, pids())
			var left atomic.Int64
			left.Store(int64(b.N))
			var sending sync.WaitGroup
			b.ResetTimer()
			for range 16 {
				sending.Go(func() {
					for left.Add(-1) >= 0 {
						if status, body := w.get(c, at); status != http.StatusOK {
							b.Errorf("%d %s", status, body)
							return
						}
					}
				})
			}
			sending.Wait()
			b.StopTimer()
			b.ReportMetric(float64((spent(b, pids())-before).Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
		})
	}
}

func imxProxy(w *world) (string, func() []int) {
	w.ingress.HTTPS, w.ingress.Certificates = 0, nil
	w.release(1, imx.Route{Host: "shop.example"})
	at := "http://shop.example:" + strconv.Itoa(w.ingress.HTTP) + "/"
	return at, func() []int { return []int{w.process()} }
}

func bareProxy(w *world) (string, func() []int) {
	port := strconv.Itoa(freePort(w.t))
	cmd := exec.Command(os.Args[0], bareWord, port, w.instanceURL())
	w.running(cmd)
	return "http://shop.example:" + port + "/", func() []int { return []int{cmd.Process.Pid} }
}

func (w *world) instanceURL() string {
	return fmt.Sprintf("http://%s:%d", w.servers["shop-1-0"].Address, w.port)
}

func (w *world) running(cmd *exec.Cmd) {
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

const nginxConf = `
daemon off; master_process off; worker_processes 1; pid DIR/pid; error_log /dev/null;
events { worker_connections 1024; }
http {
  access_log DIR/access.log;
  client_body_temp_path DIR/a; proxy_temp_path DIR/b; fastcgi_temp_path DIR/c; uwsgi_temp_path DIR/d; scgi_temp_path DIR/e;
  upstream app { server TO; keepalive 512; }
  server {
    listen 127.0.0.1:PORT;
    location / {
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
    }
  }
}
`

func nginxProxy(w *world) (string, func() []int) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		w.t.Skip("nginx isn't installed")
	}
	port := strconv.Itoa(freePort(w.t))
	conf := filepath.Join(w.dir, "nginx.conf")
	text := strings.NewReplacer("DIR", w.dir, "PORT", port, "TO", strings.TrimPrefix(w.instanceURL(), "http://")).Replace(nginxConf)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), program, "-p", w.dir, "-c", conf, "-e", "/dev/null", "-g", "user root;")
	var said bytes.Buffer
	cmd.Stderr = io.MultiWriter(&said, os.Stderr)
	w.running(cmd)
	return "http://shop.example:" + port + "/", func() []int { return []int{cmd.Process.Pid} }
}

// spent is the processor's time of processes.
func spent(b *testing.B, pids []int) time.Duration {
	b.Helper()
	var sum time.Duration
	for _, pid := range pids {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			b.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		for _, i := range []int{11, 12} { // utime and stime, in hundredths of a second
			n, err := strconv.Atoi(fields[i])
			if err != nil {
				b.Fatal(err)
			}
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}
