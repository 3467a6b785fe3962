// These tests are here because people approve with the keys that they have, and everybody must be able to verify it: with
// a real agent and the files that ssh-keygen writes.
package sshsign_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"imx"
	"imx/internal/sign"
	"imx/internal/sshsign"
)

const review = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}],` +
	`"predicateType":"urn:imx:review:v1","predicate":{"approves":true}}`

// kinds are those of keys that ssh-keygen makes, by name.
func kinds() map[string][]string {
	return map[string][]string{
		"ed25519": {"-t", "ed25519"}, "rsa": {"-t", "rsa", "-b", "2048"},
		"p256": {"-t", "ecdsa", "-b", "256"}, "p384": {"-t", "ecdsa", "-b", "384"}, "p521": {"-t", "ecdsa", "-b", "521"},
	}
}

// keygen makes a key, and returns its file.
func keygen(t *testing.T, phrase string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "id")
	run(t, nil, "ssh-keygen", append([]string{"-q", "-N", phrase, "-C", "ada@laptop", "-f", path}, args...)...)
	return path
}

func run(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// agent starts an agent with keys, and returns its socket.
func agent(t *testing.T, files ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "imx-agent-") //nolint:usetesting // a test's own folder has too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil { // it says where it listens once it does
		t.Fatal(err)
	}
	for _, f := range files {
		run(t, []string{"SSH_AUTH_SOCK=" + socket}, "ssh-add", "-q", f)
	}
	return socket
}

// signed signs a review with a key that is chosen, and verifies it as everybody does.
func signed(t *testing.T, c sshsign.Choice, publicFile string) {
	t.Helper()
	k, err := sshsign.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := sign.Seal([]byte(review), k)
	if err != nil {
		t.Fatal(err)
	}
	line, err := os.ReadFile(publicFile)
	if err != nil {
		t.Fatal(err)
	}
	p, err := sign.ParsePublic(string(line))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := sign.Open(bundle)
	if err == nil {
		err = opened.Verify(p)
	}
	if err != nil || k.ID != p.ID {
		t.Errorf("signed with %s: %v", k.ID, err)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
}

func TestEveryKindOfKeySignsFromAnAgentAndFromAFile(t *testing.T) {
	for name, args := range kinds() {
		t.Run(name, func(t *testing.T) {
			file := keygen(t, "", args...)
			socket := agent(t, file)
			signed(t, sshsign.Choice{Socket: socket}, file+".pub")
			signed(t, sshsign.Choice{Socket: socket, Key: file + ".pub"}, file+".pub")
			signed(t, sshsign.Choice{Key: file}, file+".pub")
			signed(t, sshsign.Choice{Key: file + ".pub"}, file+".pub")
		})
	}
}

func TestAFileWithAPassphraseAsksForIt(t *testing.T) {
	file := keygen(t, "open sesame", "-t", "ed25519")
	asked := func(answer string) func(context.Context, string) ([]byte, error) {
		return func(_ context.Context, name string) ([]byte, error) {
			if name != file {
				t.Errorf("asked for %s", name)
			}
			return []byte(answer), nil
		}
	}
	signed(t, sshsign.Choice{Key: file, Passphrase: asked("open sesame")}, file+".pub")
	if _, err := sshsign.Open(t.Context(), sshsign.Choice{Key: file, Passphrase: asked("wrong")}); imx.KindOf(err) != imx.Refused {
		t.Errorf("a wrong passphrase: err = %v", err)
	}
	if _, err := sshsign.Open(t.Context(), sshsign.Choice{Key: file}); imx.KindOf(err) != imx.Invalid || !strings.Contains(imx.AsError(err).Hint, "ssh-add") {
		t.Errorf("nobody to ask: err = %v", err)
	}
}

func TestOfSeveralKeysTheOneThatIsKnownOrNamedSigns(t *testing.T) {
	one, two := keygen(t, "", "-t", "ed25519"), keygen(t, "", "-t", "ecdsa", "-b", "256")
	socket := agent(t, one, two)
	line, err := os.ReadFile(two + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	p, err := sign.ParsePublic(string(line))
	if err != nil {
		t.Fatal(err)
	}
	signed(t, sshsign.Choice{Socket: socket, Known: []string{"SHA256:other", p.ID}}, two+".pub")
	signed(t, sshsign.Choice{Socket: socket, Key: p.ID}, two+".pub")
	signed(t, sshsign.Choice{Socket: socket, Key: strings.TrimPrefix(p.ID, "SHA256:")[:10]}, two+".pub")
	for what, c := range map[string]struct {
		choice sshsign.Choice
		kind   imx.Kind
		says   string
	}{
		"two that could be meant": {sshsign.Choice{Socket: socket}, imx.Invalid, "2 keys"},
		"none that is known":      {sshsign.Choice{Socket: socket, Known: []string{}}, imx.NotFound, "no key that is wanted"},
		"one that isn't there":    {sshsign.Choice{Socket: socket, Key: "SHA256:none"}, imx.NotFound, "no key that is wanted"},
		"a file that isn't there": {sshsign.Choice{Socket: socket, Key: "keys/nope"}, imx.NotFound, "there is no file keys/nope"},
		"no agent":                {sshsign.Choice{}, imx.NotFound, "no SSH agent"},
		"an agent that is gone":   {sshsign.Choice{Socket: socket + "-gone"}, imx.Unavailable, "doesn't answer"},
	} {
		if _, err := sshsign.Open(t.Context(), c.choice); imx.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: err = %v", what, err)
		}
	}
}

func TestFilesThatAreNoKeyToSignWithAreRefused(t *testing.T) {
	open := keygen(t, "", "-t", "ed25519")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "broken")
	token := filepath.Join(t.TempDir(), "token.pub")
	for path, text := range map[string]string{
		broken: "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
		token:  "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnASAAAABHNzaDo= ada\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, c := range map[string]struct {
		kind imx.Kind
		says string
	}{
		open:   {imx.Refused, "may be read by others"},
		broken: {imx.Invalid, "no private key that can be read"},
		token:  {imx.Refused, "in a hardware token"},
	} {
		if _, err := sshsign.Open(t.Context(), sshsign.Choice{Key: path}); imx.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: err = %v", path, err)
		}
	}
}

func TestWhoGoesAwayIsNotHeldByAnAgent(t *testing.T) {
	file := keygen(t, "", "-t", "ed25519")
	ctx, leave := context.WithCancel(t.Context())
	k, err := sshsign.Open(ctx, sshsign.Choice{Socket: agent(t, file)})
	if err != nil {
		t.Fatal(err)
	}
	leave()
	if _, err := sign.Seal([]byte(review), k); err == nil {
		t.Error("it was signed after its person went away")
	}
}
