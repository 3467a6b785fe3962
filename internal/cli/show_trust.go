package cli

import (
	"fmt"
	"strings"

	"imx"
	"imx/internal/term"
)

// trustEventSays tells of keys, people, policies and verdicts, and of candidates and where they come from.
func trustEventSays(e imx.Event) string {
	switch b := e.Body.(type) {
	case imx.KeyAdded:
		if b.Key.Environment != "" {
			return fmt.Sprintf("key %s speaks as %s of %s from now on%s", b.Key.ID, b.Key.Role, b.Key.Environment, before(", and ended ", endOf(b.Key)))
		}
		if b.Key.Role != "" {
			return fmt.Sprintf("key %s signs as %s from now on", b.Key.ID, b.Key.Role)
		}
		return fmt.Sprintf("key %s is %s's", b.Key.ID, b.Key.Owner)
	case imx.KeyEnded:
		if b.Compromised {
			return fmt.Sprintf("key %s is compromised, nothing that it signed counts: %s", b.Key, b.Reason)
		}
		return fmt.Sprintf("key %s ends at %s: %s", b.Key, term.Stamp(b.Until), b.Reason)
	case imx.PersonSet:
		return fmt.Sprintf("%s is known%s", b.Person.Name, before(" as ", joined(b.Person.Roles)))
	case imx.PersonRemoved:
		return fmt.Sprintf("%s isn't known any more%s", b.Person, before(": ", b.Reason))
	case imx.UpstreamSet:
		return fmt.Sprintf("releases may come from %s, at %s", b.Upstream.Environment, b.Upstream.Address)
	case imx.UpstreamRemoved:
		return fmt.Sprintf("releases come from %s no more, and its keys end%s", b.Environment, before(": ", b.Reason))
	case imx.PolicySet:
		return policySetSays(b)
	case imx.EnvironmentSet:
		return fmt.Sprintf("the environment is %s%s", b.Environment, before(", and was ", b.Before))
	case imx.ExceptionMade:
		x := b.Exception
		return fmt.Sprintf("exception %s excuses %s%s until %s: %s", x.ID, x.Condition, before(" of ", x.Service), term.Stamp(x.Until), x.Reason)
	case imx.ExceptionEnded:
		return fmt.Sprintf("exception %s ended%s", b.Exception, before(": ", b.Reason))
	case imx.VerdictGiven:
		return verdictSays(b)
	}
	return candidateEventSays(e)
}

// endOf says when and why a key ended; "" of one that didn't.
func endOf(k imx.Key) string {
	switch {
	case k.Compromised:
		return "compromised" + before(": ", k.Reason)
	case k.Until.IsZero():
		return ""
	}
	return term.Stamp(k.Until) + before(": ", k.Reason)
}

func verdictSays(b imx.VerdictGiven) string {
	says := "may run"
	if !b.Verdict.Allowed {
		says = "may not run"
	}
	for _, c := range b.Verdict.Conditions {
		if !c.Holds() {
			says += fmt.Sprintf("; %s: %s", c.ID, c.Says)
		}
	}
	if b.Release == 0 {
		return fmt.Sprintf("%s with image %s %s", b.Service, b.Verdict.Image.Short(), says)
	}
	return fmt.Sprintf("%s release %d %s", b.Service, b.Release, says)
}

func candidateEventSays(e imx.Event) string {
	switch b := e.Body.(type) {
	case imx.CandidateMade:
		return fmt.Sprintf("candidate %s of %s: plan %s from %s", b.Candidate.ID, joined(b.Candidate.Services), b.Candidate.Plan.Short(), origin(b.Candidate.Source))
	case imx.Reviewed:
		word := "rejects"
		if b.Review.Approves {
			word = "approves"
		}
		return fmt.Sprintf("%s %s candidate %s%s", b.Review.By, word, b.Candidate, before(": ", b.Review.Reason))
	case imx.CandidateEnded:
		return fmt.Sprintf("candidate %s is %s: %s", b.Candidate, b.State, b.Why)
	case imx.SourceAdded:
		return fmt.Sprintf("follows %s, branch %s, as %s", b.Source.URL, b.Source.Branch, b.Source.Name)
	case imx.SourceRemoved:
		return fmt.Sprintf("source %s isn't followed any more", b.Source)
	case imx.CommitSeen:
		if b.Commit == nil {
			return fmt.Sprintf("source %s: %s", b.Source, b.Fault)
		}
		return fmt.Sprintf("source %s is at commit %.12s by %s%s", b.Source, b.Commit.ID, b.Commit.Author, before(": ", b.Fault))
	}
	return e.Kind()
}

func policySetSays(b imx.PolicySet) string {
	says := fmt.Sprintf("environment %s has policy %s", b.Policy.Environment, b.Policy.Digest().Short())
	if b.Shipped {
		says = fmt.Sprintf("environment %s has imx's own policy again", b.Policy.Environment)
	}
	if len(b.Replaces) > 0 {
		says += "; rules of its own REPLACE what nothing excuses: " + joined(b.Replaces)
	}
	return says + before(": ", b.Reason)
}

// joined lists names of any type.
func joined[T ~string](names []T) string {
	text := make([]string, len(names))
	for i, n := range names {
		text[i] = string(n)
	}
	return strings.Join(text, ", ")
}
