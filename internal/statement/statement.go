// Package statement makes and reads in-toto statements in the one form in which imx writes them. It doesn't know who
// signed one, nor where one is kept.
package statement

import (
	"bytes"
	"encoding/json"

	"imx"
)

// Max bounds the bytes of a statement: an SBOM of an image of 100,000 files has some 50 MB.
const Max = 128 << 20

// Make makes a statement about one image. The predicate becomes JSON as it is.
func Make(name string, image imx.Digest, predicateType string, predicate any) (imx.Statement, error) {
	raw, err := json.Marshal(predicate)
	if err != nil {
		return imx.Statement{}, imx.Errorf(imx.Internal, "a predicate of type %s can't be written as JSON: %w", predicateType, err)
	}
	st := imx.Statement{
		Type: imx.StatementType, PredicateType: predicateType, Predicate: raw,
		Subject: []imx.Subject{{Name: name, Digest: map[string]string{"sha256": image.Hex()}}},
	}
	return st, check(st)
}

// Parse reads a statement in the one form in which imx writes them: with no key twice, no key that isn't known,
// and nothing before or after, no two readers can take it for two things. Errors: Refused.
func Parse(raw []byte) (imx.Statement, error) {
	if len(raw) > Max {
		return imx.Statement{}, imx.Errorf(imx.Refused, "the statement has %d bytes, more than %d", len(raw), Max)
	}
	var st imx.Statement
	if err := json.Unmarshal(raw, &st); err != nil {
		return imx.Statement{}, imx.Errorf(imx.Refused, "this is no in-toto statement: %w", err)
	}
	if err := check(st); err != nil {
		return imx.Statement{}, err
	}
	if again, err := json.Marshal(st); err != nil || !bytes.Equal(again, raw) {
		return imx.Statement{}, imx.Errorf(imx.Refused, "the statement isn't in the form that imx writes: it has keys that aren't known, keys twice, or bytes around it")
	}
	return st, nil
}

// check refuses a statement that isn't of its form, or of a type that imx doesn't know.
func check(st imx.Statement) error {
	switch {
	case st.Type != imx.StatementType:
		return imx.Errorf(imx.Refused, "the statement's type is %.80q, and not %s", st.Type, imx.StatementType)
	case imx.RoleOf(st.PredicateType) == "":
		return imx.Errorf(imx.Refused, "the statement's predicate is of a type that this imx doesn't know: %.80q", st.PredicateType)
	case len(st.Subject) == 0:
		return imx.Errorf(imx.Refused, "the statement is about nothing: it has no subject")
	case len(st.Predicate) == 0 || st.Predicate[0] != '{':
		return imx.Errorf(imx.Refused, "the statement says nothing: its predicate is no JSON object")
	}
	for _, s := range st.Subject {
		if _, err := digestOf(s); err != nil {
			return err
		}
	}
	return nil
}

// digestOf returns what a subject is named by.
func digestOf(s imx.Subject) (imx.Digest, error) {
	d, err := imx.ParseDigest("sha256:" + s.Digest["sha256"])
	if err != nil || len(s.Digest) != 1 {
		return "", imx.Errorf(imx.Refused, "the statement's subject %.80q isn't named by one SHA-256 digest", s.Name)
	}
	return d, nil
}

// About reports whether a statement that was made or read here is about an image, or whatever else a digest names.
func About(st imx.Statement, image imx.Digest) bool {
	for _, s := range st.Subject {
		if d, err := digestOf(s); err == nil && d == image {
			return true
		}
	}
	return false
}
