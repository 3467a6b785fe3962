package offer

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/sign"
	"imx/internal/statement"
)

// MaxBundle bounds the bytes of an offer: one of 100 images with all that is stated of them has some 300 kB.
const MaxBundle = 4 << 20

// The lengths of what who asks makes up, in characters.
const minAsked, maxAsked = 16, 128

// skew is by how much the clocks of two servers may differ: how long something was good is told by the one, and asked for by the other.
const skew = 5 * time.Minute

// CheckAsked says what is wrong with what somebody made up to ask with. The error is of kind Invalid.
func CheckAsked(asked string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	if len(asked) < minAsked || len(asked) > maxAsked || strings.Trim(asked, letters) != "" {
		return imx.Errorf(imx.Invalid, "asked=%.200q is nothing that an offer answers", asked).
			WithHint("%d to %d letters and digits that nobody asked with before", minAsked, maxAsked)
	}
	return nil
}

// payload is the statement of an offer.
func payload(o imx.Offer) ([]byte, error) {
	predicate, err := json.Marshal(o)
	if err != nil {
		return nil, imx.Errorf(imx.Internal, "an offer can't be written as JSON: %w", err)
	}
	return json.Marshal(imx.Statement{Type: imx.StatementType, Subject: subjects(o), PredicateType: imx.PredicateOffer, Predicate: predicate})
}

// subjects are the plan, and each image by its repository.
func subjects(o imx.Offer) []imx.Subject {
	named := func(name string, d imx.Digest) imx.Subject {
		return imx.Subject{Name: name, Digest: map[string]string{"sha256": d.Hex()}}
	}
	list := []imx.Subject{named("plan", o.Plan)}
	for _, im := range o.Images {
		list = append(list, named(im.Image.Name, im.Image.Digest))
	}
	return list
}

// Verify returns what a bundle offers, if it counts now: it is signed by the releaser of an environment, with a key that is known as that one's and
// counts, it is in the form that imx writes, and answers what was asked. That what it names has these digests is for who brings it to see.
// Errors: Refused, and the message names the reason.
func Verify(bundle []byte, keys map[string]imx.Key, environment, asked string, now time.Time) (imx.Offer, error) {
	o, err := verified(bundle, keys, environment, now)
	if err == nil {
		err = answers(o, environment, asked, now)
	}
	if err == nil {
		err = whole(o)
	}
	if err != nil {
		return imx.Offer{}, imx.Errorf(imx.Refused, "the offer of %s doesn't count: %w", environment, err).WithHint("%s", imx.AsError(err).Hint)
	}
	return o, nil
}

// verified opens a bundle that a releaser of an environment signed, and reads the offer in it.
func verified(bundle []byte, keys map[string]imx.Key, environment string, now time.Time) (imx.Offer, error) {
	if len(bundle) > MaxBundle {
		return imx.Offer{}, imx.Errorf(imx.Refused, "it has %d bytes, more than %d", len(bundle), MaxBundle)
	}
	opened, err := sign.Open(bundle)
	if err != nil {
		return imx.Offer{}, err
	}
	if err := signed(opened, keys, environment, now); err != nil {
		return imx.Offer{}, err
	}
	st, err := statement.Parse(opened.Payload)
	if err != nil {
		return imx.Offer{}, err
	}
	if st.PredicateType != imx.PredicateOffer {
		return imx.Offer{}, imx.Errorf(imx.Refused, "it is a statement of another type: %s", st.PredicateType)
	}
	var o imx.Offer
	if err := json.Unmarshal(st.Predicate, &o); err != nil {
		return imx.Offer{}, imx.Errorf(imx.Refused, "it can't be read: %w", err)
	}
	if again, err := payload(o); err != nil || !bytes.Equal(again, opened.Payload) {
		return imx.Offer{}, imx.Errorf(imx.Refused, "it isn't in the form that imx writes: it has keys that aren't known, keys twice, or other subjects than it names").
			WithHint("both servers need the same version of imx: imx version")
	}
	return o, nil
}

