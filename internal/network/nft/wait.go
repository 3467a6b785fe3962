package nft

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/fnv"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/network"
)

// groups bounds how many groups Listen tries: other programs, and other servers, have some.
const groups = 32

// firstGroup is the netlink group that a table reports to, if nobody else has it. Group 0 is the kernel's own log.
func firstGroup(table string) uint16 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(table)) // a hash's Write returns no error
	const highest = 1<<16 - 1 - groups
	return uint16(h.Sum32()%highest) + 1
}

// Listen calls waits for each attempt to open a connection to a service whose connections wait, until ctx ends. There may be
// more attempts than it hears of: the kernel reports only so many at a time. Call it before Apply, which then reports to it.
// waits must not block. Errors: Exhausted where no group is free to report to, and as of Apply.
func (t *Table) Listen(ctx context.Context, waits func(network.SYN)) error {
	conn, err := t.join()
	if err != nil {
		return explain(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // which ends Receive
	defer stop()
	for {
		msgs, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			continue // reports were lost: there are too many of them
		case err != nil:
			return errors.Join(explain(err), conn.Close())
		}
		for _, m := range msgs {
			if syn, err := network.ParseSYN(packetOf(m)); err == nil {
				waits(syn)
			}
		}
	}
}

// join opens a socket to which the table's attempts are reported.
func (t *Table) join() (*netlink.Conn, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	first := firstGroup(t.name)
	for group := first; group < first+groups; group++ {
		err := bind(conn, group)
		if errors.Is(err, unix.EBUSY) {
			continue
		}
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		t.mu.Lock()
		t.group = group
		t.mu.Unlock()
		return conn, nil
	}
	_ = conn.Close() // nothing came through it
	return nil, imx.Errorf(imx.Exhausted, "no netlink group from %d on is free to report waiting connections to", first).
		WithHint("other programs that log packets (ulogd) have them all")
}

// What linux/netfilter/nfnetlink_log.h names.
const (
	logConfig      = 1 // NFULNL_MSG_CONFIG
	logCommand     = 1 // NFULA_CFG_CMD
	logMode        = 2 // NFULA_CFG_MODE
	logPayload     = 9 // NFULA_PAYLOAD
	commandBind    = 1 // NFULNL_CFG_CMD_BIND
	modeCopyPacket = 2 // NFULNL_COPY_PACKET
)

// maxHeaders is the longest that the headers of IPv4 and TCP can be together. A SYN that carries data is reported without that.
const maxHeaders = 120

// bind has a group's reports come to the socket. They may come before the kernel has confirmed that, and are left to the next try.
func bind(conn *netlink.Conn, group uint16) error {
	mode := append(binary.BigEndian.AppendUint32(nil, maxHeaders), modeCopyPacket, 0)
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: logCommand, Data: []byte{commandBind}}, {Type: logMode, Data: mode}})
	if err != nil {
		return err
	}
	header := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, group)
	if _, err := conn.Send(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_ULOG<<8 | logConfig, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append(header, attrs...),
	}); err != nil {
		return err
	}
	for {
		msgs, err := conn.Receive()
		if err != nil {
			return err
		}
		for _, m := range msgs {
			if m.Header.Type == netlink.Error { // which confirms, or Receive had failed
				return nil
			}
		}
	}
}

// packetOf is the packet that a message reports, nil if it reports none.
func packetOf(m netlink.Message) []byte {
	ad, err := attributes(m)
	if err != nil {
		return nil
	}
	for ad.Next() {
		if ad.Type() == logPayload {
			return ad.Bytes()
		}
	}
	return nil
}

// Resend sends an attempt again as it came, also in another's name. It goes out by the rules for what this machine, or the
// instance whose network namespace the calling thread is in, sends itself.
func (*Table) Resend(s network.SYN) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return explain(err)
	}
	err = unix.Sendto(fd, s.Packet, 0, &unix.SockaddrInet4{Addr: s.To.Addr().As4()})
	if errors.Is(err, unix.EPERM) { // the rules dropped it: it waits again
		err = nil
	}
	return explain(errors.Join(err, unix.Close(fd)))
}
