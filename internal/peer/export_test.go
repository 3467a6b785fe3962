package peer

import "net"

// Sure reports whether the kernel gives a pidfd of who connected, or says that they have ended.
func Sure(conn *net.UnixConn) bool {
	p, err := at(conn)
	defer p.close()
	return err != nil || p.handle >= 0
}

// LoginOfAnother asks for the login of whoever connected, if another process had its number by now.
func LoginOfAnother(conn *net.UnixConn, pid int) (uint32, error) {
	p, err := at(conn)
	if err != nil {
		return 0, err
	}
	defer p.close()
	p.pid = pid
	return p.login()
}
