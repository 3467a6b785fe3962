package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imx"
	"imx/internal/client"
	"imx/internal/term"
)

type logsOptions struct {
	Name   string // of an instance or a service
	Follow bool
	Tail   int
	Times  bool
}

func (o *logsOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on with what is written; of a service, with new instances too")
	f.IntVar(&o.Tail, "tail", 0, "only the last `N` lines of what was already written")
	f.BoolVar(&o.Times, "times", false, "begin each line with its time and its stream")
}

func newLogsCommand(g *Global, t *term.Terminal) *cobra.Command {
	var opts logsOptions
	cmd := page{
		use:   "logs [-f] [--tail N] [--times] INSTANCE|SERVICE",
		short: "Show what instances wrote",
		long: `Prints what an instance wrote on its standard output and error, or what each running instance of a
service wrote, each line then behind the instance's name. An ended instance's log can be read as
long as "imx ps --all" lists it.`,
		example: `
$ imx logs hello-4-k3x9
$ imx logs -f hello`,
		exits:    asking(status{3, "there is no such instance or service"}, status{exitInterrupted, "interrupted, as -f is ended"}),
		least:    1,
		most:     1,
		complete: completeInstances(g, completeServices(g, serviceName)),
	}.command(func(ctx context.Context, args []string) error {
		opts.Name = args[0]
		return runLogs(ctx, opts, g, t)
	})
	opts.addFlags(cmd.Flags())
	return cmd
}

// logLine is a line of an instance's log as --json shows it.
type logLine struct {
	Instance string `json:"instance"`
	Line     string `json:"line"`
}

func runLogs(ctx context.Context, opts logsOptions, g *Global, t *term.Terminal) error {
	if opts.Tail < 0 {
		return imx.Errorf(imx.Invalid, "the last %d lines can't be shown: --tail takes a number above 0", opts.Tail)
	}
	c := g.client()
	instances, err := c.Instances(ctx, "")
	if err != nil {
		return err
	}
	out := &logWriter{out: t.Out, json: g.JSON}
	read := logsOf{c: c, out: out, opts: imx.LogOptions{Follow: opts.Follow, Tail: opts.Tail, Times: opts.Times}, note: func(text string) error {
		_, err := fmt.Fprintf(t.Err, "%s\n", t.Err.Ink.Dim(text))
		return err
	}}
	if slices.ContainsFunc(instances, func(in imx.Instance) bool { return in.ID == opts.Name }) {
		err = read.one(ctx, opts.Name)
	} else {
		out.named = true
		err = read.service(ctx, opts.Name, instances)
	}
	if err != nil && ctx.Err() != nil {
		return exit{code: exitInterrupted}
	}
	return err
}

// logsOf reads logs of instances into one writer.
type logsOf struct {
	c    *client.Client
	out  *logWriter
	opts imx.LogOptions
	note func(text string) error // tells the person something that isn't in any log
}

// one copies an instance's log.
func (l logsOf) one(ctx context.Context, id string) error {
	log, err := l.c.Logs(ctx, id, l.opts)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	return l.out.copy(id, log)
}

// service copies the logs of a service's running instances: one after the other, or all at once
// with those still to come when it follows.
func (l logsOf) service(ctx context.Context, name string, instances []imx.Instance) error {
	status, err := l.c.Status(ctx, time.Time{})
	if err != nil {
		return err
	}
	if s, ok := status.State.Services[name]; !ok || s.Destroyed {
		return imx.Errorf(imx.NotFound, "there is no instance or service %q", name).
			WithHint("imx ps --all lists the instances, imx status the services")
	}
	var ids []string
	for _, in := range instances {
		if in.Service == name && in.Phase != imx.Ended {
			ids = append(ids, in.ID)
		}
	}
	if last, ok := lastEnded(instances, name); ok && len(ids) == 0 && !l.opts.Follow {
		ids = []string{last.ID} // which is just when one wants to know what it wrote
		if err := l.note("no instance of " + name + " runs; this is what " + last.ID + " wrote before it ended"); err != nil {
			return err
		}
	}
	if l.opts.Follow {
		return l.all(ctx, name, ids, status.State.Next)
	}
	for _, id := range ids {
		if err := l.one(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// lastEnded returns the instance of a service that ended last.
func lastEnded(instances []imx.Instance, service string) (last imx.Instance, ok bool) {
	for _, in := range instances {
		if in.Service == service && in.Phase == imx.Ended && (!ok || in.Ended.After(last.Ended)) {
			last, ok = in, true
		}
	}
	return last, ok
}

// all follows the logs of the instances, and of each that the event log from next on tells of. It
// returns when ctx ends or the event log breaks off.
func (l logsOf) all(ctx context.Context, service string, ids []string, next int64) error {
	ctx, stop := context.WithCancelCause(ctx)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer stop(nil)
	follow := func(id string) {
		reading.Go(func() {
			// An instance that is gone by now has nothing more to say.
			if err := l.one(ctx, id); err != nil && imx.KindOf(err) != imx.NotFound && ctx.Err() == nil {
				stop(err)
			}
		})
	}
	for _, id := range ids {
		follow(id)
	}
	for event, err := range l.c.Events(ctx, next, true) {
		if err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
		started, ok := event.Body.(imx.InstanceStarted)
		if ok && started.Instance.Service == service && !slices.Contains(ids, started.Instance.ID) {
			follow(started.Instance.ID)
		}
	}
	return context.Cause(ctx)
}

// logWriter writes lines of several instances, never one into another.
type logWriter struct {
	out   term.Stream
	json  bool
	named bool // each line behind its instance's name

	mu sync.Mutex
}

// copy writes a log. Of a single instance it comes out byte by byte as it was written.
func (w *logWriter) copy(id string, log io.Reader) error {
	if !w.json && !w.named {
		_, err := io.Copy(w.out, log)
		return err
	}
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			if err := w.line(id, bytes.TrimRight(line, "\r\n")); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (w *logWriter) line(id string, line []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.json {
		return printLine(w.out, logLine{Instance: id, Line: strings.ToValidUTF8(string(line), "\ufffd")})
	}
	_, err := fmt.Fprintf(w.out, "%s %s %s\n", w.out.Ink.Name(id), w.out.Ink.Dim("|"), line)
	return err
}
