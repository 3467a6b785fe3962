package cli_test

// Git is never talked into trusting a repository that it doesn't trust by itself; and what a server says of a
// template is shown with the line that it is about.

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"imx"
	"imx/internal/cli"
)

func TestARepositoryThatGitDoesNotTrustGivesANoticeAndNoCommit(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving a folder to another user needs root")
	}
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull) // nor does a person's own setting make it trusted
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	dir := t.TempDir()
	if out, err := exec.Command("git", "init", "-q", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const somebody = 12345
	for _, name := range []string{dir, filepath.Join(dir, ".git")} {
		if err := os.Chown(name, somebody, somebody); err != nil {
			t.Fatal(err)
		}
	}
	source, said := cli.GitSource(t.Context(), dir, nil)
	if source.Commit != "" || len(said) != 1 || said[0].Severity != imx.SeverityNotice {
		t.Errorf("%+v, %+v", source, said)
	}
}

func TestADiagnosticQuotesItsLineUnlessNobodyWouldReadThat(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.imx.hcl"), []byte("short\n"+strings.Repeat("long", 1000)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[int]string{1: "short", 2: "", 3: ""} {
		d := imx.Diagnostic{Summary: "x", At: imx.Pos{File: "a.imx.hcl", Line: line, Column: 1, End: 2}}
		if got := cli.InFolder(imx.Diagnostics{d}, dir)[0].Source; got != want {
			t.Errorf("line %d is quoted as %q, want %q", line, got, want)
		}
	}
}
