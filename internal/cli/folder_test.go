package cli_test

// Git is never talked into trusting a repository that it doesn't trust by itself.

import (
	"os"
	"os/exec"
	"path/filepath"
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
	source, said := cli.GitSource(t.Context(), dir)
	if source.Commit != "" || len(said) != 1 || said[0].Severity != imx.SeverityNotice {
		t.Errorf("%+v, %+v", source, said)
	}
}
