// Package trust keeps who may speak: the keys of imx's own parts, with which it signs, and people with theirs. It joins
// what keeps private keys with what writes down which count; it doesn't judge what was signed.
package trust

import (
	"cmp"
	"context"
	"crypto"
	"slices"
	"sync"
	"time"

	"imx"
	"imx/internal/control"
	"imx/internal/keyring"
	"imx/internal/sign"
)

// Config is what a Registrar joins.
type Config struct {
	Control *control.Control
	Store   keyring.Store
	Now     func() time.Time
}

// Registrar signs for imx's parts, and knows whose keys count. Its methods may be called from several goroutines at once.
type Registrar struct {
	cfg Config

	mu   sync.Mutex // held while keys change
	keys map[imx.Role]crypto.Signer
}

// Open finds the key of each role, or makes one where there is none, and writes down those that the log doesn't know.
// Errors: Refused for a key that should be there and isn't; as keyring.Store.
func Open(cfg Config) (*Registrar, error) {
	r := &Registrar{cfg: cfg, keys: map[imx.Role]crypto.Signer{}}
	state := cfg.Control.State()
	stored := map[imx.Role][]crypto.Signer{}
	empty := true
	for _, role := range keyring.Roles() {
		keys, err := cfg.Store.Keys(role)
		if err != nil {
			return nil, err
		}
		stored[role], empty = keys, empty && len(keys) == 0
	}
	var added []imx.Key
	for _, role := range keyring.Roles() {
		key, err := choose(state, role, stored[role])
		if err != nil && !empty {
			return nil, err
		}
		if key == nil {
			if key, err = cfg.Store.Make(role); err != nil {
				return nil, err
			}
		}
		known, err := keyOf(role, key)
		if err != nil {
			return nil, err
		}
		if _, ok := state.Keys[known.ID]; !ok {
			added = append(added, known)
		}
		r.keys[role] = key
	}
	return r, cfg.Control.AddKeys(imx.Server, added...)
}

// choose returns which of the keys that are stored for a role signs from now on, nil for a new one: the one that counts,
// else one that the log doesn't know yet, as a rotation that was cut off leaves it.
// Errors: Refused where another counts, which isn't there.
func choose(s *imx.State, role imx.Role, stored []crypto.Signer) (crypto.Signer, error) {
	counts := control.CurrentKey(s, role)
	var unknown crypto.Signer
	for _, key := range stored {
		k, err := keyOf(role, key)
		if err != nil {
			return nil, err
		}
		if k.ID == counts.ID {
			return key, nil
		}
		if _, ok := s.Keys[k.ID]; !ok {
			unknown = key
		}
	}
	if unknown == nil && counts.ID != "" {
		return nil, imx.Errorf(imx.Refused, "the %s's key %s isn't there any more", role, counts.ID).
			WithHint("put back the folder of keys from a backup. If it is lost, move all of it away: the next start makes new keys, and what the old ones signed still counts")
	}
	return unknown, nil
}

// keyOf is what is told of a private key of a role.
func keyOf(role imx.Role, key crypto.Signer) (imx.Key, error) {
	p, err := sign.PublicOf(key.Public())
	return imx.Key{ID: p.ID, Owner: imx.Server, Role: role, Public: p.Line}, err
}

// Sign signs a statement of a type with the key of the role that speaks for it, and returns the bundle and the key's ID.
// Errors: Refused for a type that no role of imx's own speaks for; as sign.Seal.
func (r *Registrar) Sign(predicateType string, payload []byte) (bundle []byte, signer string, err error) {
	role := imx.RoleOf(predicateType)
	r.mu.Lock()
	key := r.keys[role]
	r.mu.Unlock()
	if key == nil {
		return nil, "", imx.Errorf(imx.Refused, "no key of imx's own signs statements of type %s", predicateType)
	}
	known, err := keyOf(role, key)
	if err != nil {
		return nil, "", err
	}
	bundle, err = sign.Seal(payload, key)
	return bundle, known.ID, err
}

// Known returns all keys by ID, also those that ended.
func (r *Registrar) Known() map[string]imx.Key { return r.cfg.Control.State().Keys }

// Keys lists them: those of this server's own first, then people's, then upstreams' by environment, each in the order in which they came.
func (r *Registrar) Keys(context.Context) ([]imx.Key, error) {
	list := []imx.Key{}
	for _, k := range r.Known() {
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b imx.Key) int {
		return cmp.Or(cmp.Compare(a.Environment, b.Environment), cmp.Compare(group(a), group(b)), cmp.Compare(a.Owner, b.Owner), a.From.Compare(b.From), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

// group is a key's place among the groups of a list: the roles of imx's own, and then people.
func group(k imx.Key) int {
	if i := slices.Index(keyring.Roles(), k.Role); i >= 0 {
		return i
	}
	return len(keyring.Roles())
}

// Rotate makes a new key of a role, which signs from now on. What the old one signed still counts.
// Errors: Invalid for a role of which imx has no key; as keyring.Store.Make.
func (r *Registrar) Rotate(_ context.Context, by imx.Principal, req imx.RotateRequest) (imx.Key, error) {
	if !slices.Contains(keyring.Roles(), req.Role) {
		return imx.Key{}, imx.Errorf(imx.Invalid, "imx has no key of a role %q", req.Role).WithHint("builder, scanner, tester or releaser")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key, known, err := r.make(req.Role)
	if err != nil {
		return imx.Key{}, err
	}
	if err := r.cfg.Control.AddKeys(by, known); err != nil {
		return imx.Key{}, err
	}
	r.keys[req.Role] = key
	return control.FindKey(r.cfg.Control.State(), known.ID)
}

func (r *Registrar) make(role imx.Role) (crypto.Signer, imx.Key, error) {
	key, err := r.cfg.Store.Make(role)
	if err != nil {
		return nil, imx.Key{}, err
	}
	known, err := keyOf(role, key)
	return key, known, err
}

// EndKey ends a key, and returns it as it is then. One of imx's own that signs now gets a successor in the same moment.
// Errors: Invalid without a reason; as control.EndKey.
func (r *Registrar) EndKey(_ context.Context, by imx.Principal, req imx.KeyEndRequest) (imx.Key, error) {
	if req.Reason == "" {
		return imx.Key{}, imx.Errorf(imx.Invalid, "why the key %s ends isn't said", req.Key).WithHint("give a reason: it stays on the log")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	state := r.cfg.Control.State()
	k, err := control.FindKey(state, req.Key)
	if err != nil {
		return imx.Key{}, err
	}
	if req.At.IsZero() {
		req.At = r.cfg.Now()
	}
	end := imx.KeyEnded{Key: k.ID, Until: req.At.UTC(), Compromised: req.Compromised, Reason: req.Reason}
	if !k.Own() || control.CurrentKey(state, k.Role).ID != k.ID {
		return r.cfg.Control.EndKey(by, end, nil)
	}
	key, next, err := r.make(k.Role)
	if err != nil {
		return imx.Key{}, err
	}
	ended, err := r.cfg.Control.EndKey(by, end, &next)
	if err == nil {
		r.keys[k.Role] = key
	}
	return ended, err
}
