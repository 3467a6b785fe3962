// The program in the instances of the engine's tests: an HTTP server that can be told to fall ill,
// to crash, to write, and to try what an instance must not be able to do.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// look prints the namespaces that it is in, who it is, and the files.
func look(files []string) {
	for _, name := range []string{"pid", "mnt", "ipc", "uts", "net", "cgroup"} {
		link, err := os.Readlink("/proc/self/ns/" + name)
		fmt.Println(name, link+text(err))
	}
	fmt.Println("user", os.Getuid(), os.Getgid())
	for _, file := range files {
		b, err := os.ReadFile(file)
		fmt.Println(file, string(b)+text(err))
	}
	if err := os.WriteFile("/written", nil, 0o600); err != nil {
		fmt.Println("write", err)
	}
	os.Exit(7)
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		fmt.Println("child ran")
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "hang" {
		time.Sleep(time.Hour)
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "look" {
		look(os.Args[2:])
	}
	if len(os.Args) > 1 && os.Args[1] == "check" {
		check()
	}
	fmt.Println("hello from", os.Getenv("IMX_INSTANCE"))
	if code, err := strconv.Atoi(os.Getenv("CRASH")); err == nil {
		os.Exit(code)
	}
	var sick atomic.Bool
	sick.Store(os.Getenv("SICK") != "")
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("POST /grpc.health.v1.Health/Check", func(w http.ResponseWriter, r *http.Request) { tellHealth(w, r, sick.Load()) })
	var beats atomic.Int64
	go func() {
		for range time.Tick(time.Millisecond) {
			beats.Add(1)
		}
	}()
	http.HandleFunc("/beats", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, beats.Load()) })
	http.HandleFunc("/sick", func(http.ResponseWriter, *http.Request) { sick.Store(true) })
	http.HandleFunc("/heal", func(http.ResponseWriter, *http.Request) { sick.Store(false) })
	http.HandleFunc("/id", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, os.Getenv("IMX_INSTANCE")) })
	http.HandleFunc("/say", func(_ http.ResponseWriter, r *http.Request) { fmt.Println(r.FormValue("line")) })
	http.HandleFunc("/flood", func(_ http.ResponseWriter, r *http.Request) {
		for i := range number(r, "lines") {
			fmt.Println("line", i, strings.Repeat("x", 100))
		}
	})
	http.HandleFunc("/slow", func(http.ResponseWriter, *http.Request) { time.Sleep(2 * time.Second) })
	http.HandleFunc("/exit", func(_ http.ResponseWriter, r *http.Request) { os.Exit(number(r, "code")) })
	http.HandleFunc("/eat", func(_ http.ResponseWriter, r *http.Request) { eat(number(r, "mib")) })
	http.HandleFunc("/read", func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(r.FormValue("path"))
		fmt.Fprintf(w, "%s%s", b, text(err))
	})
	http.HandleFunc("/write", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, text(os.WriteFile(r.FormValue("path"), []byte(r.FormValue("data")), 0o600)))
	})
	http.HandleFunc("/pipe", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, text(syscall.Mkfifo(r.FormValue("path"), 0o600)))
	})
	http.HandleFunc("/dial", func(w http.ResponseWriter, r *http.Request) {
		c, err := net.DialTimeout("tcp4", r.FormValue("to"), time.Second)
		if err == nil {
			c.Close()
		}
		io.WriteString(w, text(err))
	})
	http.HandleFunc("/try", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(try()) })
	if os.Getenv("DEAF") != "" {
		signal.Ignore(syscall.SIGTERM)
	} else {
		go stopAtSignal()
	}
	server := http.Server{Addr: ":" + os.Getenv("PORT"), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	os.Exit(1)
}

// tellHealth answers as a server of grpc.health.v1 does that knows the service "shop", and all of itself.
func tellHealth(w http.ResponseWriter, r *http.Request, sick bool) {
	asked, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	switch service := string(asked[min(len(asked), 7):]); {
	case service != "" && service != "shop":
		w.Header().Set("Grpc-Status", "5")
	case sick:
		w.Write([]byte{0, 0, 0, 0, 2, 8, 2})
		w.Header().Set("Grpc-Status", "0")
	default:
		w.Write([]byte{0, 0, 0, 0, 2, 8, 1})
		w.Header().Set("Grpc-Status", "0")
	}
}

