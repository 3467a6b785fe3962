// Command imx is the whole of imx in one program: the server, and the commands that ask it. Built
// with the tag "client" it is the commands alone, for any system.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"imx"
	"imx/internal/cli"
	"imx/internal/term"
)

// version is set while linking: -X main.version=1.2.3. The commit is noted by the Go tool.
var version string

func main() {
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal asks the command to stop; a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	return cli.Main(ctx, os.Args[1:], cli.Process{
		Terminal: term.Open(os.Stdin, os.Stdout, os.Stderr, os.Getenv),
		Env:      os.Getenv,
		Version:  built(),
	})
}

// built says which imx this is: what the linker was told, else what the Go tool noted.
func built() imx.Version {
	v := imx.Version{Version: version, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Client: cli.ClientOnly}
	if note, ok := debug.ReadBuildInfo(); ok {
		for _, s := range note.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	if v.Version == "" {
		v.Version = "devel"
	}
	return v
}
