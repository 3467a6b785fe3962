package keeper_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"imx"
)

// A process that needs more memory than it may have is ended by that limit alone, and told of as what it was; the sockets wait for the next.
func TestAProcessThatNeedsTooMuchMemoryIsReplacedAndThatIsSaid(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.place.Memory = 48 << 20
		w.ingress.Limits = imx.IngressLimits{PerClient: 9000, Header: 1 << 20, HeaderTimeout: imx.Duration(patience)}
	})
	w.release(1, imx.Route{Host: "shop.example"})
	w.serves(w.client(), w.url("/"), "shop-1-0")
	pid := w.process()
	var conns []net.Conn
	header := "GET / HTTP/1.1\r\nHost: shop.example\r\n" + strings.Repeat("A: "+strings.Repeat("b", 4000)+"\r\n", 200) // it has no end
	for range 200 {
		conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(w.ingress.HTTP))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		if _, err = io.WriteString(conn, header); err != nil {
			break // it is gone
		}
	}
	w.until("its end is told", func() bool {
		p := w.keeper.Views(w.State())[0].Process
		return p.Lost != nil && strings.HasPrefix(p.Lost.Reason, "its memory limit of 48.0 MiB ended it")
	})
	for _, conn := range conns {
		_ = conn.Close()
	}
	w.serves(w.client(), w.url("/"), "shop-1-0")
	if now := w.process(); now == pid || len(w.keeper.Mode()) != 1 {
		t.Errorf("process %d answers, %v", now, w.keeper.Mode())
	}
	w.end()
	w.begin()
	w.serves(w.client(), w.url("/"), "shop-1-0")
	if err := syscall.Kill(w.process(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.until("the next server tells of an end that had nothing to do with the limit", func() bool {
		p := w.keeper.Views(w.State())[0].Process
		return p.Lost != nil && strings.HasPrefix(p.Lost.Reason, "it ended by itself")
	})
}

// One that ends again and again isn't started all the time; its sockets wait, and with them who connects.
func TestAProcessThatEndsAgainAndAgainIsStartedWithPauses(t *testing.T) {
	w := newWorld(t)
	w.release(1, imx.Route{Host: "shop.example"})
	c := w.client()
	for range 2 {
		w.serves(c, w.url("/"), "shop-1-0")
		if err := syscall.Kill(w.process(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		c.CloseIdleConnections()
	}
	w.until("it is said", func() bool {
		return strings.Contains(fmt.Sprint(w.keeper.Views(w.State())[0].Faults), "the process ended again and again: it ended by itself")
	})
	if status, body := w.get(c, w.url("/")); status != 200 {
		t.Errorf("who connects meanwhile isn't answered: %d %s", status, body)
	}
	if p := w.keeper.Views(w.State())[0].Process; p.Lost == nil || p.Lost.Count != 2 {
		t.Errorf("%+v", p)
	}
}

// All that it is, with its threads, is bounded.
func TestTheProcessIsInAGroupWithLimits(t *testing.T) {
	w := newWorld(t)
	w.release(1, imx.Route{Host: "shop.example"})
	w.serves(w.client(), w.url("/"), "shop-1-0")
	text, err := os.ReadFile("/proc/" + strconv.Itoa(w.process()) + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	traces, err := w.place.Traces()
	if err != nil || len(traces) == 0 {
		t.Fatalf("%v, %v", traces, err)
	}
	if n := strings.Count(string(text), "/imx-"+w.place.ID+".ingress\n"); n != len(traces) {
		t.Errorf("it is in %d of the groups %v:\n%s", n, traces, text)
	}
}
