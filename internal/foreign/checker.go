//go:build !client

// Package foreign analyses what others' tools are told beside a template: Dockerfiles, Kubernetes objects, Terraform
// and CloudFormation.
//
// Dockerfiles and Kubernetes objects are held against the rules of trivy-checks; a shim in Rego stands for what Trivy
// would have built in. Its rules for clouds need Trivy's own model of them: for Terraform and
// CloudFormation there are own rules, in rules, over one list of resources. A text that can't be read is a notice.
package foreign

import (
	"context"
	"embed"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"imx"
	"imx/internal/check"
)

//go:embed rules/*.rego
var cloud embed.FS

// Checker holds texts against the rules, which are compiled when the first of a kind comes: those for Kubernetes take
// some 0.3 s. It is safe for concurrent use.
type Checker struct {
	docker, kubernetes, cloud func() (*check.Set, error)
}

// New returns a Checker.
func New() *Checker {
	return &Checker{
		docker:     sync.OnceValues(func() (*check.Set, error) { return loadTrivy("checks/docker", "lib/docker") }),
		kubernetes: sync.OnceValues(func() (*check.Set, error) { return loadTrivy("checks/kubernetes", "lib/kubernetes") }),
		cloud:      sync.OnceValues(loadCloud),
	}
}

func loadCloud() (*check.Set, error) {
	var modules []check.Module
	for _, name := range regoIn(cloud, "rules") {
		text, err := fs.ReadFile(cloud, name)
		if err != nil {
			return nil, imx.Errorf(imx.Internal, "rules for clouds: %w", err)
		}
		modules = append(modules, check.Module{Name: name, Text: string(text)})
	}
	return check.Load(check.Own, modules, check.DefaultBounds())
}

func (c *Checker) set(k Kind) (*check.Set, error) {
	switch k {
	case Dockerfile:
		return c.docker()
	case Kubernetes:
		return c.kubernetes()
	case Terraform, CloudFormation:
	}
	return c.cloud()
}

// Rules describes all rules, imx's own first. All are compiled for that.
func (c *Checker) Rules() ([]imx.Rule, error) {
	var all []imx.Rule
	for _, k := range []Kind{Terraform, Dockerfile, Kubernetes} {
		set, err := c.set(k)
		if err != nil {
			return nil, err
		}
		all = append(all, withReasons(set.Rules())...)
	}
	return all, nil
}

// IsRule reports whether a name is that of a rule of this package, there or not.
func IsRule(name string) bool {
	return strings.HasPrefix(name, "cloud-") || strings.HasPrefix(name, "trivy-")
}

// withReasons gives rules whose authors wrote one text for what and why that text for both.
func withReasons(rules []imx.Rule) []imx.Rule {
	for i, r := range rules {
		if r.Why == "" {
			rules[i].Why = r.Description
		}
		if r.Fix == "" {
			rules[i].Fix = "Change what the description names."
		}
	}
	return rules
}

// Check holds a text of a kind against the rules. What can't be read is in the notices; errors are those of Set.Run.
func (c *Checker) Check(ctx context.Context, name string, text []byte, now time.Time) ([]imx.Finding, imx.Diagnostics, error) {
	kind := Recognise(name, text)
	if kind == "" {
		return nil, nil, nil
	}
	var found []imx.Finding
	var notices imx.Diagnostics
	rows := strings.Split(string(text), "\n")
	for _, d := range read(kind, name, text) {
		notices = append(notices, d.broken...)
		if d.input == nil {
			continue
		}
		set, err := c.set(kind)
		if err != nil {
			return nil, nil, err
		}
		more, err := set.Run(ctx, check.Document{Input: d.input, Now: now, Locate: d.locate(kind, name, rows)})
		if err != nil {
			return nil, nil, err
		}
		found = append(found, withoutPasswords(more, rows)...)
	}
	check.Sort(found)
	return slices.CompactFunc(found, func(a, b imx.Finding) bool { return a.Rule == b.Rule && a.At == b.At && a.Message == b.Message }), notices, nil
}

// withoutPasswords quotes what finds passwords as far as the password's name.
func withoutPasswords(found []imx.Finding, rows []string) []imx.Finding {
	for i, f := range found {
		row := rows[f.At.Line-1]
		if at := strings.IndexAny(row, "=:"); f.Rule == "cloud-plain-password" && len(row) <= imx.MaxSource {
			found[i].Source = strings.TrimRight(row[:at+1], "\r") + " ********"
			found[i].At.End = max(f.At.Column+1, characters(row[:at+1])+1)
		}
	}
	return found
}

func read(kind Kind, name string, text []byte) []document {
	switch kind {
	case Dockerfile:
		return []document{readDockerfile(name, text)}
	case Kubernetes:
		return readKubernetes(name, text)
	case Terraform:
		return []document{readTerraform(name, text)}
	case CloudFormation:
	}
	return []document{readCloudFormation(name, text)}
}

// locate finds what a rule names: lines, as trivy-checks' rules do, or the way to a thing, of which the nearest around it counts
// where it wasn't written.
func (d document) locate(kind Kind, name string, rows []string) func([]string) (string, imx.Pos) {
	return func(way []string) (string, imx.Pos) {
		if kind == Dockerfile || kind == Kubernetes {
			first := max(1, d.places[""].first)
			if len(way) > 0 {
				if n, err := strconv.Atoi(way[0]); err == nil {
					first = n
				}
			}
			return "", pos(name, rows, first)
		}
		for n := len(way); n > 0; n-- {
			if at, ok := d.places[strings.Join(way[:n], "\x00")]; ok {
				return "", pos(name, rows, at.first)
			}
		}
		return "", pos(name, rows, 1)
	}
}
