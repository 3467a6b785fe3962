// The program in the instances of the end-to-end scripts: an HTTP server that says its greeting.
// SICK makes it fail its check; /count keeps a number in the folder that STORE names; /burn?for=1s keeps a processor at work, and /eat
// needs more memory than it has. With an argument it is what a
// test runs beside it: "hang" never ends, "leave" ends and leaves one that doesn't, "kill" kills the instance, "eat" needs
// a gigabyte of memory, "shout" writes one, and then its last words. LIFE is after how long the server ends with status 7.
// Of the requests to / FAIL percent fail once there were AFTER of them; /metrics tells.
package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		beside(os.Args[1])
		return
	}
	fmt.Println("hello says", os.Getenv("GREETING"))
	http.HandleFunc("/metrics", metrics)
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		if failing(answered.Add(1)) {
			failed.Add(1)
			http.Error(w, "it failed", http.StatusInternalServerError)
			return
		}
		text, _ := os.ReadFile("/etc/greeting")
		fmt.Fprintf(w, "%s%s\n", os.Getenv("GREETING"), text)
	})
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if os.Getenv("SICK") != "" {
			http.Error(w, "sick", http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/count", func(w http.ResponseWriter, _ *http.Request) {
		path := filepath.Join(os.Getenv("STORE"), "count")
		text, _ := os.ReadFile(path)
		n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		if err := os.WriteFile(path, []byte(strconv.Itoa(n+1)), 0o600); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "count", n+1)
	})
	http.HandleFunc("/ask", func(w http.ResponseWriter, _ *http.Request) {
		resp, err := http.Get("http://" + os.Getenv("PEER"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		fmt.Fprintln(w, "peer answered", resp.StatusCode)
	})
	http.HandleFunc("/burn", func(w http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.FormValue("for"))
		go burn(time.Now().Add(d))
		fmt.Fprintln(w, "burning for", d)
	})
	http.HandleFunc("/eat", func(http.ResponseWriter, *http.Request) { beside("eat") })
	if life, err := time.ParseDuration(os.Getenv("LIFE")); err == nil {
		time.AfterFunc(life, func() { os.Exit(7) })
	}
	fmt.Println(http.ListenAndServe(":8000", nil))
	os.Exit(1)
}

func burn(until time.Time) {
	for time.Now().Before(until) {
	}
}

// answered and failed count the requests to / and those of them that failed.
var answered, failed atomic.Int64

// failing reports whether the nth request fails: FAIL percent of them do, once there were AFTER of them.
func failing(n int64) bool {
	percent, _ := strconv.ParseInt(os.Getenv("FAIL"), 10, 64)
	after, _ := strconv.ParseInt(os.Getenv("AFTER"), 10, 64)
	return n > after && n%100 < percent
}

// metrics shows the counters in Prometheus' text format.
func metrics(w http.ResponseWriter, _ *http.Request) {
	bad := failed.Load()
	fmt.Fprintln(w, "# TYPE http_requests_total counter")
	fmt.Fprintf(w, "http_requests_total{code=\"200\"} %d\n", answered.Load()-bad)
	fmt.Fprintf(w, "http_requests_total{code=\"500\"} %d\n", bad)
}

func beside(what string) {
	switch what {
	case "hang":
		time.Sleep(time.Hour)
	case "leave":
		_, _ = os.StartProcess(os.Args[0], []string{os.Args[0], "hang"}, &os.ProcAttr{Files: []*os.File{nil, os.Stdout}})
	case "eat":
		eaten := make([]byte, 1<<30)
		for i := 0; i < len(eaten); i += 1 << 12 {
			eaten[i] = 1
		}
	case "kill":
		_ = syscall.Kill(1, syscall.SIGTERM)
		time.Sleep(time.Hour)
	case "shout":
		line := []byte(strings.Repeat("x", 1<<16-1) + "\n")
		for range 1 << 14 {
			_, _ = os.Stdout.Write(line)
		}
		fmt.Println("these are my last words")
	}
}
