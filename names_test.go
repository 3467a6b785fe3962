package imx_test

import (
	"encoding/json"
	"testing"

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
