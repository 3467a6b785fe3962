package build_test
import ("testing";"time";"os/exec";"imx/internal/build")
func TestZZ(t *testing.T) {
	w, b := host(t)
	spec := realImages()["app"].spec
	spec.Name = "app"
	spec.Generated = []string{"/usr/lib/python3*/**/__pycache__/**"}
	p := w.planned(t, spec)
	res := run(t, b, p)
	o, err := build.New(w.config(t.TempDir()))
	if err != nil { t.Fatal(err) }
	res2, err := o.Run(t.Context(), p, quiet)
	t.Log("BOTH", res.Image, res2.Image, err)
	root := mounted(t, b, res.Image.Digest)
	for range 3 {
	at := time.Now()
	cmd := exec.Command("chroot", root, "/usr/bin/python3", "-c", "import redis, ssl, json, http.server")
	out, err := cmd.CombinedOutput()
	t.Log("image", time.Since(at), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), string(out), err)
	}
}
