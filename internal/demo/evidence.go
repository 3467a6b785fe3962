package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"imx"
)

func (s *stage) leaky() string { return filepath.Join(s.dir, "leaky") }
func (s *stage) proxy() string { return filepath.Join(s.dir, "proxy") }

// secret shows that a template with a secret in it is refused, at its line.
func (s *stage) secret(ctx context.Context) error {
	s.say("A template with a secret in it is refused, here and by every server.")
	return s.imx(ctx, "refuse a secret", exitRefused, "check", s.leaky())
}

// vulnerabilities shows what of an image Debian has mended since, and that it is gone when the image is built anew
// with the security suite.
func (s *stage) vulnerabilities(ctx context.Context) error {
	s.say("An image of Debian's main suite alone. What the security suite mends in it, its packages' changelogs say.")
	if err := s.imx(ctx, "build of the main suite alone", 0, "build", s.proxy()); err != nil {
		return err
	}
	if err := s.imx(ctx, "scan it", 0, "scan", "proxy"); err != nil {
		return err
	}
	before, err := s.findings(ctx)
	if err != nil {
		return err
	}
	s.say("With the security suite:")
	file := filepath.Join(s.proxy(), "proxy.imx.hcl")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	const main, both = `["bookworm"]`, `["bookworm", "bookworm-security"]`
	fmt.Fprintf(s.cfg.Out, "$ sed -i 's/%s/%s/' proxy/proxy.imx.hcl\n", main, both)
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), main, both, 1)), 0o600); err != nil {
		return err
	}
	for _, c := range []struct {
		name string
		args []string
	}{
		{"", []string{"plan", "--update", s.proxy()}}, {"build it patched", []string{"build", s.proxy()}}, {"", []string{"scan", "proxy"}},
	} {
		if err := s.imx(ctx, c.name, 0, c.args...); err != nil {
			return err
		}
	}
	after, err := s.findings(ctx)
	if err != nil {
		return err
	}
	switch {
	case before == 0:
		s.say("Just now the main suite has all of it: there was a point release.")
	case after >= before:
		return imx.Errorf(imx.Internal, "the scan found %d vulnerabilities before the security suite and %d with it", before, after)
	}
	return nil
}

// findings counts the vulnerabilities of the proxy's image.
func (s *stage) findings(ctx context.Context) (int, error) {
	cmd := exec.CommandContext(ctx, s.cfg.Binary, "scan", "--json", "proxy")
	cmd.Env = append(os.Environ(), "IMX_DATA="+s.data)
	out, err := cmd.Output()
	if err != nil {
		return 0, imx.Errorf(imx.Internal, "imx scan --json proxy: %w", err)
	}
	var result imx.ScanResult
	if err := json.Unmarshal(out, &result); err != nil {
		return 0, err
	}
	n := 0
	for _, t := range result.Images {
		n += len(t.Vulnerabilities)
	}
	return n, nil
}
