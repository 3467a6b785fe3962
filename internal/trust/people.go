package trust

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"imx"
	"imx/internal/sign"
)

// maxName is the most that a person's name may have, in bytes, as user names have it.
const maxName = 32

// maxLogin is the most that the name of an account may have, in bytes, as Linux' LOGIN_NAME_MAX has it.
const maxLogin = 255

// People lists who is known, with their keys, sorted by name.
func (r *Registrar) People(context.Context) ([]imx.KnownPerson, error) {
	s := r.cfg.Control.State()
	list := []imx.KnownPerson{}
	for _, name := range slices.Sorted(maps.Keys(s.People)) {
		list = append(list, withKeys(s, s.People[name]))
	}
	return list, nil
}

func withKeys(s *imx.State, p imx.Person) imx.KnownPerson {
	known := imx.KnownPerson{Person: p, Keys: []imx.Key{}}
	for _, k := range s.Keys {
		if k.Role == "" && k.Owner == p.Name {
			known.Keys = append(known.Keys, k)
		}
	}
	slices.SortFunc(known.Keys, func(a, b imx.Key) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.ID, b.ID)) })
	return known
}

// SetPerson makes somebody known, or changes what is known of them.
// Errors: Invalid for a name, role or key that is none; Refused for a key that doesn't count; as control.SetPerson.
func (r *Registrar) SetPerson(_ context.Context, by imx.Principal, req imx.PersonRequest) (imx.KnownPerson, error) {
	if err := checkPerson(req); err != nil {
		return imx.KnownPerson{}, err
	}
	var keys []imx.Key
	for _, text := range req.Keys {
		k, err := personKey(text)
		if err != nil {
			return imx.KnownPerson{}, err
		}
		keys = append(keys, k)
	}
	p := imx.Person{Name: req.Name, Emails: tidied(req.Emails), Roles: tidied(req.Roles), Logins: tidied(req.Logins)}
	if _, err := r.cfg.Control.SetPerson(by, p, keys); err != nil {
		return imx.KnownPerson{}, err
	}
	s := r.cfg.Control.State()
	return withKeys(s, s.People[req.Name]), nil
}

// RemovePerson ends what somebody may do, and their keys. Errors: NotFound.
func (r *Registrar) RemovePerson(_ context.Context, by, name imx.Principal, reason string) error {
	return r.cfg.Control.RemovePerson(by, name, reason)
}

func tidied[T cmp.Ordered](list []T) []T { return slices.Compact(slices.Sorted(slices.Values(list))) }

func checkPerson(req imx.PersonRequest) error {
	name := string(req.Name)
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789_.-"
	if name == "" || len(name) > maxName || strings.Trim(name, letters) != "" || name[0] == '-' || name[0] == '.' {
		return imx.Errorf(imx.Invalid, "%q can't be a person's name", name).WithHint("take lower-case letters, digits, and . _ - between them, as user names have it")
	}
	if req.Name == imx.Server {
		return imx.Errorf(imx.Invalid, "%q is imx itself, and no person", name)
	}
	for _, role := range req.Roles {
		if role != imx.RoleReviewer && role != imx.RoleAuthor {
			return imx.Errorf(imx.Invalid, "a person can't have the role %q", role).WithHint("reviewer or author")
		}
	}
	for _, email := range req.Emails {
		if at := strings.Index(email, "@"); at < 1 || at == len(email)-1 || strings.ContainsAny(email, " <>\n\t") || len(email) > imx.MaxEmail {
			return imx.Errorf(imx.Invalid, "%q is not an e-mail address", email).WithHint("write it as commits have it, without <>: ada@example.org")
		}
	}
	for _, login := range req.Logins {
		if !isLogin(login) {
			return imx.Errorf(imx.Invalid, "%.100q can't be the name of an account", login).WithHint("write it as id -un does where they are logged in")
		}
	}
	return nil
}

// isLogin reports whether a passwd database can have an account of that name. Directories add names such as DOMAIN\ada and ada@domain
// to those that useradd takes.
func isLogin(name string) bool {
	strange := func(r rune) bool { return r <= ' ' || r == 0x7f || r == ':' || r == '/' || r == utf8.RuneError }
	return name != "" && len(name) <= maxLogin && name[0] != '-' && !strings.ContainsFunc(name, strange)
}

// pgpBegins is how an armored OpenPGP public key begins.
const pgpBegins = "-----BEGIN PGP PUBLIC KEY BLOCK-----"

// personKey reads a public key of a person: SSH's, or an armored OpenPGP one.
func personKey(text string) (imx.Key, error) {
	if strings.HasPrefix(strings.TrimSpace(text), pgpBegins) {
		return pgpKey(text)
	}
	p, err := sign.ParsePublic(text)
	return imx.Key{ID: p.ID, Public: p.Line}, err
}

// pgpKey reads an OpenPGP key, and leaves out what isn't one: comments, and whatever is around it.
func pgpKey(text string) (imx.Key, error) {
	list, err := openpgp.ReadArmoredKeyRing(strings.NewReader(text))
	if err == nil && len(list) != 1 {
		err = fmt.Errorf("it has %d keys", len(list))
	}
	if err != nil {
		return imx.Key{}, imx.Errorf(imx.Invalid, "this is not one OpenPGP public key: %w", err).WithHint("gpg --armor --export ADDRESS writes one")
	}
	if list[0].PrivateKey != nil {
		return imx.Key{}, imx.Errorf(imx.Refused, "this is a private OpenPGP key").WithHint("imx must not have it: give what gpg --armor --export writes")
	}
	var out bytes.Buffer
	w, err := armor.Encode(&out, openpgp.PublicKeyType, nil)
	if err == nil {
		err = list[0].Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return imx.Key{}, imx.Errorf(imx.Invalid, "this OpenPGP key can't be kept: %w", err)
	}
	return imx.Key{ID: fmt.Sprintf("%X", list[0].PrimaryKey.Fingerprint), Public: out.String() + "\n"}, nil
}
