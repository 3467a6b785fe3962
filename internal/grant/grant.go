// Package grant decides what a secret lets its holder do in the registry: it makes secrets, knows tokens by the
// hash of theirs, and says which rights count. It reads no clock, no request and no log.
package grant

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"imx"
)

// Anonymous is whoever shows no secret.
const Anonymous imx.Principal = "anonymous"

// mark is what every secret begins with, so that those who look for secrets in files know it.
const mark = "imxr_"

// longest is for how long a token may last at most.
const longest = 5 * 365 * 24 * time.Hour

// secretBytes is how much of a secret is random: more than can be guessed.
const secretBytes = 20

// Make makes the token that is asked for. random are at least 20 bytes that nobody can guess. Errors: Invalid.
func Make(req imx.TokenRequest, id string, now time.Time, random []byte) (imx.NewToken, error) {
	rights := slices.Compact(slices.Sorted(slices.Values(req.Rights)))
	if slices.Equal(rights, []imx.RegistryRight{imx.Push}) {
		rights = []imx.RegistryRight{imx.Pull, imx.Push}
	}
	switch {
	case !validOwner(req.Owner):
		return imx.NewToken{}, imx.Errorf(imx.Invalid, "%q can't be the owner of a token", req.Owner).
			WithHint("name a person or a machine: up to 64 letters, digits, - _ . or @")
	case len(rights) == 0 || slices.ContainsFunc(rights, func(r imx.RegistryRight) bool { return r != imx.Pull && r != imx.Push }):
		return imx.NewToken{}, imx.Errorf(imx.Invalid, "a token has the right pull, or push, or both").WithHint("--right pull")
	case req.Lasts <= 0 || time.Duration(req.Lasts) > longest:
		return imx.NewToken{}, imx.Errorf(imx.Invalid, "a token lasts for some time, and for five years at most: not %s", req.Lasts).WithHint("--lasts 720h")
	case len(random) < secretBytes:
		return imx.NewToken{}, imx.Errorf(imx.Internal, "a secret needs %d random bytes", secretBytes)
	}
	if err := CheckPatterns(req.Repositories); err != nil {
		return imx.NewToken{}, err
	}
	secret := mark + id + "_" + hex.EncodeToString(random)
	return imx.NewToken{Secret: secret, RegistryToken: imx.RegistryToken{
		ID: id, Owner: req.Owner, Rights: rights, Repositories: slices.Clone(req.Repositories),
		Made: now.UTC(), Ends: now.UTC().Add(time.Duration(req.Lasts)), Hash: imx.DigestBytes([]byte(secret)),
	}}, nil
}

// validOwner leaves names to imx itself that would be taken for its own.
func validOwner(p imx.Principal) bool {
	name := string(p)
	strange := func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@", r)
	}
	return name != "" && len(name) <= 64 && !strings.ContainsFunc(name, strange) && p != imx.Server && p != Anonymous
}

// CheckPatterns refuses patterns of repositories that could match none. Errors: Invalid.
func CheckPatterns(patterns []string) error {
	for _, p := range patterns {
		start := strings.TrimSuffix(p, "*")
		if p == "" || len(p) > 200 || strings.Trim(start, "abcdefghijklmnopqrstuvwxyz0123456789-_./") != "" || strings.HasPrefix(p, "/") {
			return imx.Errorf(imx.Invalid, "%.80q is no pattern of repositories", p).
				WithHint("write a repository's name, team/* for all below team, or * for all")
		}
	}
	if len(patterns) == 0 {
		return imx.Errorf(imx.Invalid, "no repository is named").WithHint("name repositories, team/* for all below team, or * for all")
	}
	return nil
}

// Find returns the token of a secret. Who hasn't the whole secret learns nothing but that it isn't right, and not from
// the time that it takes either; who has it learns why it counts no more. Errors: Refused.
func Find(tokens map[string]imx.RegistryToken, secret string, now time.Time) (imx.RegistryToken, error) {
	id, _, _ := strings.Cut(strings.TrimPrefix(secret, mark), "_")
	t, known := tokens[id]
	if !known { // compare all the same
		t.Hash = imx.DigestBytes(nil)
	}
	sum := sha256.Sum256([]byte(secret))
	got := "sha256:" + hex.EncodeToString(sum[:])
	if subtle.ConstantTimeCompare([]byte(got), []byte(t.Hash)) != 1 || !known {
		return imx.RegistryToken{}, imx.Errorf(imx.Refused, "the password or token isn't right").
			WithHint("imx registry token create makes one")
	}
	if why := t.Over(now); why != "" {
		return t, imx.Errorf(imx.Refused, "token %s of %s %s", t.ID, t.Owner, why).WithHint("imx registry token create makes another")
	}
	return t, nil
}

// Allows reports whether a token has a right in a repository.
func Allows(t imx.RegistryToken, right imx.RegistryRight, repository string) bool {
	return slices.Contains(t.Rights, right) &&
		slices.ContainsFunc(t.Repositories, func(p string) bool { return imx.MatchRepository(p, repository) })
}
