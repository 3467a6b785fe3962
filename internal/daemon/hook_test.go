package daemon_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/client"
	"imx/internal/daemon"
)

const hookSecret = "0123456789abcdef0123456789abcdef"

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.org"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func signature(key, body string) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(h.Sum(nil))
}

// call posts a call of a webhook over TCP and returns the answer's status.
func call(t *testing.T, address, signed, body string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/hooks/shop", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Hub-Signature-256", signed)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// followed is what a server tells of its source as soon as something is so.
func followed(t *testing.T, c *client.Client, so func(imx.SourceView) bool) imx.SourceView {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		v, err := c.Source(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		if so(v) {
			return v
		}
		<-tick.C
	}
	t.Fatal("that never comes")
	return imx.SourceView{}
}

// Over the address that the world reaches: only a call with the right signature has the repository looked at, however often it comes.
func TestAWebhookIsCalledOverTCP(t *testing.T) {
	dir, address := folder(t), freeAddress(t)
	stop, err := start(t, daemon.Config{Data: dir, Network: "10.232.7.0/24", Listen: address})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
		if err := daemon.Purge(t.Context(), dir); err != nil {
			t.Error(err)
		}
	}()
	repo := t.TempDir()
	git(t, repo, "init", "--quiet", "--initial-branch=main")
	commit := func() string {
		git(t, repo, "commit", "--quiet", "--allow-empty", "-m", "a change")
		return git(t, repo, "rev-parse", "HEAD")
	}
	first := commit()
	c := client.New(filepath.Join(dir, "imx.sock"))
	_, err = c.AddSource(t.Context(), imx.SourceRequest{
		Source: imx.GitSource{Name: "shop", URL: repo, Every: imx.Duration(24 * time.Hour)}, Secret: hookSecret,
	})
	if err != nil {
		t.Fatal(err)
	}
	followed(t, c, func(v imx.SourceView) bool { return v.Seen == first })
	const body = `{"ref":"refs/heads/main"}`
	second := commit()
	for what, signed := range map[string]string{
		"no signature": "", "another secret's": signature("x"+hookSecret, body), "another body's": signature(hookSecret, body+" "), "none at all": "sha256=zz",
	} {
		if code := call(t, address, signed, body); code != http.StatusUnauthorized {
			t.Errorf("%s: %d", what, code)
		}
	}
	if v := followed(t, c, func(v imx.SourceView) bool { return v.Refused == 4 }); v.Seen != first {
		t.Errorf("a wrong signature had it looked at: %+v", v)
	}
	if code := call(t, address, signature(hookSecret, body), body); code != http.StatusAccepted {
		t.Errorf("the right signature: %d", code)
	}
	followed(t, c, func(v imx.SourceView) bool { return v.Seen == second })
	if code := call(t, address, signature(hookSecret, body), body); code != http.StatusAccepted {
		t.Errorf("the same call again: %d", code)
	}
	third := commit()
	if code := call(t, address, signature(hookSecret, body), body); code != http.StatusAccepted {
		t.Errorf("and once more: %d", code)
	}
	v := followed(t, c, func(v imx.SourceView) bool { return v.Seen == third })
	if v.Refused != 4 {
		t.Errorf("a call that came again was refused: %+v", v)
	}
}
