package cli

import (
	"fmt"
	"strings"

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
	if len(parts) == 0 {
		return "none any more"
	}
	return strings.Join(parts, " and ")
}
