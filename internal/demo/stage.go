package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"imx"
	"imx/internal/client"
	"imx/internal/load"
)

// prepare puts the shop into a Git repository of its own and starts a server.
func (s *stage) prepare(ctx context.Context) error {
	for folder, files := range map[string]fs.FS{s.shop: s.cfg.Shop, s.leaky(): s.cfg.Leaky, s.proxy(): s.cfg.Proxy} {
		if err := os.CopyFS(folder, files); err != nil {
			return err
		}
	}
	port, err := s.choosePort(ctx)
	if err != nil {
		return err
	}
	s.base = fmt.Sprintf("http://127.0.0.1:%d", port)
	s.load = load.New(load.Config{Base: s.base, Paths: []string{"/", "/api/visit"}})
	if err := s.git(ctx, "init", "-q", "-b", "main"); err != nil {
		return err
	}
	if err := s.commit(ctx, "Open the shop"); err != nil {
		return err
	}
	return s.serve(ctx)
}

// choosePort keeps the example's port if it is free, or has the kernel choose one.
func (s *stage) choosePort(ctx context.Context) (int, error) {
	const usual = 8080
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", fmt.Sprintf(":%d", usual))
	if err == nil {
		return usual, l.Close()
	}
	if l, err = listen.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return 0, err
	}
	_, text, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return 0, err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(s.cfg.Out, "# Port %d is taken on this machine: the shop uses %d.\n", usual, port)
	return port, errors.Join(l.Close(), s.replace("shop.imx.hcl", fmt.Sprintf("publish   = %d", usual), fmt.Sprintf("publish   = %d", port)))
}

// serve starts a server that outlives the demo if it is to be kept, and waits until it is ready.
func (s *stage) serve(ctx context.Context) error {
	logFile, err := os.Create(filepath.Join(s.dir, "server.log"))
	if err != nil {
		return err
	}
	defer logFile.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	s.server = exec.CommandContext(context.WithoutCancel(ctx), s.cfg.Binary, "server", "--data", s.data, "--listen", "127.0.0.1:0")
	s.server.Stdout, s.server.Stderr = write, logFile
	s.server.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for the demo, which then takes it down
	err = s.server.Start()
	if err := errors.Join(err, write.Close()); err != nil {
		return err
	}
	ready, err := bufio.NewReader(read).ReadString('\n')
	if err != nil || !strings.Contains(ready, "answers on") {
		text, _ := os.ReadFile(logFile.Name())
		return imx.Errorf(imx.Internal, "the server didn't start: %s%s", ready, text)
	}
	s.client = client.New(filepath.Join(s.data, "imx.sock"))
	return nil
}

// edit changes one file of the shop and commits it.
func (s *stage) edit(ctx context.Context, file, before, after, message string) error {
	fmt.Fprintf(s.cfg.Out, "$ sed -i 's/%s/%s/' shop/%s && git commit -m %q\n", before, after, file, message)
	if err := s.replace(file, before, after); err != nil {
		return err
	}
	return s.commit(ctx, message)
}

func (s *stage) replace(file, before, after string) error {
	path := filepath.Join(s.shop, file)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	changed := strings.Replace(string(text), before, after, 1)
	if changed == string(text) {
		return imx.Errorf(imx.Internal, "%s doesn't contain %q", file, before)
	}
	return os.WriteFile(path, []byte(changed), 0o600)
}

func (s *stage) commit(ctx context.Context, message string) error {
	if err := s.git(ctx, "add", "-A"); err != nil {
		return err
	}
	return s.git(ctx, "-c", "user.name=demo", "-c", "user.email=demo@localhost", "commit", "-q", "-m", message)
}

func (s *stage) git(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "git", append([]string{"-C", s.shop}, args...)...).CombinedOutput()
	if err != nil {
		return imx.Errorf(imx.Internal, "git %s: %w: %s", args[0], err, out)
	}
	return nil
}

// leave takes everything down and checks that nothing is left behind.
func (s *stage) leave(ctx context.Context) error {
	fmt.Fprintln(s.cfg.Out, "# Taking everything down.")
	began := time.Now()
	var errs []error
	if s.client != nil {
		errs = append(errs, s.imx(ctx, "", 0, "destroy", "--all", "--volumes", "--yes"))
	}
	if s.server != nil && s.server.Process != nil {
		errs = append(errs, s.server.Process.Signal(syscall.SIGTERM))
		if err := s.server.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("the server: %w", err))
		}
	}
	if errors.Join(errs...) != nil {
		errs = append(errs, s.cfg.Purge(ctx, s.data))
	}
	errs = append(errs, s.leftovers())
	errs = append(errs, os.RemoveAll(s.dir))
	if errors.Join(errs...) == nil {
		fmt.Fprintf(s.cfg.Out, "nothing is left behind   %.1f s\n", time.Since(began).Seconds())
	}
	return errors.Join(errs...)
}

// leftovers finds what the demo still has on this machine outside of its folder, and processes that
// were started in it.
func (s *stage) leftovers() error {
	traces, err := s.cfg.Traces(s.data)
	if err != nil {
		return err
	}
	if len(traces) > 0 {
		return imx.Errorf(imx.Internal, "left behind: %s", strings.Join(traces, "; "))
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, path := range processes {
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		if strings.Contains(string(text), s.dir) {
			return imx.Errorf(imx.Internal, "a process was left behind: %s", strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return nil
}
