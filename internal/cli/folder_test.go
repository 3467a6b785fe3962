package cli_test

// The lock file is written whole or not at all, and Git is never talked into trusting a repository
// that it doesn't trust by itself.

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"imx"
	"imx/internal/cli"
)

func TestAFailedWriteLeavesTheOldFileAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "imx.lock")
	if err := os.MkdirAll(filepath.Join(name, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := cli.WriteWhole(name, []byte("new")); err == nil {
		t.Error("a folder was replaced by a file")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "imx.lock" {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAWriteReplacesTheOldFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "imx.lock")
	for _, want := range []string{"old and long", "new"} {
		if err := cli.WriteWhole(name, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("read %q, %v", got, err)
		}
	}
}

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
