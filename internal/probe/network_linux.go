package probe

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// patience is how long an address may take to answer: the instances are on one machine, where that takes less than a
// thousandth of it.
const patience = 500 * time.Millisecond

// connect tries to be answered by an address: a TCP connection is enough.
func connect(ctx context.Context, network, address string) Attempt {
	what := "connect to " + address
	if network == "udp4" {
		what = "be answered by " + address + " over UDP"
	}
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return tried(what, plain(err))
	}
	defer conn.Close() // nothing is left to send
	if network != "udp4" {
		return tried(what, nil)
	}
	_ = conn.SetDeadline(time.Now().Add(patience)) // never fails on an open connection
	if _, err = conn.Write([]byte("imx")); err == nil {
		_, err = conn.Read(make([]byte, 3))
	}
	return tried(what, plain(err))
}

// serve is the bait.
func serve(ctx context.Context, out io.Writer) int {
	if _, err := Answer(ctx, ":"+strconv.Itoa(BaitPort)); err != nil {
		_, _ = fmt.Fprintln(out, err)
		return 1
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended
	return 0
}

// Answer accepts connections at an address, and sends datagrams back, until ctx ends. It returns the address with the
// port, which is a free one where none is named.
func Answer(ctx context.Context, address string) (string, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp4", address)
	if err != nil {
		return "", err
	}
	packets, err := config.ListenPacket(ctx, "udp4", listener.Addr().String())
	if err != nil {
		_ = listener.Close() // nothing came
		return "", err
	}
	context.AfterFunc(ctx, func() {
		_ = listener.Close() // what came was answered
		_ = packets.Close()
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close() // to be reached was all
		}
	}()
	go func() {
		b := make([]byte, 64)
		for {
			n, from, err := packets.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = packets.WriteTo(b[:n], from) // who asked is waiting for it, or isn't
		}
	}()
	return listener.Addr().String(), nil
}
