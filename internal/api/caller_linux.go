package api

import (
	"context"
	"net"

	"imx"
	"imx/internal/peer"
)

type callerKey struct{}

// caller is which account a connection is from, or why that can't be told.
type caller struct {
	account string
	err     error
}

// ConnContext is an http.Server's ConnContext. It notes, as package peer tells it, which account is at the other end of a unix
// socket, for every request of the connection.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	var c caller
	c.account, c.err = peer.Account(socket)
	return context.WithValue(ctx, callerKey{}, c)
}

// Caller returns the account that ConnContext noted. Errors: Refused, where it could tell nothing.
func Caller(ctx context.Context) (account string, err error) {
	c, ok := ctx.Value(callerKey{}).(caller)
	if !ok {
		return "", imx.Errorf(imx.Refused, "the server can't tell who is asking").
			WithHint("use the server's unix socket on its own machine")
	}
	return c.account, c.err
}
