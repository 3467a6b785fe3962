package daemon

import (
	"os"
	"os/exec"
	"strings"

	"imx"
)

// suitable says whether a server can do its work on this machine at all: better now, in one
// sentence, than in the middle of the first apply. Errors: Refused without root; Unavailable, with
// the packages to install, where programs are missing.
func suitable() error {
	if os.Geteuid() != 0 {
		return imx.Errorf(imx.Refused, "the server needs root: it mounts images, makes network namespaces and sets limits").
			WithHint("run it with sudo or as a systemd unit; all other commands only need its socket")
	}
	var programs, packages []string
	for _, need := range []struct{ program, debian string }{
		{"conmon", "conmon"}, {"crun", "crun"}, {"unshare", "util-linux"}, {"mount", "mount"}, {"chroot", "coreutils"},
	} {
		if _, err := exec.LookPath(need.program); err != nil {
			programs, packages = append(programs, need.program), append(packages, need.debian)
		}
	}
	if len(programs) > 0 {
		return imx.Errorf(imx.Unavailable, "the server needs programs that this machine doesn't have: %s", strings.Join(programs, ", ")).
			WithHint("apt-get install %s", strings.Join(packages, " "))
	}
	return nil
}
