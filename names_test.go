package imx_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"imx"
)

func TestOneNameIsAStringAndSeveralAreAList(t *testing.T) {
	for _, c := range []struct {
		text string
		want imx.Names
	}{
		{`"debian"`, imx.Names{"debian"}},
		{`["debian","vendor"]`, imx.Names{"debian", "vendor"}},
		{`[]`, nil},
	} {
		var got imx.Names
		if err := json.Unmarshal([]byte(c.text), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
		if b, err := json.Marshal(got); err != nil || string(b) != c.text {
			t.Errorf("%s became %s, %v", c.text, b, err)
		}
	}
	var n imx.Names
	if err := json.Unmarshal([]byte(`""`), &n); err != nil || len(n) != 0 {
		t.Errorf("an empty string is %q, %v", n, err)
	}
	if json.Unmarshal([]byte(`7`), &n) == nil {
		t.Error("a number is a name")
	}
}

func TestAnIDCanBeAbbreviatedAsLongAsOneIsMeant(t *testing.T) {
	ids := []string{"33aa", "33ab", "33a", "7c"}
	for wanted, c := range map[string]struct {
		id   string
		kind imx.Kind
	}{
		"33aa": {"33aa", imx.Internal}, "33a": {"33a", imx.Internal}, "7": {"7c", imx.Internal},
		"33": {"", imx.Invalid}, "": {"", imx.NotFound}, "8": {"", imx.NotFound},
	} {
		id, err := imx.Abbreviated("candidate", wanted, "imx review lists them", slices.Values(ids))
		if id != c.id || (err == nil) != (c.id != "") || err != nil && imx.KindOf(err) != c.kind {
			t.Errorf("%q is %q, %v", wanted, id, err)
		}
	}
}

func TestAKeyIsFoundByItsBeginningAndByItsRole(t *testing.T) {
	keys := map[string]imx.Key{}
	for _, k := range []imx.Key{
		{ID: "SHA256:abcd", Role: imx.RoleBuilder, Until: time.Unix(1, 0)}, {ID: "SHA256:abxy", Role: imx.RoleBuilder}, {ID: "0F1D", Owner: "ada"},
	} {
		keys[k.ID] = k
	}
	for wanted, id := range map[string]string{
		"builder": "SHA256:abxy", "abc": "SHA256:abcd", "SHA256:abx": "SHA256:abxy", "abcd": "SHA256:abcd", "0F": "0F1D", "ab": "", "tester": "", "": "",
	} {
		if k, err := imx.FindKey(keys, wanted); k.ID != id || (err == nil) != (id != "") {
			t.Errorf("%q is %q, %v", wanted, k.ID, err)
		}
	}
}