// signed refuses a bundle that no key of the environment's releaser signed which counts. An offer is signed when it is asked for, so that a key's end
// is judged by the moment.
func signed(b sign.Bundle, keys map[string]imx.Key, environment string, now time.Time) error {
	k, ok := signerOf(b, keys)
	switch {
	case !ok:
		return imx.Errorf(imx.Refused, "it is signed with a key that isn't known here").
			WithHint("on the server of %s: imx key export > keys.json; here: imx upstream add %s --keys keys.json", environment, environment)
	case k.Environment == "" || k.Environment != environment:
		return imx.Errorf(imx.Refused, "it is signed with a key of another environment: %s is %s", k.ID, whose(k))
	case !slices.Contains(k.Predicates(), imx.PredicateOffer):
		return imx.Errorf(imx.Refused, "it is signed with the wrong role: %s is the %s's key, and the role for it is %s", k.ID, k.Role, imx.RoleReleaser)
	case k.Compromised:
		return imx.Errorf(imx.Refused, "it is signed with a compromised key, %s: %s", k.ID, k.Reason)
	case !k.Until.IsZero() && !now.Before(k.Until):
		return imx.Errorf(imx.Refused, "it is signed with an ended key, %s: %s", k.ID, k.Reason).
			WithHint("on the server of %s: imx key export > keys.json; here: imx upstream add %s --keys keys.json", environment, environment)
	}
	return nil
}

// signerOf returns the key that signed a bundle, if it is known.
func signerOf(b sign.Bundle, keys map[string]imx.Key) (imx.Key, bool) {
	for _, k := range keys {
		if public, err := sign.ParsePublic(k.Public); err == nil && public.ID == k.ID && b.Verify(public) == nil {
			return k, true
		}
	}
	return imx.Key{}, false
}

func whose(k imx.Key) string {
	switch {
	case k.Environment != "":
		return "of " + k.Environment
	case k.Role != "":
		return "this server's own"
	}
	return string(k.Owner) + "'s"
}

// answers refuses an offer of another environment, an answer to another question, and one by a clock that is wrong here or there.
func answers(o imx.Offer, environment, asked string, now time.Time) error {
	switch {
	case o.Environment != environment:
		return imx.Errorf(imx.Refused, "it says that it comes from %.60q", o.Environment).
			WithHint("was the other server's environment changed? imx status names it, there; imx upstream add makes it known anew")
	case o.Asked != asked || CheckAsked(asked) != nil:
		return imx.Errorf(imx.Refused, "it answers another question: somebody keeps older offers and gives them out again").
			WithHint("try again; if it stays so, look at what is between both servers")
	case o.At.Sub(now).Abs() > skew:
		return imx.Errorf(imx.Refused, "the clocks differ: it was signed at %s, and it is %s here", o.At.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)).
			WithHint("set the clock of the server that is wrong: how long a release was good is told by the one, and asked for by the other")
	}
	return nil
}

// whole refuses an offer that doesn't say all that it has to, or says a thing twice.
func whole(o imx.Offer) error {
	bad := func(format string, args ...any) error {
		return imx.Errorf(imx.Refused, "it isn't whole: %w", imx.Errorf(imx.Refused, format, args...))
	}
	for _, d := range []imx.Digest{o.Plan, o.Request} {
		if _, err := imx.ParseDigest(string(d)); err != nil {
			return bad("%w", err)
		}
	}
	if len(o.Services) == 0 || len(o.Images) == 0 {
		return bad("it has %d services and %d images", len(o.Services), len(o.Images))
	}
	images := map[imx.Digest]bool{}
	names := map[string]bool{}
	for _, im := range o.Images {
		if err := wholeImage(im); err != nil {
			return bad("%w", err)
		}
		if names[im.Image.Name] {
			return bad("image %s is there twice", im.Image.Name)
		}
		images[im.Image.Digest], names[im.Image.Name] = true, true
	}
	for i, v := range o.Services {
		switch {
		case v.Service == "" || i > 0 && v.Service <= o.Services[i-1].Service:
			return bad("its services aren't in order")
		case !images[v.Image]:
			return bad("service %s has an image that isn't one of its images", v.Service)
		case v.Release < 1 || v.Since.IsZero() || v.Since.After(o.At):
			return bad("service %s has release %d since %s", v.Service, v.Release, v.Since)
		}
	}
	return nil
}

func wholeImage(im imx.Offering) error {
	if im.Image.Name == "" {
		return imx.Errorf(imx.Refused, "an image has no name")
	}
	digests := []imx.Digest{im.Image.Digest, im.Image.Plan, im.Image.Root, im.Artifact}
	if im.Image.Inventory != "" {
		digests = append(digests, im.Image.Inventory)
	}
	for i, e := range im.Evidence {
		digests = append(digests, e.Statement, e.Manifest, e.Bundle)
		if e.Image != im.Image.Digest || !stated(e.PredicateType) || i > 0 && e.PredicateType <= im.Evidence[i-1].PredicateType {
			return imx.Errorf(imx.Refused, "what is stated of image %s isn't about it, or isn't in order", im.Image.Name)
		}
	}
	for _, d := range digests {
		if _, err := imx.ParseDigest(string(d)); err != nil {
			return imx.Errorf(imx.Refused, "image %s: %w", im.Image.Name, err)
		}
	}
	return nil
}
