package build_test

import (
	"os/exec"
	"strings"
	"testing"

	"imx"
)

func TestReal(t *testing.T) {
	w, b := real(t)
	for _, tt := range []struct {
		packages []string
		cmd      string
	}{
		{[]string{"redis-server"}, "/usr/bin/redis-server --version"},
		{[]string{"python3-minimal", "python3-redis"}, "/usr/bin/python3 -c import(redis)"},
		{[]string{"python3-redis", "ca-certificates"}, "/usr/bin/python3 -c import(redis)"},
		{[]string{"postgresql-15", "dash"}, "/usr/lib/postgresql/15/bin/postgres --version"},
	} {
		p := w.planned(t, imx.ImageSpec{Name: "x", Packages: tt.packages})
		var tools, ship []string
		for _, x := range p.Tools {
			tools = append(tools, x.Name)
		}
		for _, x := range p.Ship {
			ship = append(ship, x.Name)
		}
		t.Log("tools", tools)
		t.Log("ship", ship)
		res, err := b.Run(t.Context(), p, log(t))
		if err != nil {
			t.Error(err)
			continue
		}
		t.Logf("%+v", res.Image)
		root := mounted(t, b, res.Image.Digest)
		args := append([]string{root}, strings.Fields(strings.ReplaceAll(tt.cmd, "(", " ("))...)
		if strings.Contains(tt.cmd, "import") {
			args = []string{root, "/usr/bin/python3", "-c", "import redis; print(redis)"}
		}
		out, err := exec.Command("chroot", args...).CombinedOutput()
		t.Log(string(out), err)
		t.Log(strings.Join(paths(t, root), "\n"))
	}
}
