package cli_test

// README is the first page that anybody reads: what it tells people to type is typed here, and the
// demo that it promises is played.

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"imx/internal/cli"
)

// needServer skips where no real server can run.
func needServer(t *testing.T) {
	t.Helper()
	switch {
	case cli.ClientOnly:
		t.Skip("this is the client-only build")
	case os.Geteuid() != 0:
		t.Skip("a server that runs instances needs root")
	case testing.Short():
		t.Skip("it builds images from the archive")
	}
}

// readmeCommands returns what README's console blocks have a person type, in order.
func readmeCommands(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			command, _, _ := strings.Cut(strings.TrimPrefix(line, "# "), " # ")
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	return commands
}

// The commands become a script, with these differences: make's targets are what CI runs, PATH is
// the test's own, the server gets a data folder, a free port takes the place of 8080 and a real tag that of TAG.
func TestEveryCommandInReadmeWorks(t *testing.T) {
	t.Parallel()
	needServer(t)
	var script strings.Builder
	for _, command := range readmeCommands(t) {
		switch {
		case strings.HasPrefix(command, "make ") || strings.HasPrefix(command, "export PATH"):
			targets, err := os.ReadFile("../../Makefile")
			if err != nil {
				t.Fatal(err)
			}
			if name, ok := strings.CutPrefix(command, "make "); ok && !regexp.MustCompile(`(?m)^`+name+`:`).Match(targets) {
				t.Errorf("README says %q, and the Makefile has no such target", command)
			}
		case command == "imx server &":
			fmt.Fprintln(&script, "server --network $NETWORK --listen 127.0.0.1:$PORT2")
		case command == "imx init hello":
			fmt.Fprintf(&script, "exec %s\nexec sed -i 's/publish   = 8080/publish   = '$PORT'/' hello/hello.imx.hcl\n", command)
		case strings.HasPrefix(command, "curl "):
			fmt.Fprintln(&script, "get http://127.0.0.1:$PORT/ Hello")
		case strings.HasPrefix(command, "imx destroy"): // the last of its block; the registry still has the image
			fmt.Fprintf(&script, "exec %s\n", command)
		case strings.HasPrefix(command, "skopeo "):
			fmt.Fprintf(&script, "tag TAG hello\nexec %s\nstdout '\"Digest\"'\n",
				strings.NewReplacer("5050", "$PORT2", ":TAG", ":$TAG").Replace(command))
		default:
			fmt.Fprintf(&script, "exec %s\n", command)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "readme.txtar"), []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, e2eParams(t, dir))
}

func TestTheDemoLosesNoRequestAndLeavesNothing(t *testing.T) {
	needServer(t)
	out, err := exec.CommandContext(t.Context(), plainProgram(t), "demo").CombinedOutput()
	for _, want := range []string{`requests sent +[1-9]`, `lost +0\n`, `release app 2 failed`, `release app 3 failed`, `[1-9][0-9.]* % of [0-9]+ requests failed, of release 1's 0.0 %`, `web is back on release`, `nothing is left behind`} {
		if err != nil || !regexp.MustCompile(want).Match(out) {
			t.Fatalf("the demo ended with %v and without %q:\n%s", err, want, out)
		}
	}
}
