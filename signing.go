package imx

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Role is what a signer may speak for. What a key signs counts for its role's predicate types alone.
type Role string

// The roles. Those of imx's own parts have one key each at a time; people have the last two.
const (
	RoleBuilder  Role = "builder"  // how an image came to be, and what is in it
	RoleScanner  Role = "scanner"  // what is wrong with it: findings of rules, vulnerabilities, and why some don't matter
	RoleTester   Role = "tester"   // how its instances did
	RoleReleaser Role = "releaser" // the verdict on it
	RoleReviewer Role = "reviewer" // a person's yes or no to a plan
	RoleAuthor   Role = "author"   // a person's commits and tags
)

// Predicates returns the types of statements that count if a key of the role signed them.
func (r Role) Predicates() []string {
	switch r {
	case RoleBuilder:
		return []string{PredicateProvenance, PredicateSPDX, PredicateCycloneDX}
	case RoleScanner:
		return []string{PredicateScan, PredicateCheck, PredicateVEX}
	case RoleTester:
		return []string{PredicateTest}
	case RoleReleaser:
		return []string{PredicateVerdict, PredicateOffer}
	case RoleReviewer:
		return []string{PredicateReview}
	case RoleAuthor:
	}
	return nil
}

// Abroad returns those of them that count on another server too, which knows this one as its upstream: how an image came to be, how its tests went, and
// what is offered. What is wrong with an image, and whether it may run, each server finds itself.
func (r Role) Abroad() []string {
	switch r {
	case RoleBuilder, RoleTester:
		return r.Predicates()
	case RoleReleaser:
		return []string{PredicateOffer}
	case RoleScanner, RoleReviewer, RoleAuthor:
	}
	return nil
}

// RoleOf returns the role whose keys sign statements of a predicate type, or "".
func RoleOf(predicateType string) Role {
	for _, r := range []Role{RoleBuilder, RoleScanner, RoleTester, RoleReleaser, RoleReviewer} {
		if slices.Contains(r.Predicates(), predicateType) {
			return r
		}
	}
	return ""
}

// Key is a public key that imx counts on. The private one is never on the log nor in State.
type Key struct {
	// ID is the key's fingerprint as `ssh-keygen -l` prints it: "SHA256:" and the unpadded base64 of its SSH form's hash.
	// Of an OpenPGP key it is the fingerprint in upper-case hex.
	ID    string    `json:"id"`
	Owner Principal `json:"owner"` // Server, or a Person's name
	// Role is what a key of imx's own speaks for. A person's has none: the person's roles count.
	Role Role `json:"role,omitempty"`
	// Environment is the Upstream's whose server signs with it; "" for this server's own keys and for people's. Only keys of its own sign here,
	// and there may be several of an upstream's for one role.
	Environment string `json:"environment,omitempty"`
	Public      string `json:"public"` // a line as in authorized_keys, without a comment; or an armored OpenPGP key
	// From is the moment when it was made known. What it signed earlier doesn't count.
	From time.Time `json:"from"`
	// Until is the moment from which what it signs doesn't count any more; zero while there is none.
	Until       time.Time `json:"until,omitzero"`
	Compromised bool      `json:"compromised,omitempty"` // nothing that it ever signed counts
	Reason      string    `json:"reason,omitempty"`      // why it was ended
}

// Own reports whether it is a key of one of this server's own parts.
func (k Key) Own() bool { return k.Role != "" && k.Environment == "" }

// Predicates returns the types of statements that count if the key signed them.
func (k Key) Predicates() []string {
	switch {
	case k.Role == "":
		return RoleReviewer.Predicates()
	case k.Own():
		return k.Role.Predicates()
	}
	return k.Role.Abroad()
}

// EndedFor reports whether the key had ended when an evidence was kept: an upstream's, when it was kept there.
func (k Key) EndedFor(e Evidence) bool {
	at := e.Made
	if k.Environment != "" {
		at = e.First()
	}
	return !k.Until.IsZero() && !at.Before(k.Until)
}

