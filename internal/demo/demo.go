// Package demo plays the main job on a real server: a three-tier application is built from a template,
// run, replaced under load, given a broken version that gets no traffic, and rolled back.
//
// It types the commands that a person would type and shows their real output; it has no way in
// that a person hasn't.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"imx"
	"imx/internal/client"
	"imx/internal/load"
)

// Config says where the demo plays.
type Config struct {
	Binary  string    // the imx to run
	Shop    fs.FS     // the example's files
	Leaky   fs.FS     // those of a template with a secret in it
	Proxy   fs.FS     // those of an image of Debian's main suite alone
	Data    string    // data folder; "" means a scratch folder that is removed at the end
	Replace int       // how many times the page is changed under load; 0 means once
	Keep    bool      // leave everything running and say how to take it down
	Out     io.Writer // what the person sees
	Err     io.Writer
	// Purge ends all that a dead server's data folder left running, for a demo that failed midway.
	Purge func(ctx context.Context, data string) error
	// Traces lists what the engine of a data folder has outside of it: mounts, namespaces, cgroups,
	// rules, links, routes.
	Traces func(data string) ([]string, error)
}

// stage is a demo under way.
type stage struct {
	cfg    Config
	dir    string // scratch folder: shop/, data/, server.log
	shop   string
	data   string
	server *exec.Cmd
	client *client.Client
	base   string // where the shop answers
	load   *load.Load
	steps  []step
	// canaryErrors is how many requests the canary answered with an error before it was gone back from.
	canaryErrors int64
}

type step struct {
	name string
	took time.Duration
}

// Run plays the demo. It returns an error if anything didn't go as told, or if a request failed.
func Run(ctx context.Context, cfg Config) (err error) {
	if os.Geteuid() != 0 {
		return imx.Errorf(imx.Refused, "the demo runs real instances, which needs root").WithHint("run it with sudo, on a machine that may be changed")
	}
	s := &stage{cfg: cfg}
	if s.dir, err = os.MkdirTemp("", "imx-demo-"); err != nil {
		return err
	}
	s.shop, s.data = filepath.Join(s.dir, "shop"), filepath.Join(s.dir, "data")
	defer func() {
		if err != nil || !cfg.Keep {
			err = errors.Join(err, s.leave(context.WithoutCancel(ctx)))
		}
	}()
	if err := s.prepare(ctx); err != nil {
		return err
	}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	if err := s.first(ctx); err != nil {
		return err
	}
	go func() { defer close(ended); s.load.Run(loading) }()
	err = s.replacements(ctx)
	stop()
	<-ended
	if err != nil {
		return err
	}
	if err := s.vulnerabilities(ctx); err != nil {
		return err
	}
	return s.tell(ctx)
}

// first brings the shop up.
func (s *stage) first(ctx context.Context) error {
	if err := s.secret(ctx); err != nil {
		return err
	}
	s.say("A template in Git becomes images, and the images run: nginx, a Python service, Redis.")
	if err := s.imx(ctx, "build and start the shop", 0, "apply", "--yes", s.shop); err != nil {
		return err
	}
	if err := s.imx(ctx, "", 0, "status"); err != nil {
		return err
	}
	return s.expectPage(ctx, "Today: tea.")
}

// replacements changes the shop under load, breaks it, and goes back.
func (s *stage) replacements(ctx context.Context) error {
	s.say("From here on the shop is under load. A page changes: new instances take over from the old.")
	page, previous := "Today: tea.", ""
	for i := range max(1, s.cfg.Replace) {
		previous = page
		if page = "Today: coffee."; i > 0 {
			page = fmt.Sprintf("Today: coffee, cup %d.", i+1)
		}
		if err := s.change(ctx, previous, page); err != nil {
			return err
		}
	}
	s.say("A broken version: its test fails, so nothing is released.")
	if err := s.edit(ctx, "shop.py", "store.ping()", "store.pong()", "Improve the health check"); err != nil {
		return err
	}
	if err := s.imx(ctx, "test a broken version", exitRefused, "apply", "--yes", s.shop); err != nil {
		return err
	}
	s.say("Released without its tests, it never gets healthy, so it never gets traffic.")
	if err := s.imx(ctx, "refuse a broken version", exitRolloutFailed, "apply", "--yes", "--skip-tests", "to see what happens", s.shop); err != nil {
		return err
	}
	if err := s.canary(ctx); err != nil {
		return err
	}
	if err := s.wayBack(ctx, previous); err != nil {
		return err
	}
	return s.review(ctx, page)
}

