package front

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/ingress"
)

// What a front is asked, over its unix socket: a question as JSON, with descriptors beside its first byte, up to the end of what is sent;
// an answer in the same form; and the connection is over.

// op is what a question is.
type op string

const (
	opListen    op = "listen"    // takes over a listening socket
	opListeners op = "listeners" // hands its listening sockets out
	opConfigure op = "configure" // does what a Config says from now on
	opStatus    op = "status"
	opBusy      op = "busy"   // which instances have requests
	opCounts    op = "counts" // what came of requests
	opDrain     op = "drain"  // finishes what is open, and ends
)

type question struct {
	Op     op              `json:"op"`
	Port   int             `json:"port,omitempty"`
	Config *ingress.Config `json:"config,omitempty"`
}

type answer struct {
	Error  *imx.Error         `json:"error,omitempty"`
	Status *Status            `json:"status,omitempty"`
	Ports  []int              `json:"ports,omitempty"` // of the descriptors beside it, in their order
	Busy   map[netip.Addr]int `json:"busy,omitempty"`
	Counts []imx.IngressCount `json:"counts,omitempty"`
}

// Status is how a front does.
type Status struct {
	Process      imx.IngressProcessView           `json:"process"`
	Ports        []int                            `json:"ports"`
	Certificates map[string][]imx.CertificateView `json:"certificates,omitempty"` // by ingress
	Counts       []imx.IngressCount               `json:"counts,omitempty"`
	Suspect      []string                         `json:"suspect,omitempty"` // ids of instances
	Config       ingress.Config                   `json:"config"`            // without keys
}

// maxMessage bounds a question or an answer: thousands of routes and certificates.
const maxMessage = 64 << 20

// maxFiles bounds the descriptors beside one.
const maxFiles = 64

// talkTime is how long a question and its answer may take.
const talkTime = 10 * time.Second

// send writes a message, with files beside it, and ends the sending.
func send(conn *net.UnixConn, v any, files []*os.File) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var rights []byte
	if len(files) > 0 {
		if rights, err = handles(files); err != nil {
			return err
		}
	}
	n, _, err := conn.WriteMsgUnix(b, rights, nil)
	for err == nil && n < len(b) {
		var more int
		more, err = conn.Write(b[n:])
		n += more
	}
	return errors.Join(err, conn.CloseWrite())
}

// handles are the descriptors of files as they go beside a message. File.Fd would make a socket block that others wait on, too.
func handles(files []*os.File) ([]byte, error) {
	var fds []int
	for _, f := range files {
		raw, err := f.SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) { fds = append(fds, int(fd)) })
		}
		if err != nil {
			return nil, err
		}
	}
	return unix.UnixRights(fds...), nil
}

// receive reads what send wrote. The caller closes the files.
func receive(conn *net.UnixConn, v any) ([]*os.File, error) {
	first, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4*maxFiles))
	n, oobn, _, _, err := conn.ReadMsgUnix(first, oob)
	files, failed := received(oob[:oobn])
	if err = errors.Join(err, failed); err == nil {
		var b []byte
		b, err = io.ReadAll(io.LimitReader(io.MultiReader(bytes.NewReader(first[:n]), conn), maxMessage))
		if err == nil {
			err = json.Unmarshal(b, v)
		}
	}
	if err != nil {
		closeAll(files)
		return nil, err
	}
	return files, nil
}

func received(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // some other message
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // a descriptor of a socket: nothing is written through it
	}
}

// Client asks a front. Its errors are of kind Unavailable where none answers.
type Client struct{ Socket string }

func (c Client) ask(q question, files ...*os.File) (answer, []*os.File, error) {
	var a answer
	dialed, err := (&net.Dialer{Timeout: talkTime}).Dial("unix", c.Socket)
	if err != nil {
		return a, nil, imx.Errorf(imx.Unavailable, "the ingress' process doesn't answer: %w", err)
	}
	defer dialed.Close() // both sides have ended their sending
	conn, ok := dialed.(*net.UnixConn)
	if !ok {
		return a, nil, imx.Errorf(imx.Internal, "%s is no unix socket", c.Socket)
	}
	if err := conn.SetDeadline(time.Now().Add(talkTime)); err != nil {
		return a, nil, err
	}
	if err := send(conn, q, files); err != nil {
		return a, nil, imx.Errorf(imx.Unavailable, "the ingress' process doesn't listen: %w", err)
	}
	back, err := receive(conn, &a)
	if err != nil {
		return a, nil, imx.Errorf(imx.Unavailable, "the ingress' process gave no answer: %w", err)
	}
	if a.Error != nil {
		closeAll(back)
		return a, nil, a.Error
	}
	return a, back, nil
}

// Listen gives the front a listening socket for a port. The file stays the caller's.
func (c Client) Listen(port int, socket *os.File) error {
	_, _, err := c.ask(question{Op: opListen, Port: port}, socket)
	return err
}

// Listeners returns the front's listening sockets by port, for the caller to close. It goes on to listen on them.
func (c Client) Listeners() (map[int]*os.File, error) {
	a, files, err := c.ask(question{Op: opListeners})
	if err != nil {
		return nil, err
	}
	if len(files) != len(a.Ports) {
		closeAll(files)
		return nil, imx.Errorf(imx.Internal, "the ingress' process gave %d sockets for %d ports", len(files), len(a.Ports))
	}
	all := map[int]*os.File{}
	for i, port := range a.Ports {
		all[port] = files[i]
	}
	return all, nil
}

// Configure has the front do what a Config says from now on, all at once. Requests that it has go on as they began.
func (c Client) Configure(config ingress.Config) (Status, error) {
	return c.status(question{Op: opConfigure, Config: &config})
}

// Status asks how the front does.
func (c Client) Status() (Status, error) { return c.status(question{Op: opStatus}) }

func (c Client) status(q question) (Status, error) {
	a, _, err := c.ask(q)
	if err == nil && a.Status == nil {
		err = imx.Errorf(imx.Internal, "the ingress' process gave an answer without its state")
	}
	if err != nil {
		return Status{}, err
	}
	return *a.Status, nil
}

// Busy returns the instances that have requests of the front, and how many.
func (c Client) Busy() (map[netip.Addr]int, error) {
	a, _, err := c.ask(question{Op: opBusy})
	return a.Busy, err
}

// Counts returns what came of requests since the process began.
func (c Client) Counts() ([]imx.IngressCount, error) {
	a, _, err := c.ask(question{Op: opCounts})
	return a.Counts, err
}

// Drain has the front end: it takes no new connections, and finishes what those that it has ask.
func (c Client) Drain() error {
	_, _, err := c.ask(question{Op: opDrain})
	return err
}
