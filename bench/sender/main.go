// Command sender sends requests to any address at a steady rate, and prints how many were sent, answered otherwise than with 200, and lost,
// when it was told to stop or has sent them all.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"imx/internal/load"
)

func main() {
	var c load.Config
	flag.StringVar(&c.Base, "to", "", "the service's `URL`")
	flag.Float64Var(&c.PerSecond, "rate", 400, "requests a second")
	flag.IntVar(&c.Workers, "workers", 8, "how many send at once; half of them keep their connections")
	flag.Int64Var(&c.Most, "n", 100_000, "how many at most")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM) //nolint:forbidigo // it is a program
	defer stop()
	l := load.New(c)
	l.Run(ctx)
	is := l.Counts()
	fmt.Fprintf(os.Stdout, "sent %d refused %d lost %d %s\n", is.Sent, is.Refused, is.Lost, is.First)
}
