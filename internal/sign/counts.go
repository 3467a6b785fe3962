package sign

import (
	"slices"
	"time"

	"imx"
	"imx/internal/statement"
)

// Counts returns the statement of an evidence from its bundle, if it counts: it is the one that the evidence names,
// about that image and of that type, and signed with a known key that spoke for that type when it was kept.
// Of a person's key it says only that it may sign reviews: whether its owner may review is for a policy to say.
// Errors: Refused, and the message names the reason.
func Counts(e imx.Evidence, bundle []byte, keys map[string]imx.Key) (imx.Statement, error) {
	key, err := signer(e, keys)
	if err != nil {
		return imx.Statement{}, refused(e, err)
	}
	st, err := signed(e, bundle, key)
	if err != nil {
		return imx.Statement{}, refused(e, err)
	}
	return st, nil
}

// Signer reports what Counts does, as far as it can be told without the bytes: whether an evidence is signed with a known
// key, that spoke for its type when it was kept. Errors: Refused, and the message names the reason.
func Signer(e imx.Evidence, keys map[string]imx.Key) error {
	if _, err := signer(e, keys); err != nil {
		return refused(e, err)
	}
	return nil
}

// refused says of what a reason is why it doesn't count.
func refused(e imx.Evidence, why error) error {
	name := imx.PredicateNames()[e.PredicateType]
	if name == "" {
		name = "statement"
	}
	about, hint := "image", imx.AsError(why).Hint
	if e.PredicateType == imx.PredicateReview {
		about, hint = "plan", "answer with another key: imx person list shows whose count, imx person add NAME --key FILE.pub adds one"
	}
	return imx.Errorf(imx.Refused, "the %s of %s %s doesn't count: %w", name, about, e.Image.Short(), why).WithHint("%s", hint)
}

// signer returns the key of an evidence, if it counted for it.
func signer(e imx.Evidence, keys map[string]imx.Key) (imx.Key, error) {
	if e.Bundle == "" || e.Signer == "" {
		return imx.Key{}, imx.Errorf(imx.Refused, "it is unsigned: it was kept before statements were signed").
			WithHint("make it anew: a build, a test run and a scan sign what they find")
	}
	key, ok := keys[e.Signer]
	if !ok {
		return imx.Key{}, imx.Errorf(imx.Refused, "it is signed with an unknown key, %s", e.Signer).WithHint("known keys: imx key list")
	}
	return key, spoke(key, e)
}

// signed returns the statement in a bundle, if a key signed it and it is the one that an evidence names.
func signed(e imx.Evidence, bundle []byte, key imx.Key) (imx.Statement, error) {
	if imx.DigestBytes(bundle) != e.Bundle {
		return imx.Statement{}, imx.Errorf(imx.Refused, "it was changed: its bytes aren't those that the log names, %s", e.Bundle)
	}
	public, err := ParsePublic(key.Public)
	if err != nil {
		return imx.Statement{}, imx.Errorf(imx.Refused, "the key %s can't be read: %w", key.ID, err)
	}
	if public.ID != key.ID {
		return imx.Statement{}, imx.Errorf(imx.Refused, "the key %s is known by the name of another, %s", public.ID, key.ID)
	}
	opened, err := Open(bundle)
	if err != nil {
		return imx.Statement{}, err
	}
	if err := opened.Verify(public); err != nil {
		return imx.Statement{}, err
	}
	return named(e, opened.Payload)
}

// spoke refuses a key that doesn't speak for an evidence's type, or didn't count when it was kept.
func spoke(key imx.Key, e imx.Evidence) error {
	who := string(key.Role) + "'s key"
	if key.Role == "" {
		who = "key of " + string(key.Owner) + ", a person"
	}
	switch {
	case key.Environment != "" && slices.Contains(key.Role.Predicates(), e.PredicateType) && !slices.Contains(key.Predicates(), e.PredicateType):
		return imx.Errorf(imx.Refused, "it is signed with a key of the environment %s, %s, whose word on that doesn't count here", key.Environment, key.ID).
			WithHint("what is wrong with an image, and whether it may run, this server finds itself: make it anew")
	case !slices.Contains(key.Predicates(), e.PredicateType):
		return imx.Errorf(imx.Refused, "it is signed with the wrong role: %s is the %s, and the role for it is %s", key.ID, who, imx.RoleOf(e.PredicateType))
	case key.Compromised:
		return imx.Errorf(imx.Refused, "it is signed with a compromised key, %s: %s", key.ID, key.Reason).
			WithHint("nothing that this key ever signed counts: make it anew")
	case e.Made.Before(key.From):
		return imx.Errorf(imx.Refused, "it is older than its key: %s counts from %s, and it was kept at %s", key.ID, day(key.From), day(e.Made))
	case key.EndedFor(e):
		return imx.Errorf(imx.Refused, "it is signed with an ended key: %s counts until %s, and it was kept at %s", key.ID, day(key.Until), day(e.First())).
			WithHint("make it anew, or have it signed with a key that counts: imx key list")
	}
	return nil
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// named returns a statement that was signed, if it is the one that an evidence names.
func named(e imx.Evidence, payload []byte) (imx.Statement, error) {
	st, err := statement.Parse(payload)
	switch {
	case err != nil:
		return imx.Statement{}, err
	case !statement.About(st, e.Image):
		return imx.Statement{}, imx.Errorf(imx.Refused, "it is for another digest: the statement %s is not about the image %s", e.Statement.Short(), e.Image)
	case st.PredicateType != e.PredicateType:
		return imx.Statement{}, imx.Errorf(imx.Refused, "it is of another predicate type: %s, and not %s", st.PredicateType, e.PredicateType)
	case imx.DigestBytes(payload) != e.Statement:
		return imx.Statement{}, imx.Errorf(imx.Refused, "it was changed: the statement in it isn't the one that the log names, %s", e.Statement)
	}
	return st, nil
}
