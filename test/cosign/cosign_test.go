// Package cosign_test lets others judge what imx signs: the cosign command, and sigstore's own library. It is a module of
// its own, so that nothing of theirs comes into imx.
package cosign_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
)

// version is that of the cosign command, which the cache keeps it by.
const version = "v3.1.3"

// stated has the statements about an image that a build, a test, a scan and an excuse make: the role that signs each, and
// the name by which cosign knows the type.
func stated() map[string][2]string {
	return map[string][2]string{
		"provenance": {"builder", "slsaprovenance1"},
		"spdx":       {"builder", "https://spdx.dev/Document/v2.3"},
		"cyclonedx":  {"builder", "https://cyclonedx.org/bom/v1.6"},
		"scan":       {"scanner", "https://in-toto.io/attestation/vulns/v0.2"},
		"check":      {"scanner", "urn:imx:check:v1"},
		"vex":        {"scanner", "https://openvex.dev/ns/v0.2.0"},
		"test":       {"tester", "https://in-toto.io/attestation/test-result/v0.1"},
	}
}

func TestOthersAcceptWhatImxSignsAndNothingElse(t *testing.T) {
	if testing.Short() || os.Geteuid() != 0 {
		t.Skip("this test runs a server, which needs root, and builds the cosign command once: 6 minutes of processor time")
	}
	cosign := command(t)
	s := start(t)
	s.state(t)
	for name, by := range stated() {
		t.Run(name, func(t *testing.T) {
			key := s.write(t, by[0]+".pem", s.imx(t, "key", "show", by[0], "--pem"))
			good := s.imx(t, "image", "evidence", "hello", name, "--bundle")
			remote := []string{"verify-attestation", "--type", by[1], "--insecure-ignore-tlog", "--allow-insecure-registry", s.address + "/hello@" + s.image}
			if out, err := s.run(t, cosign, append(remote, "--key", key)...); err != nil {
				t.Errorf("cosign refuses it: %v\n%s", err, out)
			}
			other := s.write(t, "releaser.pem", s.imx(t, "key", "show", "releaser", "--pem"))
			if out, err := s.run(t, cosign, append(remote, "--key", other)...); err == nil {
				t.Errorf("cosign accepts another role's key\n%s", out)
			}
			file := []string{"verify-blob-attestation", "--type", by[1], "--insecure-ignore-tlog", "--key", key, "--digest", strings.TrimPrefix(s.image, "sha256:"), "--digestAlg", "sha256", "--bundle"}
			if out, err := s.run(t, cosign, append(file, s.write(t, "good.json", good))...); err != nil {
				t.Errorf("cosign refuses its bundle: %v\n%s", err, out)
			}
			if err := judge(good, key, s.image); err != nil {
				t.Errorf("sigstore-go refuses it: %v", err)
			}
			for what, bad := range flipped(t, good) {
				if err := judge(bad, key, s.image); err == nil {
					t.Errorf("sigstore-go accepts it with a bit flipped in its %s", what)
				}
				if out, err := s.run(t, cosign, append(file, s.write(t, "bad.json", bad))...); err == nil {
					t.Errorf("cosign accepts it with a bit flipped in its %s\n%s", what, out)
				}
			}
		})
	}
}

// flipped returns a bundle with one bit flipped in the payload, and in the signature.
func flipped(t *testing.T, good []byte) map[string][]byte {
	t.Helper()
	bad := map[string][]byte{}
	for _, what := range []string{"payload", "signature"} {
		var b struct {
			MediaType string          `json:"mediaType"`
			Material  json.RawMessage `json:"verificationMaterial"`
			Envelope  struct {
				Payload     []byte `json:"payload"`
				PayloadType string `json:"payloadType"`
				Signatures  []struct {
					Sig []byte `json:"sig"`
				} `json:"signatures"`
			} `json:"dsseEnvelope"`
		}
		if err := json.Unmarshal(good, &b); err != nil {
			t.Fatal(err)
		}
		bits := b.Envelope.Payload
		if what == "signature" {
			bits = b.Envelope.Signatures[0].Sig
		}
		bits[len(bits)/2] ^= 1
		raw, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		bad[what] = raw
	}
	return bad
}

