package cli

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"imx"
	"imx/internal/term"
)

// showInstances prints a table of instances, or that there are none.
func showInstances(out term.Stream, instances []imx.Instance, now time.Time) error {
	if len(instances) == 0 {
		_, err := fmt.Fprintln(out, "no instances")
		return err
	}
	table := term.Table{
		Head:  []string{"INSTANCE", "SERVICE", "RELEASE", "PHASE", "ADDRESS", "AGE", "CPU", "MEMORY", "FLOWS", "NOTE"},
		Wraps: []string{"NOTE"}, Drops: []string{"FLOWS", "SERVICE", "MEMORY", "CPU"},
	}
	for _, in := range instances {
		table.Add(out.Ink.Name(in.ID), in.Service, strconv.Itoa(in.Release), phaseInk(out.Ink, in.Phase),
			address(in.Address), term.Age(in.Started, now), processor(in), memory(in), flows(in), note(in)+before(", ", ended(in, now)))
	}
	_, err := io.WriteString(out, table.Text(out.Ink, out.Columns()))
	return err
}

func phaseInk(ink term.Ink, p imx.Phase) string {
	switch p {
	case imx.Healthy:
		return ink.Good(string(p))
	case imx.Starting, imx.Stopping:
		return ink.Warn(string(p))
	case imx.Unhealthy:
		return ink.Bad(string(p))
	case imx.Warm, imx.Ended:
		return ink.Dim(string(p))
	}
	return string(p)
}

func flows(in imx.Instance) string {
	if in.Flows < 0 || in.Phase == imx.Ended {
		return ""
	}
	return strconv.Itoa(in.Flows)
}

// note says how an instance ended, or what it suffers from.
func note(in imx.Instance) string {
	var parts []string
	if e := in.Exit; e != nil {
		parts = append(parts, ending(*e))
	}
	if in.Reason != "" {
		parts = append(parts, term.Clean(in.Reason))
	}
	if in.Taint != nil && in.Phase != imx.Ended && in.Phase != imx.Stopping {
		parts = append(parts, tainted(*in.Taint))
	}
	return strings.Join(append(parts, suffers(in)...), ": ")
}

// ended says how long ago an instance ended, "" while it runs.
func ended(in imx.Instance, now time.Time) string {
	if in.Phase != imx.Ended || in.Ended.IsZero() {
		return ""
	}
	return term.Age(in.Ended, now) + " ago"
}

func ending(e imx.Exit) string {
	switch {
	case e.OOM:
		return "out of memory"
	case e.Wanted:
		return "stopped"
	case e.Code < 0:
		return "exit status unknown"
	}
	return "exit status " + strconv.Itoa(e.Code)
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// showReleases prints a service's releases, the newest first.
func showReleases(out term.Stream, s imx.Service, now time.Time) error {
	if len(s.Releases) == 0 {
		_, err := fmt.Fprintf(out, "%s has no releases\n", s.Name)
		return err
	}
	table := term.Table{
		Head:  []string{"", "RELEASE", "STATE", "IMAGE", "SOURCE", "MADE", "BY", "APPLY", "REASON"},
		Wraps: []string{"SOURCE", "REASON"}, Drops: []string{"APPLY", "BY"},
	}
	for _, r := range slices.Backward(s.Releases) {
		table.Add(releaseMark(out.Ink, s, r.Number), strconv.Itoa(r.Number), releaseState(out.Ink, s, r), r.Image.Digest.Short(),
			r.Source.String()+before(", ", originSays(r.Origin)), term.Age(r.Made, now)+" ago", string(r.By), r.Apply, term.Clean(r.Reason))
	}
	_, err := io.WriteString(out, table.Text(out.Ink, out.Columns()))
	return err
}

// releaseMark is "*" for the release with the traffic, ">" for the one being rolled out.
func releaseMark(ink term.Ink, s imx.Service, number int) string {
	switch number {
	case s.Current:
		return ink.Good("*")
	case s.Target:
		return ink.Warn(">")
	}
	return ""
}

func releaseState(ink term.Ink, s imx.Service, r imx.Release) string {
	switch {
	case r.State == imx.ReleaseFailed:
		return ink.Bad("failed")
	case r.Number == s.Current:
		return ink.Good("current")
	case r.Number == s.Target:
		return ink.Warn("rolling out")
	}
	return string(r.State)
}

// showImages prints what was inferred for built images, and a table of them.
func showImages(out term.Stream, images []imx.Image, notices imx.Diagnostics) error {
	table := term.Table{Head: []string{"IMAGE", "DIGEST", "SIZE", "PACKAGES", "FILES"}}
	for _, im := range images {
		table.Add(out.Ink.Name(im.Name), im.Digest.Short(), im.Size.String(), strconv.Itoa(im.Packages), term.Number(int64(im.Files)))
	}
	_, err := io.WriteString(out, diagnosticsText(out.Ink, notices)+table.Text(out.Ink, out.Columns()))
	return err
}

// showApplied prints what an apply released.
func showApplied(out term.Stream, result imx.ApplyResult) error {
	if len(result.Releases) == 0 {
		_, err := fmt.Fprintf(out, "apply %s made no new release\n", result.Apply)
		return err
	}
	table := term.Table{}
	for _, r := range result.Releases {
		state := out.Ink.Good("good")
		if r.State != imx.ReleaseGood {
			state = out.Ink.Bad(string(r.State))
		}
		table.Add(out.Ink.Name(r.Service), "release "+strconv.Itoa(r.Number), state, r.Image.Digest.Short(), published(r.Spec), term.Clean(r.Reason))
	}
	_, err := io.WriteString(out, table.Text(out.Ink, out.Columns()))
	return err
}

// published names the machine's ports that lead to a service: "port 8080".
func published(s imx.Spec) string {
	var ports []string
	for _, p := range s.Ports {
		if p.Publish != 0 {
			ports = append(ports, strconv.Itoa(p.Publish))
		}
	}
	switch len(ports) {
	case 0:
		return ""
	case 1:
		return "port " + ports[0]
	}
	return "ports " + strings.Join(ports, ", ")
}

// weights says where traffic goes: "3", "3: 90%, 4: 10%", "none".
func weights(w imx.Weights) string {
	sum := 0
	for _, share := range w {
		sum += share
	}
	if sum <= 0 {
		return "none"
	}
	numbers := slices.Sorted(maps.Keys(w))
	if len(numbers) == 1 {
		return "all to " + strconv.Itoa(numbers[0])
	}
	var parts []string
	for _, n := range numbers {
		parts = append(parts, fmt.Sprintf("%d%% to %d", (w[n]*100+sum/2)/sum, n))
	}
	return strings.Join(parts, ", ")
}

// origin says where a template comes from.
func origin(s imx.Source) string {
	if s.Commit == "" {
		return "a folder that is " + s.String()
	}
	return s.String()
}
