package control

import (
	"slices"
	"time"

	"imx"
)

// AddKeys makes keys of imx's own count from now on, each in place of its role's key before it.
// Errors: Conflict for one that is known already.
func (c *Control) AddKeys(by imx.Principal, keys ...imx.Key) error {
	_, err := decide(c, by, func(s *imx.State) (struct{}, []imx.Body, error) {
		var bodies []imx.Body
		for _, k := range keys {
			if _, ok := s.Keys[k.ID]; ok {
				return struct{}{}, nil, imx.Errorf(imx.Conflict, "the key %s is known already", k.ID)
			}
			bodies = append(bodies, imx.KeyAdded{Key: k})
		}
		return struct{}{}, bodies, nil
	})
	return err
}

// EndKey ends a key, and returns it as it is then. Where it is imx's own and signs at present, next takes its place in the
// same moment: nil asks for one with a Conflict. Errors: as FindKey; Conflict for one that ended no later.
func (c *Control) EndKey(by imx.Principal, end imx.KeyEnded, next *imx.Key) (imx.Key, error) {
	_, err := decide(c, by, func(s *imx.State) (struct{}, []imx.Body, error) {
		k, err := FindKey(s, end.Key)
		if err != nil {
			return struct{}{}, nil, err
		}
		if ended := !k.Until.IsZero() && !end.Until.Before(k.Until); ended && (k.Compromised || !end.Compromised) {
			return struct{}{}, nil, imx.Errorf(imx.Conflict, "the key %s ended at %s already", k.ID, k.Until.Format(time.RFC3339)).
				WithHint("an end can be brought forward, but not put off")
		}
		end.Key = k.ID
		bodies := []imx.Body{end}
		if k.Own() && current(s, k.Role).ID == k.ID {
			if next == nil {
				return struct{}{}, nil, imx.Errorf(imx.Conflict, "the key %s is the one that signs as %s now", k.ID, k.Role)
			}
			bodies = append(bodies, imx.KeyAdded{Key: *next})
		}
		return struct{}{}, bodies, nil
	})
	if err != nil {
		return imx.Key{}, err
	}
	return c.State().Keys[end.Key], nil
}

// FindKey returns the key that a person means, as imx.FindKey.
func FindKey(s *imx.State, wanted string) (imx.Key, error) { return imx.FindKey(s.Keys, wanted) }

// CurrentKey returns the key of imx's own that signs for a role now; the zero Key if none does.
func CurrentKey(s *imx.State, role imx.Role) imx.Key { return current(s, role) }

func current(s *imx.State, role imx.Role) imx.Key {
	for _, k := range s.Keys {
		if k.Own() && k.Role == role && k.Until.IsZero() {
			return k
		}
	}
	return imx.Key{}
}

// SetPerson makes somebody known, or changes what is known of them, and adds keys that they haven't yet.
// Errors: Invalid for somebody new without a role; Conflict for a login or a key that is somebody else's, or a key that ended.
func (c *Control) SetPerson(by imx.Principal, p imx.Person, keys []imx.Key) (imx.Person, error) {
	return decide(c, by, func(s *imx.State) (imx.Person, []imx.Body, error) {
		known, ok := s.People[p.Name]
		p = over(known, p)
		if !ok && len(p.Roles) == 0 {
			return p, nil, imx.Errorf(imx.Invalid, "what %s may do isn't said", p.Name).WithHint("give --role reviewer, --role author, or both")
		}
		if err := ownLogins(s, p); err != nil {
			return p, nil, err
		}
		var bodies []imx.Body
		if !ok || !sameKnown(p, known) {
			bodies = append(bodies, imx.PersonSet{Person: p})
		}
		for _, k := range keys {
			old, ok := s.Keys[k.ID]
			switch {
			case !ok:
				k.Owner = p.Name
				bodies = append(bodies, imx.KeyAdded{Key: k})
			case old.Owner != p.Name || old.Role != "":
				return p, nil, imx.Errorf(imx.Conflict, "the key %s is %s's", k.ID, old.Owner).WithHint("everybody has keys of their own: ssh-keygen -t ed25519 makes one")
			case !old.Until.IsZero():
				return p, nil, imx.Errorf(imx.Conflict, "the key %s ended at %s, and an ended key doesn't come back", k.ID, old.Until.Format(time.RFC3339)).
					WithHint("ssh-keygen -t ed25519 makes another")
			}
		}
		return p, bodies, nil
	})
}

// over is what is said of a person, and for the rest what is known already.
func over(known, said imx.Person) imx.Person {
	if len(said.Roles) == 0 {
		said.Roles = known.Roles
	}
	if len(said.Emails) == 0 {
		said.Emails = known.Emails
	}
	if len(said.Logins) == 0 {
		said.Logins = known.Logins
	}
	said.Since = known.Since
	return said
}

// ownLogins makes sure that a person's logins are nobody else's. Errors: Conflict.
func ownLogins(s *imx.State, p imx.Person) error {
	for _, login := range p.Logins {
		if other, taken := imx.WithLogin(s.People, login); taken && other.Name != p.Name {
			return imx.Errorf(imx.Conflict, "the login %s is %s's", login, other.Name).
				WithHint("an account has one holder: give %s other logins, or end what they may do: imx person remove %s", other.Name, other.Name)
		}
	}
	return nil
}

// sameKnown reports whether the same is known of a person.
func sameKnown(a, b imx.Person) bool {
	return slices.Equal(a.Roles, b.Roles) && slices.Equal(a.Emails, b.Emails) && slices.Equal(a.Logins, b.Logins)
}

// RemovePerson ends what somebody may do, and their keys. Errors: NotFound.
func (c *Control) RemovePerson(by, name imx.Principal, reason string) error {
	_, err := decide(c, by, func(s *imx.State) (struct{}, []imx.Body, error) {
		if _, ok := s.People[name]; !ok {
			return struct{}{}, nil, imx.Errorf(imx.NotFound, "there is no person %q", name).WithHint("imx person list shows who is known")
		}
		return struct{}{}, []imx.Body{imx.PersonRemoved{Person: name, Reason: reason}}, nil
	})
	return err
}