// Person is somebody whom imx knows: whose keys sign, and whose commits are theirs.
type Person struct {
	Name   Principal `json:"name"`
	Emails []string  `json:"emails,omitempty"` // as in their commits
	Roles  []Role    `json:"roles,omitempty"`  // RoleReviewer, RoleAuthor
	Logins []string  `json:"logins,omitempty"` // accounts on the server's machine; no two people have the same
	Since  time.Time `json:"since"`
}

// Has reports whether the person has a role.
func (p Person) Has(r Role) bool { return slices.Contains(p.Roles, r) }

// WithLogin returns the person one of whose logins an account is, or false.
func WithLogin(people map[Principal]Person, account string) (Person, bool) {
	for _, p := range people {
		if slices.Contains(p.Logins, account) {
			return p, true
		}
	}
	return Person{}, false
}

// Caller is who acts when a local account asks: the person whose login it is, or else the account itself.
func Caller(people map[Principal]Person, account string) Principal {
	if p, ok := WithLogin(people, account); ok {
		return p.Name
	}
	return AccountPrincipal(account)
}

// KnownPerson is a person with their keys, the newest last.
type KnownPerson struct {
	Person
	Keys []Key `json:"keys"`
}

// PersonRequest asks to know somebody, or to change what is known of them.
type PersonRequest struct {
	Name   Principal `json:"name"`
	Emails []string  `json:"emails,omitempty"` // none leave those that are known
	Roles  []Role    `json:"roles,omitempty"`  // as Emails
	Logins []string  `json:"logins,omitempty"` // as Emails
	Keys   []string  `json:"keys,omitempty"`   // files as they are: SSH public keys, or armored OpenPGP keys
}

// RotateRequest asks for a new key of a role of imx's own.
type RotateRequest struct {
	Role Role `json:"role"`
}

// FindKey returns the key that a person means by its ID, by how that begins, with or without "SHA256:", or by a role: then the one of
// this server's own that signs for it now. Errors: as Abbreviated.
func FindKey(keys map[string]Key, wanted string) (Key, error) {
	for _, k := range keys {
		if k.Own() && string(k.Role) == wanted && k.Until.IsZero() {
			return k, nil
		}
	}
	const prefix = "SHA256:"
	whole := wanted
	if _, ok := keys[prefix+wanted]; ok || !strings.HasPrefix(wanted, prefix) && wanted != "" && !begins(keys, wanted) {
		whole = prefix + wanted
	}
	id, err := Abbreviated("key", whole, "imx key list shows the keys", maps.Keys(keys))
	return keys[id], err
}

func begins(keys map[string]Key, with string) bool {
	for id := range keys {
		if strings.HasPrefix(id, with) {
			return true
		}
	}
	return false
}

// KeyEndRequest asks for a key's end.
type KeyEndRequest struct {
	Key         string    `json:"key"`         // its ID, or the beginning of it
	At          time.Time `json:"at,omitzero"` // from when what it signs doesn't count; zero means now
	Compromised bool      `json:"compromised"` // nothing that it ever signed counts
	Reason      string    `json:"reason"`
}

// What happens to keys and to who is known by them. A key's moments are those of the log.
type (
	// KeyAdded makes a key count from now on, and of this server's own the one for its role: the key before it is ended.
	KeyAdded struct {
		Key Key `json:"key"`
	}
	// KeyEnded says that what a key signs from Until on doesn't count or, if Compromised, nothing that it signed.
	KeyEnded struct {
		Key         string    `json:"key"` // its ID
		Until       time.Time `json:"until"`
		Compromised bool      `json:"compromised,omitempty"`
		Reason      string    `json:"reason"`
	}
	// PersonSet makes somebody known, or changes what is known of them.
	PersonSet struct {
		Person Person `json:"person"`
	}
	// PersonRemoved ends what somebody may do. Their keys end with it.
	PersonRemoved struct {
		Person Principal `json:"person"`
		Reason string    `json:"reason,omitempty"`
	}
)

func (KeyAdded) kind() string      { return "key-added" }
func (KeyEnded) kind() string      { return "key-ended" }
func (PersonSet) kind() string     { return "person-set" }
func (PersonRemoved) kind() string { return "person-removed" }
