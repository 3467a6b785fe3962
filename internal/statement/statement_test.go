// These tests are here because what is signed must mean one thing to every reader.
package statement_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"imx"
	"imx/internal/statement"
)

func TestEveryStatementThatIsMadeIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		image := imx.DigestBytes(rapid.SliceOf(rapid.Byte()).Draw(t, "image"))
		says := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "predicate")
		made, err := statement.Make(rapid.String().Draw(t, "name"), image, imx.PredicateCheck, says)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(made)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := statement.Parse(raw); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
	})
}

func TestWhatTwoReadersCouldTakeForTwoThingsIsRefused(t *testing.T) {
	hex := strings.Repeat("ab", 32)
	good := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + hex + `"}}],"predicateType":"urn:imx:check:v1","predicate":{}}`
	if _, err := statement.Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string][2]string{
		"another type":            {"Statement/v1", "Statement/v0.1"},
		"an unknown predicate":    {"urn:imx:check:v1", "urn:other"},
		"no subject":              {`{"digest":{"sha256":"` + hex + `"}}`, ""},
		"a short digest":          {hex, "abab"},
		"another algorithm":       {`"sha256"`, `"sha512"`},
		"two digests":             {`{"sha256"`, `{"sha1":"ab","sha256"`},
		"a predicate that's none": {`"predicate":{}`, `"predicate":null`},
		"a key twice":             {`"predicate":{}`, `"predicate":{},"predicate":{"a":1}`},
		"a key in other letters":  {`"predicate":{}`, `"Predicate":{}`},
		"an unknown key":          {`"predicate":{}`, `"predicate":{},"more":1`},
		"a space":                 {`"predicate":{}`, `"predicate": {}`},
		"something after it":      {`"predicate":{}}`, `"predicate":{}}{}`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if _, err := statement.Parse([]byte(bad)); imx.KindOf(err) != imx.Refused || bad == good {
			t.Errorf("%s: err = %v", what, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + strings.Repeat("ab", 32) + `"}}],"predicateType":"urn:imx:check:v1","predicate":{}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		st, err := statement.Parse(raw)
		if err != nil {
			if imx.KindOf(err) != imx.Refused {
				t.Errorf("err = %v", err)
			}
			return
		}
		again, err := json.Marshal(st)
		if err != nil || !bytes.Equal(again, raw) {
			t.Errorf("read %q, wrote %q, %v", raw, again, err)
		}
	})
}
