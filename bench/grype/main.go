// Command grype does with grype what bench/scanner does with imx: the same packages, and a database made of the same
// advisory lists, which it reads for itself.
//
//	grype CODENAME VERSION PACKAGES LIST...
package main

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/matcher/dpkg"
	"github.com/anchore/grype/grype/pkg"
	syft "github.com/anchore/syft/syft/pkg"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 4 {
		return fmt.Errorf("usage: grype CODENAME VERSION PACKAGES LIST")
	}
	dir, err := os.MkdirTemp("", "grype-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cfg := v6.Config{DBDirPath: dir}
	if err := fill(cfg, args[0], args[1], args[3:]); err != nil {
		return err
	}
	packages, err := read(args[1], args[2])
	if err != nil {
		return err
	}
	reader, err := v6.NewReader(cfg)
	if err != nil {
		return err
	}
	provider := v6.NewVulnerabilityProvider(reader)
	matcher := dpkg.NewDpkgMatcher(dpkg.MatcherConfig{})
	began := time.Now()
	var lines []string
	for _, p := range packages {
		found, _, err := matcher.Match(provider, p)
		if err != nil {
			return err
		}
		for _, m := range found {
			lines = append(lines, p.Upstreams[0].Name+" "+m.Vulnerability.ID+" "+strings.Join(m.Vulnerability.Fix.Versions, ","))
		}
	}
	took := time.Since(began)
	slices.Sort(lines)
	fmt.Println(strings.Join(slices.Compact(lines), "\n"))
	fmt.Fprintf(os.Stderr, "matching took %s\n", took)
	return nil
}

// fill makes a database of what the lists say of one release.
func fill(cfg v6.Config, codename, version string, lists []string) error {
	db, err := v6.NewWriter(cfg)
	if err != nil {
		return err
	}
	if err := db.SetDBMetadata(); err != nil {
		return err
	}
	now := time.Now()
	provider := &v6.Provider{ID: "debian", Version: "1", Processor: "bench", DateCaptured: &now, InputDigest: "none"}
	system := &v6.OperatingSystem{Name: "debian", ReleaseID: "debian", MajorVersion: version, Codename: codename}
	var all []*v6.AffectedPackageHandle
	known := map[string]*v6.VulnerabilityHandle{}
	for _, name := range lists {
		err := entries(name, codename, func(source, cve, fixed string) {
			v := known[cve]
			if v == nil {
				v = &v6.VulnerabilityHandle{
					Name: cve, Status: v6.VulnerabilityActive, PublishedDate: &now, ModifiedDate: &now, ProviderID: "debian", Provider: provider,
					BlobValue: &v6.VulnerabilityBlob{ID: cve},
				}
				known[cve] = v
			}
			all = append(all, &v6.AffectedPackageHandle{
				Vulnerability: v, OperatingSystem: system, Package: &v6.Package{Name: source, Ecosystem: "deb"},
				BlobValue: &v6.PackageBlob{CVEs: []string{cve}, Ranges: []v6.Range{{
					Version: v6.Version{Type: "dpkg", Constraint: "< " + fixed}, Fix: &v6.Fix{Version: fixed, State: v6.FixedStatus},
				}}},
			})
		})
		if err != nil {
			return err
		}
	}
	var handles []*v6.VulnerabilityHandle
	for _, v := range known {
		handles = append(handles, v)
	}
	if err := db.AddVulnerabilities(handles...); err != nil {
		return err
	}
	for batch := range slices.Chunk(all, 1000) {
		if err := db.AddAffectedPackages(batch...); err != nil {
			return err
		}
	}
	return db.Close()
}

// entries reads a list in the plainest way: CVEs in braces, then lines of releases.
func entries(name, codename string, each func(source, cve, fixed string)) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var cves []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text := strings.TrimSpace(lines.Text())
		switch {
		case strings.HasPrefix(lines.Text(), "["):
			cves = nil
		case strings.HasPrefix(text, "{"):
			cves = append(cves, strings.Fields(strings.Trim(text, "{}"))...)
		case strings.HasPrefix(text, "["+codename+"] - "):
			words := strings.Fields(text)
			if strings.HasPrefix(words[3], "<") {
				continue
			}
			for _, cve := range cves {
				each(words[2], cve, words[3])
			}
		}
	}
	return lines.Err()
}

func read(version, name string) ([]pkg.Package, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	debian := distro.New(distro.Debian, version, "")
	var all []pkg.Package
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		all = append(all, pkg.Package{
			ID: pkg.ID(words[0]), Name: words[0], Version: words[2], Type: syft.DebPkg, Distro: debian,
			Upstreams: []pkg.UpstreamPackage{{Name: words[1], Version: words[2]}},
		})
	}
	return all, lines.Err()
}
