package api

import (
	"context"
	"fmt"
	"net"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"

	"imx"
)

type callerKey struct{}

// ConnContext is an http.Server's ConnContext. It notes which user holds the other end of a unix
// socket, as the kernel says (SO_PEERCRED of unix(7)), for every request of the connection.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return ctx
	}
	var peer *unix.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) { peer, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || asked != nil {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, principal(peer.Uid))
}

// principal names a user: by name, or "uid:1234" for one that this machine doesn't know.
func principal(uid uint32) imx.Principal {
	number := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(number); err == nil {
		return imx.Principal(u.Username)
	}
	return imx.Principal(fmt.Sprintf("uid:%s", number))
}

// Caller returns whom ConnContext noted. Errors: Refused, where it could tell nothing.
func Caller(ctx context.Context) (imx.Principal, error) {
	p, ok := ctx.Value(callerKey{}).(imx.Principal)
	if !ok {
		return "", imx.Errorf(imx.Refused, "the server can't tell who is asking").
			WithHint("use the server's unix socket on its own machine")
	}
	return p, nil
}
