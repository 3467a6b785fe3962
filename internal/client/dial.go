package client

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"path/filepath"

	"imx"
)

// maxSocketPath is how many bytes of a path fit into a unix socket's address: sun_path of
// unix(7) holds 108 with its closing zero.
const maxSocketPath = 107

// dial connects to the socket, whatever the length of its path.
func (c *Client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	path := c.socket
	if len(path) > maxSocketPath {
		short, done, err := shorten(path)
		if err != nil {
			return nil, err
		}
		defer done()
		path = short
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// unreachable returns the error for a request that got no answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	var own *imx.Error
	var dialing *net.OpError
	switch {
	case ctx.Err() != nil:
		return stopped(ctx)
	case errors.As(err, &own):
		return own
	case errors.Is(err, fs.ErrPermission):
		return imx.Errorf(imx.Refused, "you may not open %s", c.socket).
			WithHint("only root may: run the command as root, or with sudo")
	case errors.As(err, &dialing) && dialing.Op == "dial", errors.Is(err, fs.ErrNotExist):
		return imx.Errorf(imx.Unavailable, "no imx server answers at %s", c.socket).
			WithHint("start one with: imx server --data %s; or name another folder with --data or IMX_DATA", filepath.Dir(c.socket))
	}
	return c.broken(ctx, err)
}
