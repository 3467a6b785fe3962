package scan

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/vuln"
)

// contents returns the packages of an image: those that its inventory has, and those of languages in files that none of
// them brings, which the image's SBOM has. Of an image without one, it is made. Errors: as Server.Image and
// attest.Attester.CycloneDX.
func (s *Scanner) contents(ctx context.Context, by imx.Principal, image imx.Digest) ([]vuln.Package, error) {
	d, err := s.cfg.Server.Image(ctx, string(image))
	if err != nil {
		return nil, err
	}
	state, err := s.cfg.Server.State(time.Time{})
	if err != nil {
		return nil, err
	}
	packages, _ := vuln.Packages(named(d.Inventory, state.Codenames))
	document, err := s.cfg.Evidence.CycloneDX(ctx, by, d)
	if err != nil {
		return nil, err
	}
	components, err := vuln.Components(document, brought(d.Inventory))
	return append(packages, components...), err
}

// named returns an inventory in which suites that are called after their place ("stable") have their codenames.
func named(in imx.Inventory, codenames map[string]string) imx.Inventory {
	in.Packages = slices.Clone(in.Packages)
	for i := range in.Packages {
		p := &in.Packages[i]
		p.Suite = cmp.Or(codenames[p.Archive+" "+p.Suite], p.Suite)
	}
	return in
}

// brought returns which files packages of Debian bring. Of an image whose inventory doesn't tell it, those count where
// only packages put anything.
func brought(in imx.Inventory) func(file string) bool {
	files := map[string]bool{}
	for _, p := range in.Paths {
		if p.Package != "" {
			files[p.Path] = true
		}
	}
	if len(files) > 0 {
		return func(file string) bool { return files[file] }
	}
	return func(file string) bool {
		for _, folder := range []string{"/usr/lib/python3/dist-packages/", "/usr/share/nodejs/", "/usr/share/java/", "/usr/share/maven-repo/"} {
			if strings.HasPrefix(file, folder) {
				return true
			}
		}
		return false
	}
}