// change sells something else from now on.
func (s *stage) change(ctx context.Context, before, after string) error {
	if err := s.edit(ctx, "index.html", before, after, "Change what is sold"); err != nil {
		return err
	}
	if err := s.imx(ctx, "", 0, "plan", s.shop); err != nil {
		return err
	}
	if err := s.imx(ctx, "change a page", 0, "apply", "--yes", s.shop); err != nil {
		return err
	}
	return s.expectPage(ctx, after)
}

const (
	// exitRefused is the exit code of an apply whose tests failed.
	exitRefused = 5
	// exitWaits is that of one that lacks nothing but approvals.
	exitWaits = 14
	// exitRolloutFailed is that of one whose release stayed without traffic.
	exitRolloutFailed = 8
)

// tell prints what can be proved afterwards, and the figures.
func (s *stage) tell(ctx context.Context) error {
	instances, err := s.client.Instances(ctx, "web")
	if err != nil {
		return err
	}
	s.say("Where does one of the running instances come from? The chain goes back to the commit:")
	for _, in := range instances {
		if in.Phase == imx.Healthy {
			if err := s.imx(ctx, "", 0, "why", in.ID); err != nil {
				return err
			}
			break
		}
	}
	if err := s.imx(ctx, "", 0, "log", "verify"); err != nil {
		return err
	}
	all := s.load.Counts()
	fmt.Fprintf(s.cfg.Out, "\nrequests sent         %6d\nlost                  %6d\nthe canary's errors   %6d\n\n", all.Sent, all.Lost, s.canaryErrors)
	for _, st := range s.steps {
		fmt.Fprintf(s.cfg.Out, "%-28s %6.1f s\n", st.name, st.took.Seconds())
	}
	if all.Lost > 0 {
		return imx.Errorf(imx.Internal, "%d of %d requests were lost; the first: %s", all.Lost, all.Sent, all.FirstLost)
	}
	if others := all.Refused - s.canaryErrors; others != 0 {
		return imx.Errorf(imx.Internal, "%d requests were answered with an error when no canary ran; the first of all: %s", others, all.First)
	}
	if all.Sent == 0 {
		return imx.Errorf(imx.Internal, "no request was sent, so nothing was shown")
	}
	if s.cfg.Keep {
		fmt.Fprintf(s.cfg.Out, `
The shop runs on at  %s
Look at it with      imx status --data %s
Take it down with    imx destroy --all --volumes --yes --data %[2]s && kill %d && rm -r %s
`, s.base, s.data, s.server.Process.Pid, s.dir)
	}
	return nil
}

// imx runs one command as a person would and shows it. A name makes it a timed step.
func (s *stage) imx(ctx context.Context, name string, exit int, args ...string) error {
	fmt.Fprintf(s.cfg.Out, "$ imx %s\n", strings.ReplaceAll(strings.Join(args, " "), s.dir+string(filepath.Separator), ""))
	cmd := exec.CommandContext(ctx, s.cfg.Binary, args...)
	cmd.Env = append(os.Environ(), "IMX_DATA="+s.data)
	cmd.Stdout, cmd.Stderr = s.cfg.Out, s.cfg.Err
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	began := time.Now()
	err := cmd.Run()
	if name != "" {
		s.steps = append(s.steps, step{name, time.Since(began)})
	}
	fmt.Fprintln(s.cfg.Out)
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed) && failed.ExitCode() == exit:
		return nil
	case err != nil:
		return imx.Errorf(imx.Internal, "imx %s: %w", args[0], err)
	case exit != 0:
		return imx.Errorf(imx.Internal, "imx %s was expected to end with exit code %d and ended with 0", args[0], exit)
	}
	return nil
}

func (s *stage) say(text string) { fmt.Fprintf(s.cfg.Out, "# %s\n", text) }

func (s *stage) expectPage(ctx context.Context, want string) error {
	got, err := s.page(ctx)
	if err != nil {
		return err
	}
	if !strings.Contains(got, want) {
		return imx.Errorf(imx.Internal, "the front page doesn't say %q but:\n%s", want, got)
	}
	return nil
}
