package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"imx"
	"imx/internal/report"
	"imx/internal/term"
)

// quiet is how long nothing may change before a check: editors write a file in several steps.
const quiet = 50 * time.Millisecond

// watch checks again whenever something changes in a folder that the last check looked into, until ctx ends.
// A folder is watched before it is read for the result that is shown, so that no change is missed.
func watch(ctx context.Context, e *examiner, t *term.Terminal) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return imx.Errorf(imx.Exhausted, "changes of files can't be watched: %w", err).
			WithHint("the system allows so many watchers for each user: fs.inotify.max_user_instances on Linux")
	}
	defer func() { _ = w.Close() }()
	last := ""
	for {
		text, err := e.shown(ctx, w, t.Out)
		if ctx.Err() != nil {
			return exit{code: exitInterrupted}
		}
		if err != nil {
			return err
		}
		if text != last {
			if err := redraw(t.Out, text); err != nil {
				return err
			}
		}
		last = text
		if err := settled(ctx, w); err != nil {
			return err
		}
	}
}

// shown checks until all that it looked into is being watched, and returns what to show.
func (e *examiner) shown(ctx context.Context, w *fsnotify.Watcher, out term.Stream) (string, error) {
	for {
		r, failure := e.all(ctx, time.Now())
		grown, err := widen(w, slices.Sorted(maps.Keys(e.watched)))
		if err != nil {
			return "", err
		}
		if !grown || ctx.Err() != nil {
			return e.text(r, failure, out)
		}
	}
}

// text is one check as text, its failure with it.
func (e *examiner) text(r report.Report, failure error, out term.Stream) (string, error) {
	var b bytes.Buffer
	to := term.Stream{Writer: &b, Ink: out.Ink, Size: out.Size}
	if e.opts.Format == formatJSON {
		if failure != nil {
			err := printLine(&b, imx.Update[struct{}]{Error: imx.AsError(failure)})
			return b.String(), err
		}
		err := printLine(&b, r)
		return b.String(), err
	}
	if failure == nil {
		failure = tell(r, e.opts, to)
	}
	if failure != nil {
		showError(failure, &Global{}, &term.Terminal{Err: to})
	}
	return b.String(), nil
}

// widen watches folders that aren't watched yet, and in place of one that isn't there the nearest above it. It
// returns whether there was one.
func widen(w *fsnotify.Watcher, dirs []string) (bool, error) {
	have := w.WatchList()
	grown := false
	for _, dir := range dirs {
		for !isFolder(dir) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
		}
		if slices.Contains(have, dir) {
			continue
		}
		switch err := w.Add(dir); {
		case err == nil:
			have, grown = append(have, dir), true
		case isFolder(dir):
			return grown, imx.Errorf(imx.Exhausted, "changes in %s can't be watched: %w", dir, err).
				WithHint("the system allows so many watches for each user: fs.inotify.max_user_watches on Linux")
		default:
			grown = true // it went away just now: look again
		}
	}
	return grown, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// settled returns after the next change, when nothing changes any more.
func settled(ctx context.Context, w *fsnotify.Watcher) error {
	var still <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return exit{code: exitInterrupted}
		case <-still:
			return nil
		case _, ok := <-w.Events:
			if !ok {
				return imx.Errorf(imx.Internal, "the watch of the folders ended")
			}
		case _, ok := <-w.Errors: // an overflow: something has changed
			if !ok {
				return imx.Errorf(imx.Internal, "the watch of the folders ended")
			}
		}
		still = time.After(quiet)
	}
}

// redraw shows a check in place of the last on a terminal, and below it elsewhere.
func redraw(out term.Stream, text string) error {
	if out.Size != nil {
		text = "\x1b[2J\x1b[3J\x1b[H" + text + out.Ink.Dim(fmt.Sprintf("watching since %s; ctrl-c ends it", time.Now().Format(time.TimeOnly))) + "\n"
	}
	_, err := io.WriteString(out, text)
	return err
}
