//go:build !client

package foreign

import (
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	trivy "github.com/aquasecurity/trivy-checks"

	"imx"
	"imx/internal/check"
)

// Trivy is the From of the rules that are taken from trivy-checks.
const Trivy = "trivy-checks"

// shim is what trivy-checks' rules call of Trivy itself. Commands of a shell are parsed before: they are in the
// document.
const shim = `package imx.result

new(msg, cause) := {"at": place(cause), "message": trim_right(msg, ".\n ")}

place(cause) := [cause.StartLine, cause.EndLine] if {
	is_object(cause)
	is_number(cause.StartLine)
} else := [cause.__defsec_metadata.startline, cause.__defsec_metadata.endline] if {
	is_object(cause)
	is_number(cause.__defsec_metadata.startline)
} else := []
`

const shellShim = `package imx.sh

parse_commands(text) := object.get(input.shell, text, [])
`

// loadTrivy compiles the rules of trivy-checks in a folder with the functions in another.
func loadTrivy(rules, functions string) (*check.Set, error) {
	modules := []check.Module{{Name: "result.rego", Text: shim}, {Name: "sh.rego", Text: shellShim}}
	names := append(regoIn(trivy.EmbeddedLibraryFileSystem, functions), "lib/cloud/metadata.rego")
	for _, name := range names {
		text, err := fs.ReadFile(trivy.EmbeddedLibraryFileSystem, name)
		if err != nil {
			return nil, imx.Errorf(imx.Internal, "trivy-checks: %w", err)
		}
		modules = append(modules, check.Module{Name: name, Text: adapted(withoutComments(string(text)))})
	}
	for _, name := range regoIn(trivy.EmbeddedPolicyFileSystem, rules) {
		text, err := fs.ReadFile(trivy.EmbeddedPolicyFileSystem, name)
		if err != nil {
			return nil, imx.Errorf(imx.Internal, "trivy-checks: %w", err)
		}
		modules = append(modules, check.Module{Name: name, Text: adapted(described(string(text)))})
	}
	return check.Load(Trivy, modules, check.DefaultBounds())
}

// regoIn lists the files of Rego in a folder and below it, without tests.
func regoIn(fsys fs.FS, dir string) []string {
	var names []string
	_ = fs.WalkDir(fsys, dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && path.Ext(name) == ".rego" && !strings.HasSuffix(name, "_test.rego") && !leftOut(name) {
			names = append(names, name)
		}
		return nil // the folder is part of the program
	})
	return names
}

// leftOut tells the one rule that can't be had: it counts without a bound, and looks for secrets, which are found
// without it.
func leftOut(name string) bool { return path.Base(name) == "leaked_secrets.rego" }

// withoutComments drops the lines that are comments: metadata that makes a rule of what only helps rules.
func withoutComments(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "#") {
			lines[i] = ""
		}
	}
	return strings.Join(lines, "\n")
}

// described writes a rule's metadata as check.Load wants it.
func described(text string) string {
	lines := strings.Split(text, "\n")
	id := regexp.MustCompile(`^#   id: *"?([A-Za-z0-9-]+)"?`)
	severity := regexp.MustCompile(`^#   severity: *"?([A-Za-z]+)"?`)
	for i, l := range lines {
		switch {
		case strings.HasPrefix(l, "# schemas:"):
			lines[i] = "#"
			for j := i + 1; j < len(lines) && strings.Contains(lines[j], "- input: schema"); j++ {
				lines[j] = "#"
			}
		case id.MatchString(l):
			lines[i] = "#   id: trivy-" + strings.ToLower(id.FindStringSubmatch(l)[1])
		case severity.MatchString(l):
			lines[i] = "#   severity: " + strings.ToLower(severity.FindStringSubmatch(l)[1])
		case strings.HasPrefix(l, "# title: ") && !strings.HasPrefix(l, `# title: "`):
			lines[i] = "# title: " + strconv.Quote(strings.Trim(strings.TrimPrefix(l, "# title: "), "'"))
		case strings.HasPrefix(l, "#   recommended_action:"):
			lines[i] = strings.Replace(l, "recommended_action", "fix", 1)
		}
	}
	return strings.Join(lines, "\n")
}

// adapted has a module find what Trivy would have built in, and say nothing while it is evaluated.
func adapted(text string) string {
	text = regexp.MustCompile(`(?m)^\ttrace\(.*\)$`).ReplaceAllString(text, "")
	for name, module := range map[string]string{"result.new(": "data.imx.result", "sh.parse_commands(": "data.imx.sh"} {
		if strings.Contains(text, name) {
			at := strings.Index(text, "\npackage ") + 1
			end := at + strings.Index(text[at:], "\n") + 1
			text = text[:end] + "import " + module + "\n" + text[end:]
		}
	}
	return text
}
