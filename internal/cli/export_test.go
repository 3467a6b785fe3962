package cli

import (
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"imx"
	"imx/internal/inventory"
	"imx/internal/lsp"
	"imx/internal/report"
	"imx/internal/term"
)

// What the tests of package cli_test reach inside for: the rendering of fixed values, and the tree
// of commands.
var (
	ShowPlan       = showPlan
	ShowStatus     = showStatus
	ShowInstances  = showInstances
	ShowReleases   = showReleases
	ShowApplied    = showApplied
	ShowWhy        = showWhy
	ShowEvent      = showEvent
	ShowImageList  = showImageList
	ShowImageFiles = showImageFiles
	ParseMoment    = parseMoment
	ShowVerdict    = showVerification
	ShowPolicy     = showPolicy
	ShowSources    = showSources
	ShowEvidence   = showEvidence
	KeysText       = keysText
	HitOf          = hitOf
	PullsText      = pullsText
	ParseBack      = parseBack
	LookedAt       = lookedAt
	ParseUntil     = parseUntil
	GitSource      = gitSource
	BlobName       = blobName
	InFolder       = inFolder
	WriteOutput    = writeOutput
	ShowHistory    = showHistory
	ShowHolds      = showHolds
)

// ShowRollout prints how a service's rollout stands: the line of a pipe, and what a terminal shows.
func ShowRollout(out term.Stream, s imx.State, counted imx.RolloutView, now time.Time) error {
	st := standingOf(&s, s.Services[counted.Service], counted)
	_, err := io.WriteString(out, st.plain()+"\n\n"+strings.Join(st.block(out, now), "\n")+"\n")
	return err
}

// Root returns the tree of commands.
func Root(p Process) *cobra.Command {
	root, _ := newRoot(p)
	return root
}

// Section is a part of a command's help.
type Section struct{ Title, Text string }

// Sections returns a command's help.
func Sections(cmd *cobra.Command) []Section {
	var all []Section
	for _, s := range sections(cmd) {
		all = append(all, Section{s.title, s.text})
	}
	return all
}

// ShowImage prints an image as `imx image show` does.
func ShowImage(out term.Stream, d imx.ImageDetail, now time.Time) error {
	return showImage(out, shown(d), now)
}

// ShowPackages prints an image's packages.
func ShowPackages(out term.Stream, d imx.ImageDetail) error { return showImagePackages(out, shown(d)) }

// ShowImageWhy explains a path or package, with the chains that are shown without --all.
func ShowImageWhy(out term.Stream, d imx.ImageDetail, subject string) error {
	why, err := inventory.Explain(d.Inventory, subject)
	if err != nil {
		return err
	}
	return showImageWhy(out, d, why, fewChains)
}

// ShowImageDiff compares two images, naming the paths that are named without --files.
func ShowImageDiff(out term.Stream, a, b imx.ImageDetail) error {
	return showImageDiff(out, a, b, ownPaths(inventory.Compare(a, b)))
}

// ShowImageDiffFiles compares two images, naming all paths.
func ShowImageDiffFiles(out term.Stream, a, b imx.ImageDetail) error {
	return showImageDiff(out, a, b, everyPath(inventory.Compare(a, b)))
}

func shown(d imx.ImageDetail) shownImage { return shownImage{d, inventory.Summarize(d.Inventory)} }

// EditorCheck returns the check that imx lsp makes of a folder.
func EditorCheck() lsp.Check { return newExaminer(checkOptions{Format: formatJSON}, &Global{}).open }

// ShowScan prints what a scan found.
func ShowScan(out term.Stream, r imx.ScanResult, req imx.ScanRequest, now time.Time) error {
	return showScan(out, r, req, now)
}

// ScanReport makes findings of a scan.
func ScanReport(r imx.ScanResult, version string) report.Report { return scanReport(r, version) }

// Fails reports whether a scan found one of what it was asked to fail on.
func Fails(r imx.ScanResult, on []string) bool { return fails(r, on) }

// DestroyQuestion is what destroy asks before it takes services and ingresses down, with volumes.
func DestroyQuestion(services, ingresses []string) string {
	return destroyQuestion(destroyed{Destroyed: services, Ingresses: ingresses, Volumes: true})
}
