package cli

import (
	"fmt"
	"strings"
	"time"

	"imx"
	"imx/internal/term"
)

// registryEventSays tells what happened to the registry's rules; "" of any other event.
func registryEventSays(e imx.Event) string {
	switch b := e.Body.(type) {
	case imx.TokenMade:
		return fmt.Sprintf("token %s made for %s: %s in %s until %s", b.Token.ID, b.Token.Owner, rightsText(b.Token.Rights),
			strings.Join(b.Token.Repositories, ", "), term.Stamp(b.Token.Ends))
	case imx.TokenRevoked:
		return "token " + b.ID + " revoked"
	case imx.QuotaSet:
		return "quota of " + b.Quota.Scope() + ": " + quotaText(b.Quota)
	case imx.MirrorSet:
		return fmt.Sprintf("mirror %s copies %s %s %s", b.Mirror.Name, b.Mirror.Repository, b.Mirror.Direction, b.Mirror.URL)
	case imx.MirrorRemoved:
		return "mirror " + b.Name + " ended"
	case imx.RegistryRepaired:
		return "repaired in the registry: " + term.Count(int64(len(b.Faults)), "thing")
	}
	return ""
}

func rightsText(rights []imx.RegistryRight) string {
	var words []string
	for _, r := range rights {
		words = append(words, string(r))
	}
	return strings.Join(words, " and ")
}

func quotaText(q imx.RegistryQuota) string {
	var parts []string
	if q.Bytes > 0 {
		parts = append(parts, q.Bytes.String())
	}
	if q.Manifests > 0 {
		parts = append(parts, term.Count(int64(q.Manifests), "manifest"))
	}
	if q.Tags > 0 {
		parts = append(parts, term.Count(int64(q.Tags), "tag"))
	}
	if len(parts) == 0 {
		return "none any more"
	}
	return strings.Join(parts, " and ")
}

func tokensText(ink term.Ink, columns int, tokens []imx.RegistryToken, now time.Time) string {
	table := term.Table{
		Head:  []string{"ID", "OWNER", "RIGHTS", "REPOSITORIES", "ENDS", "OVER"},
		Wraps: []string{"REPOSITORIES"}, Drops: []string{"RIGHTS"},
	}
	for _, t := range tokens {
		over := ""
		if why := t.Over(now); why != "" {
			over = ink.Warn("yes")
		}
		table.Add(ink.Name(t.ID), string(t.Owner), rightsText(t.Rights), strings.Join(t.Repositories, " "), term.Stamp(t.Ends), over)
	}
	return table.Text(ink, columns)
}

func quotasText(ink term.Ink, columns int, all []imx.RegistryUse) string {
	table := term.Table{
		Head:  []string{"OF", "QUOTA", "USED", "UNDER WAY", "MANIFESTS", "TAGS"},
		Wraps: []string{"OF", "QUOTA"}, Drops: []string{"UNDER WAY"},
	}
	for _, q := range all {
		table.Add(ink.Name(q.Scope()), quotaText(q.RegistryQuota), q.UsedBytes.String(), q.UnderWay.String(), term.Number(int64(q.UsedManifests)), term.Number(int64(q.UsedTags)))
	}
	return table.Text(ink, columns)
}

func pullsText(ink term.Ink, columns int, all []imx.RegistryPull) string {
	table := term.Table{
		Head:  []string{"WHEN", "WHO", "FROM", "DID", "WHAT", "DIGEST"},
		Wraps: []string{"WHAT"}, Drops: []string{"FROM"},
	}
	for _, p := range together(all) {
		did := "pulled"
		switch {
		case p.Push:
			did = "pushed"
		case p.Blobs:
			did = "read blobs"
		}
		if p.Count > 0 {
			did += fmt.Sprintf(" %s times", term.Number(p.Count+1))
		}
		what := strings.TrimSuffix(p.Repository+":"+p.Tag, ":")
		if p.Refused != "" {
			did, what = ink.Warn(strings.Replace(did, "pulled", "refused", 1)), p.Repository+" "+p.Refused
		}
		table.Add(term.Stamp(p.Time), term.Clean(string(p.By)), p.From, did, term.Clean(what), p.Digest.Short())
	}
	return table.Text(ink, columns)
}

// together puts what repeats within an hour on the line where it began.
func together(all []imx.RegistryPull) []imx.RegistryPull {
	var lines []imx.RegistryPull
	at := map[imx.RegistryPull]int{}
	for _, p := range all {
		same := p
		if same.Count = 0; p.Blobs {
			same.Digest = "" // the number is of all
		}
		if i, ok := at[same]; ok {
			lines[i].Count += p.Count
			continue
		}
		at[same] = len(lines)
		lines = append(lines, p)
	}
	return lines
}

func mirrorsText(ink term.Ink, columns int, all []imx.MirrorStatus) string {
	table := term.Table{
		Head:  []string{"NAME", "COPIES", "WAY", "REGISTRY", "LOOKED", "COPIED", "BEHIND"},
		Wraps: []string{"COPIES", "REGISTRY"}, Drops: []string{"COPIED", "LOOKED"},
	}
	var notes strings.Builder
	for _, m := range all {
		looked := "not yet"
		if !m.Looked.IsZero() {
			looked = term.Stamp(m.Looked)
		}
		table.Add(ink.Name(m.Name), m.Repository, string(m.Direction), m.URL, looked, term.Number(int64(m.Copied)), term.Number(int64(m.Behind)))
		if m.Error != nil {
			fmt.Fprintf(&notes, "%s: %s\n", m.Name, ink.Warn(term.Clean(strings.ReplaceAll(m.Error.Message, "\n", "; "))))
		}
	}
	return table.Text(ink, columns) + term.Wrap(notes.String(), columns)
}