// judge verifies a bundle about an image with sigstore's library.
func judge(raw []byte, key, image string) error {
	text, err := os.ReadFile(key)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return err
	}
	verifier, err := signature.LoadVerifier(public, crypto.SHA256)
	if err != nil {
		return err
	}
	trusted := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(verifier, time.Time{}, time.Time{}), nil
	})
	judge, err := verify.NewVerifier(trusted, verify.WithNoObserverTimestamps())
	if err != nil {
		return err
	}
	var b bundle.Bundle
	if err := b.UnmarshalJSON(raw); err != nil {
		return err
	}
	digest, err := hex.DecodeString(strings.TrimPrefix(image, "sha256:"))
	if err != nil {
		return err
	}
	_, err = judge.Verify(&b, verify.NewPolicy(verify.WithArtifactDigest("sha256", digest), verify.WithKey()))
	return err
}

// command returns the cosign command, which is built once and kept where tests keep what they fetch.
func command(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("IMX_TEST_CACHE")
	if cache == "" {
		home, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, "imx-test")
	}
	path := filepath.Join(cache, "cosign-"+version)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	built := filepath.Join(t.TempDir(), "cosign")
	compile(t, ".", built, "github.com/sigstore/cosign/v3/cmd/cosign")
	b, err := os.ReadFile(built)
	if err == nil {
		err = os.WriteFile(path+".new", b, 0o700)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// compile builds a package, from a folder of its module, to a static program.
func compile(t *testing.T, dir, path, pkg string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, pkg)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", pkg, err, out)
	}
}

// server is a real imx server with an image.
type server struct {
	dir     string
	program string
	address string // of the registry
	image   string // digest of "hello"
}

// start builds imx and starts its server, which ends, with all that it made, when the test does.
func start(t *testing.T) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "imx-cosign-") //nolint:usetesting // a test's own folder has too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &server{dir: dir, program: filepath.Join(dir, "imx"), address: free(t)}
	compile(t, "../..", s.program, "./cmd/imx")
	network := os.Getenv("IMX_TEST_NETWORK")
	if network == "" {
		network = "10.238.0.0/24"
	}
	cmd := exec.Command(s.program, "server", "--data", s.data(), "--listen", s.address, "--network", network)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
		purge := exec.Command(s.program, "server", "purge", "--yes", "--data", s.data())
		if text, wrong := purge.CombinedOutput(); err != nil || wrong != nil {
			t.Errorf("the server's end: %v; purge: %v\n%s%s", err, wrong, text, &log)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, "answers on") {
		t.Fatalf("the server didn't come up: %q, %v\n%s", line, err, &log)
	}
	return s
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

// free returns an address on this machine that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

const template = `
image "hello" {
  command = ["/hello"]
  file "/hello" {
    content = file("hello")
    mode    = "0755"
  }
}

service "hello" {
  image = image.hello
  port "http" {
    container = 8080
  }
}
`

// state has an image built, tested, scanned and excused: each states something of it.
func (s *server) state(t *testing.T) {
	t.Helper()
	shop := filepath.Join(s.dir, "shop")
	if err := os.Mkdir(shop, 0o700); err != nil {
		t.Fatal(err)
	}
	compile(t, "../..", filepath.Join(shop, "hello"), "./internal/cli/testdata/hello")
	if err := os.WriteFile(filepath.Join(shop, "shop.imx.hcl"), []byte(template), 0o600); err != nil {
		t.Fatal(err)
	}
	feed := s.write(t, "kev.json", []byte(`{"title":"KEV","catalogVersion":"1","dateReleased":"2026-01-27T00:00:00Z","count":1,"vulnerabilities":[{"cveID":"CVE-2023-5363","dateAdded":"2026-01-27"}]}`))
	s.imx(t, "build", shop)
	s.imx(t, "test", shop)
	s.imx(t, "feed", "add", feed)
	s.imx(t, "scan", "--keep", "hello")
	s.imx(t, "vex", "hello", "CVE-2023-5363", "--justification", "component_not_present", "--because", "there is no OpenSSL in it")
	var images []struct {
		Digest string `json:"digest"`
	}
	if err := json.Unmarshal(s.imx(t, "image", "list", "--json"), &images); err != nil || len(images) != 1 {
		t.Fatalf("%+v, %v", images, err)
	}
	s.image = images[0].Digest
}

// imx runs the program, and returns what it prints.
func (s *server) imx(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.program, append(args, "--data", s.data())...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		t.Fatalf("imx %s: %v\n%s%s", strings.Join(args, " "), err, &out, &log)
	}
	return out.Bytes()
}

// run runs another program in a home of its own.
func (s *server) run(t *testing.T, program string, args ...string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "HOME="+s.dir)
	return cmd.CombinedOutput()
}

func (s *server) write(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