// check asks the server of the same instance how it is.
func check() {
	response, err := http.Get("http://127.0.0.1:" + os.Getenv("PORT") + "/healthz")
	if err != nil || response.StatusCode != http.StatusOK {
		fmt.Println("asking\nit is not well", text(err))
		os.Exit(3)
	}
	os.Exit(0)
}

func stopAtSignal() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	<-c
	fmt.Println("stopping")
	os.Exit(0)
}

func number(r *http.Request, name string) int {
	n, _ := strconv.Atoi(r.FormValue(name))
	return n
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func eat(mib int) {
	b := make([]byte, mib<<20)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	time.Sleep(time.Minute)
	fmt.Println(len(bytes.TrimSpace(b)))
}

// try does what must fail and returns what came of it: "" would mean that it worked.
func try() map[string]string {
	got := map[string]string{
		"write /":            text(os.WriteFile("/new", nil, 0o600)),
		"write /etc/hosts":   text(os.WriteFile("/etc/hosts", nil, 0o600)),
		"write /proc/sys":    text(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)),
		"mount":              text(syscall.Mount("none", "/tmp", "tmpfs", 0, "")),
		"remount":            text(syscall.Mount("", "/tmp", "", syscall.MS_REMOUNT|syscall.MS_BIND, "")),
		"unshare user":       text(syscall.Unshare(syscall.CLONE_NEWUSER)),
		"clone user":         text((&exec.Cmd{Path: "/proc/self/exe", Args: []string{"app", "child"}, SysProcAttr: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}}).Run()),
		"memfd_create":       call(319, "x"),
		"mknod":              text(syscall.Mknod("/tmp/null", syscall.S_IFCHR, 1<<8|3)),
		"chroot":             text(syscall.Chroot("/tmp")),
		"sethostname":        text(syscall.Sethostname([]byte("x"))),
		"raw socket":         socket(syscall.AF_INET, syscall.SOCK_RAW, 1),
		"packet socket":      socket(syscall.AF_PACKET, syscall.SOCK_RAW, 0),
		"vsock":              socket(40, syscall.SOCK_STREAM, 0),
		"open /proc/kcore":   text(open("/proc/kcore")),
		"prot_exec of /tmp":  mapExec("/tmp/code"),
		"exec from /tmp":     copyAndRun("/tmp/app"),
		"exec from /dev/shm": copyAndRun("/dev/shm/app"),
		"capabilities":       capabilities(),
	}
	for _, dir := range strings.Split(os.Getenv("WRITABLE"), ":") {
		if dir != "" {
			got["exec from "+dir] = copyAndRun(dir + "/app")
		}
	}
	return got
}

func call(number uintptr, name string) string {
	p, _ := syscall.BytePtrFromString(name)
	_, _, errno := syscall.Syscall(number, uintptr(unsafe.Pointer(p)), 0, 0)
	if errno == 0 {
		return ""
	}
	return errno.Error()
}

func socket(family, kind, protocol int) string {
	fd, err := syscall.Socket(family, kind, protocol)
	if err == nil {
		syscall.Close(fd)
	}
	return text(err)
}

// open reads a byte; a masked file is empty.
func open(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Read(make([]byte, 1))
	return err
}

func mapExec(path string) string {
	if err := os.WriteFile(path, make([]byte, 4096), 0o700); err != nil {
		return "could not even write: " + err.Error()
	}
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	_, err = syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_EXEC, syscall.MAP_PRIVATE)
	return text(err)
}

// copyAndRun runs a copy of this program. That it can be written at all is part of the trial.
func copyAndRun(path string) string {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err.Error()
	}
	if err := os.WriteFile(path, self, 0o700); err != nil {
		return "could not even write: " + err.Error()
	}
	defer os.Remove(path)
	return text(exec.Command(path, "child").Run())
}

// capabilities returns the lines of any that this process has or could get, "none" if none.
func capabilities() string {
	status, _ := os.ReadFile("/proc/self/status")
	bad := ""
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, "Cap") && !strings.HasSuffix(line, "\t0000000000000000") {
			bad += line + ";"
		}
		if strings.HasPrefix(line, "NoNewPrivs:") && !strings.HasSuffix(line, "1") {
			bad += line + ";"
		}
	}
	if bad == "" {
		return "none"
	}
	return "" // as if it had worked
}
