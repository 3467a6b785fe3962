//go:build !client

package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"imx"
	"imx/internal/sim"
	"imx/internal/term"
)

// simulate releases services in a simulated world, and shows what came of it.
func simulate(ctx context.Context, specs []imx.Spec, s supposed, g *Global, t *term.Terminal) error {
	told, err := sim.Simulate(ctx, specs, sim.Supposed{
		Seed: s.Seed, Requests: s.Requests, ErrorShare: s.ErrorShare, Starts: s.Starts, Crash: s.Crash, Never: s.Never,
	})
	if err != nil {
		return err
	}
	if g.JSON {
		err = printJSON(t.Out, told)
	} else {
		err = showSimulation(t.Out, told)
	}
	if err != nil {
		return err
	}
	return simulatedEnd(told)
}

// simulatedEnd is an error where a release didn't come to stay, or a law was broken.
func simulatedEnd(told sim.Told) error {
	for _, b := range told.Broken {
		return imx.Errorf(imx.Internal, "a law was broken: %s: %s", b.Law, b.Says).WithHint("this is a defect in imx: please report it with the template and the flags")
	}
	for _, end := range told.Ends {
		switch end.State {
		case imx.ReleaseGood:
		case imx.ReleasePending:
			return exit{exitRollout, imx.Errorf(imx.Conflict, "the new release of %s still waits after %s: %s", end.Service, end.After, end.Reason)}
		case imx.ReleaseFailed, imx.ReleaseSuperseded:
			return exit{exitRollout, imx.Errorf(imx.Conflict, "the new release of %s would be given up: %s", end.Service, end.Reason)}
		}
	}
	return nil
}

// showSimulation prints a timeline, how each service ended, and the laws.
func showSimulation(out term.Stream, told sim.Told) error {
	ink := out.Ink
	line := term.Table{Head: []string{"AFTER", "SERVICE", "WHAT"}, Wraps: []string{"WHAT"}}
	for _, l := range told.Lines {
		line.Add(since(l.After), ink.Name(l.Service), term.Clean(l.Says))
	}
	ends := term.Table{Wraps: []string{""}}
	for _, e := range told.Ends {
		state := ink.Good("takes over")
		switch e.State {
		case imx.ReleaseFailed, imx.ReleaseSuperseded:
			state = ink.Bad("is given up")
		case imx.ReleasePending:
			state = ink.Warn("still waits")
		case imx.ReleaseGood:
		}
		ends.Add(ink.Name(e.Service), fmt.Sprintf("%s after %s; never fewer than %d healthy in the traffic, of %d", state, since(e.After), e.Least, e.Wanted))
	}
	laws := ink.Good("ok:") + fmt.Sprintf(" %s held\n", term.Count(int64(len(told.Laws)), "law"))
	for _, b := range told.Broken {
		laws = ink.Bad("broken:") + " " + b.Law + ": " + b.Says + "\n"
	}
	_, err := io.WriteString(out, line.Text(ink, out.Columns())+"\n"+ends.Text(ink, out.Columns())+laws)
	return err
}

// since is a time after the beginning: "1:05.3", "2:03:59.0".
func since(d imx.Duration) string {
	const unit = 60
	tenths := time.Duration(d).Round(time.Second / 10)
	minutes := int(tenths / time.Minute)
	seconds := (tenths % time.Minute).Seconds()
	if minutes >= unit {
		return fmt.Sprintf("%d:%02d:%04.1f", minutes/unit, minutes%unit, seconds)
	}
	return fmt.Sprintf("%d:%04.1f", minutes, seconds)
}
