package imx

import (
	"strings"
	"time"
)

// RegistryRight is what a token lets its holder do in the repositories that it names.
type RegistryRight string

// The rights. Pushing needs pulling too: who pushes asks what is there already.
const (
	Pull RegistryRight = "pull"
	Push RegistryRight = "push"
)

// RegistryToken lets whoever has its secret do something in the registry, until it ends. The secret itself is
// nowhere but with them.
type RegistryToken struct {
	ID           string          `json:"id"`
	Owner        Principal       `json:"owner"`        // whom its pulls and pushes are written down as
	Rights       []RegistryRight `json:"rights"`       // sorted
	Repositories []string        `json:"repositories"` // patterns, as MatchRepository takes them
	Made         time.Time       `json:"made,omitzero"`
	Ends         time.Time       `json:"ends"`
	Revoked      time.Time       `json:"revoked,omitzero"`
	Hash         Digest          `json:"hash,omitempty"` // of the secret; lists leave it out
}

// Over says why the token counts no more at a moment; "" means that it does.
func (t RegistryToken) Over(now time.Time) string {
	switch {
	case !t.Revoked.IsZero():
		return "was revoked on " + t.Revoked.UTC().Format(time.DateTime) + " UTC"
	case !now.Before(t.Ends):
		return "ended on " + t.Ends.UTC().Format(time.DateTime) + " UTC"
	}
	return ""
}

// MatchRepository reports whether a pattern covers a repository: it is its name, or ends with "*", which stands for
// any end: "team/*" is all below team, "*" is all. A frozen set's repository is covered by a pattern that begins
// with its prefix alone.
func MatchRepository(pattern, repository string) bool {
	if strings.HasPrefix(repository, FrozenPrefix) && !strings.HasPrefix(pattern, FrozenPrefix) {
		return false
	}
	if start, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(repository, start)
	}
	return pattern == repository
}

// RegistryQuota bounds what pushes from outside may bring together: into the repositories of a pattern, or by one
// owner of tokens.
type RegistryQuota struct {
	Repositories string    `json:"repositories,omitempty"` // a pattern, as MatchRepository takes it; or else
	Owner        Principal `json:"owner,omitempty"`
	Bytes        Size      `json:"bytes,omitempty"`     // of blobs and manifests, each counted once a repository; 0 means any number
	Manifests    int       `json:"manifests,omitempty"` // 0 means as many as are taken without a quota
	Tags         int       `json:"tags,omitempty"`      // 0 means as many as are taken without a quota
}

// Bounds reports whether the quota bounds anything.
func (q RegistryQuota) Bounds() bool { return q.Bytes != 0 || q.Manifests != 0 || q.Tags != 0 }

// Scope names what the quota is for: "team/*", "owner ci".
func (q RegistryQuota) Scope() string {
	if q.Owner != "" {
		return "owner " + string(q.Owner)
	}
	return q.Repositories
}

// RegistryUse is how much of a quota is used.
type RegistryUse struct {
	RegistryQuota

	UsedBytes     Size `json:"usedBytes"`
	UsedManifests int  `json:"usedManifests"`
	UsedTags      int  `json:"usedTags"`
	// UnderWay are the bytes of uploads that haven't ended. They take room too.
	UnderWay Size `json:"underWay,omitempty"`
}

// RegistryState is what the log says of who may do what in the registry, and how much.
type RegistryState struct {
	Tokens  map[string]RegistryToken  `json:"tokens,omitempty"`  // by ID
	Quotas  map[string]RegistryQuota  `json:"quotas,omitempty"`  // by Scope
	Mirrors map[string]RegistryMirror `json:"mirrors,omitempty"` // by name
}

// RegistryPull is one line of the audit trail: a manifest that somebody pulled, blobs that they read without one, or somebody that was
// turned away.
type RegistryPull struct {
	Time       time.Time `json:"time"`
	By         Principal `json:"by"`
	From       string    `json:"from"` // the address of the other end
	Repository string    `json:"repository"`
	Tag        string    `json:"tag,omitempty"`
	Digest     Digest    `json:"digest,omitempty"`
	// Count is how often since Time, where the line stands for several within the same hour.
	Count   int64  `json:"count,omitempty"`
	Push    bool   `json:"push,omitempty"`    // it was pushed; the log tells the same
	Blobs   bool   `json:"blobs,omitempty"`   // blobs were read by who had pulled no manifest that names them; Digest is the first one's
	Refused string `json:"refused,omitempty"` // why it was not given
}

// What happens to the rules of the registry.
type (
	// TokenMade says that somebody got a token for the registry.
	TokenMade struct {
		Token RegistryToken `json:"token"`
	}
	// TokenRevoked says that a token counts no more.
	TokenRevoked struct {
		ID string `json:"id"`
	}
	// QuotaSet bounds what may be pushed, in place of an earlier bound of the same scope; one without bounds ends it.
	QuotaSet struct {
		Quota RegistryQuota `json:"quota"`
	}
)

func (TokenMade) kind() string    { return "token-made" }
func (TokenRevoked) kind() string { return "token-revoked" }
func (QuotaSet) kind() string     { return "quota-set" }

// TokenRequest asks for a token.
type TokenRequest struct {
	Owner        Principal       `json:"owner"`
	Rights       []RegistryRight `json:"rights"`
	Repositories []string        `json:"repositories"`
	Lasts        Duration        `json:"lasts"`
}

// NewToken is a token that was just made, with the secret, which is shown this once.
type NewToken struct {
	RegistryToken

	Secret string `json:"secret"`
}
