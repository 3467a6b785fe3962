// That what can't run is refused before it starts, and says why where it was started all the same.

package local_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"imx"
)

func TestACommandThatCantBeRunIsTheReasonOfTheEnd(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	for number, c := range []struct {
		command, says string
		code          int
	}{
		{"/bin/nothing", `image "app" has no file /bin/nothing`, 127},
		{"/bin/app/deeper", `image "app" has no file /bin/app/deeper`, 127},
		{"/etc/passwd", `/etc/passwd of image "app" is not an executable file (-rw-r--r--)`, 126},
		{"/private", `/private of image "app" is not an executable file (drwx------)`, 126},
	} {
		r := m.release("web", number+1)
		r.Spec.Command = []string{c.command}
		err := e.Admit(t.Context(), r)
		if want := "the command can't be run: " + c.says; imx.KindOf(err) != imx.Invalid || err.Error() != want {
			t.Errorf("Admit said %v, want %s", err, want)
		}
		err = scale(t, e, r, 1)
		if imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), c.command) {
			t.Errorf("got the error %v", err)
		}
		x := e.until(t, r, 1, imx.Ended)[0]
		if x.Exit.Code != c.code || !strings.HasPrefix(x.Reason, "the command can't be run: ") || !strings.Contains(x.Reason, c.command) {
			t.Errorf("it ended with %+v: %q", x.Exit, x.Reason)
		}
	}
	m.compare(t, e)
}

func TestACommandThatTheReleaseBringsIsAdmitted(t *testing.T) {
	m := newMachine(t)
	e := m.open(t)
	r := m.release("web", 1)
	r.Spec.Command = []string{"/bin/script"}
	r.Spec.Files = []imx.File{{Path: "/bin/script", Mode: 0o755}}
	if err := e.Admit(t.Context(), r); err != nil {
		t.Error(err)
	}
	r.Config.User = "nobody-has-this"
	if err := e.Admit(t.Context(), r); imx.KindOf(err) != imx.Invalid {
		t.Errorf("with a user that isn't there Admit said %v", err)
	}
	m.noTrace(t)
}

func TestAPortThatAProcessListensOnIsRefusedByItsName(t *testing.T) {
	m := newMachine(t)
	e := m.running(t)
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", m.ports[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = e.Admit(t.Context(), m.release("web", 1))
	want := fmt.Sprintf("port %d, which service \"web\" publishes, is taken by process %d (local.test)", m.ports[0], os.Getpid())
	if imx.KindOf(err) != imx.Conflict || err.Error() != want {
		t.Errorf("got the error %v, want %s", err, want)
	}
}
