package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/term"
)

// showEvent prints one event on one line.
func showEvent(out term.Stream, e imx.Event) error {
	_, err := io.WriteString(out, eventLine(out.Ink, e)+"\n")
	return err
}

// eventLine is an event on one line: its number, its time, who, what.
func eventLine(ink term.Ink, e imx.Event) string {
	return fmt.Sprintf("%s %s  %-6s  %s", ink.Dim(fmt.Sprintf("%6d", e.Index)), term.Stamp(e.Time), e.By,
		term.Clean(eventSays(e)))
}

// eventSays tells what happened, in a sentence without a full stop.
func eventSays(e imx.Event) string {
	switch b := e.Body.(type) {
	case imx.ServerStarted:
		if b.Cut > 0 {
			return fmt.Sprintf("server %s started, and cut off %d bytes of a record that a crash had left half-written", b.Version, b.Cut)
		}
		return "server " + b.Version + " started"
	case imx.SuiteSeen:
		return fmt.Sprintf("verified the index of %s %s of %s", b.Suite.Archive, b.Suite.Suite, term.Stamp(b.Suite.Date))
	case imx.ImageBuilt:
		if b.From != "" {
			return fmt.Sprintf("image %s brought from %s: %s, %s", b.Image.Name, b.From, b.Image.Digest.Short(), b.Image.Size)
		}
		return fmt.Sprintf("image %s built: %s, %s", b.Image.Name, b.Image.Digest.Short(), b.Image.Size)
	case imx.ManifestPushed:
		return "pushed " + strings.TrimSuffix(b.Repository+":"+b.Tag, ":") + ": " + b.Digest.Short()
	case imx.Collected:
		return fmt.Sprintf("removed %s that nothing needed: %s", term.Count(int64(b.Things), "thing"), b.Size)
	case imx.EvidenceAdded:
		return evidenceSays(b.Evidence)
	case imx.FeedKept:
		return fmt.Sprintf("feed %s kept: %s of %s, %s", b.Feed.Name, term.Count(b.Feed.Entries, "entry"), b.Feed.Date.Format(time.DateOnly), b.Feed.Digest.Short())
	case imx.FeedRemoved:
		return fmt.Sprintf("feed %s removed: %s", b.Name, b.Digest.Short())
	case imx.InstanceStarted:
		return fmt.Sprintf("instance %s started%s", b.Instance.ID, before(" at ", address(b.Instance.Address)))
	case imx.InstanceChanged:
		return fmt.Sprintf("instance %s is %s%s", b.Instance.ID, b.Instance.Phase, before(": ", note(b.Instance)))
	case imx.InstanceEnded:
		return fmt.Sprintf("instance %s ended%s", b.Instance.ID, before(": ", note(b.Instance)))
	}
	for _, says := range []string{registryEventSays(e), healEventSays(e)} {
		if says != "" {
			return says
		}
	}
	if says := rolloutEventSays(e); says != "" {
		return says
	}
	return releaseEventSays(e)
}

// releaseEventSays tells of applies and of what becomes of services.
func releaseEventSays(e imx.Event) string {
	switch b := e.Body.(type) {
	case imx.ApplyStarted:
		return fmt.Sprintf("apply %s began: plan %s from %s", b.Apply, b.Plan.Short(), origin(b.Source))
	case imx.Applied:
		return fmt.Sprintf("apply %s released %s", b.Apply, appliedSays(b)) + appliedFrom(b)
	case imx.TestsSkipped:
		return fmt.Sprintf("apply %s skips the tests: %s", b.Apply, b.Reason)
	case imx.ApplyFailed:
		return fmt.Sprintf("apply %s failed: %s", b.Apply, b.Error.Message)
	case imx.RolloutFinished:
		return fmt.Sprintf("%s: release %d has all the traffic", b.Service, b.Release)
	case imx.RolloutFailed:
		return fmt.Sprintf("%s: release %d failed: %s", b.Service, b.Release, b.Reason)
	case imx.RolledBack:
		return fmt.Sprintf("%s: back from release %d to %d%s", b.Service, b.From, b.To, before(": ", b.Reason))
	case imx.TrafficMoved:
		return fmt.Sprintf("%s: traffic: %s", b.Service, weights(b.Weights))
	case imx.Scaled:
		return fmt.Sprintf("%s: scaled to %s%s", b.Service, term.Count(int64(b.Replicas), "instance"), before(": ", b.Reason))
	case imx.SizeFreed:
		return b.Service + ": its scale block sets its number of instances again"
	case imx.Destroyed:
		if b.Volumes {
			return b.Service + ": destroyed, its volumes too"
		}
		return b.Service + ": destroyed"
	case imx.Removed:
		return b.Service + ": nothing of it is left"
	}
	return trustEventSays(e)
}

// appliedFrom tells where what was released was good before, if it comes from another environment.
func appliedFrom(b imx.Applied) string {
	for _, r := range b.Releases {
		return before(", ", originSays(r.Origin))
	}
	return ""
}

func appliedSays(b imx.Applied) string {
	var parts []string
	for _, r := range b.Releases {
		parts = append(parts, fmt.Sprintf("%s %d (image %s)", r.Service, r.Number, r.Image.Digest.Short()))
	}
	for _, name := range slices.Sorted(maps.Keys(b.Replicas)) {
		parts = append(parts, fmt.Sprintf("%s with %s", name, term.Count(int64(b.Replicas[name]), "instance")))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// before puts words before a text, and neither where the text is empty.
func before(words, text string) string {
	if text == "" {
		return ""
	}
	return words + text
}

// evidenceSays tells of a statement about an image: what it is, and its answer.
func evidenceSays(e imx.Evidence) string {
	name := imx.PredicateNames()[e.PredicateType]
	if name == "" {
		name = e.PredicateType
	}
	return fmt.Sprintf("%s of image %s kept%s", name, e.Image.Short(), before(": ", e.Summary))
}
