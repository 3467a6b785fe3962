package deb_test

// The solver believes what ParseRelations says: a relation that is read wrongly becomes a wrong
// image.

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/deb"
)

func TestRelationsAreRead(t *testing.T) {
	got, err := deb.ParseRelations("libc6 (>= 2.36), python3:any(<<3.12~),\n awk | mawk:native (= 1:1.3-1) [amd64 arm64], old (< 2) [!hurd-i386],")
	if err != nil {
		t.Fatal(err)
	}
	want := []deb.Group{
		{{Name: "libc6", Op: ">=", Version: "2.36"}},
		{{Name: "python3", Qualifier: "any", Op: "<<", Version: "3.12~"}},
		{{Name: "awk"}, {Name: "mawk", Qualifier: "native", Op: "=", Version: "1:1.3-1", Architectures: []string{"amd64", "arm64"}}},
		{{Name: "old", Op: "<=", Version: "2", Architectures: []string{"!hurd-i386"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got[3][0].On("hurd-i386") || !got[3][0].On("amd64") || got[2][1].On("i386") || !got[2][1].On("arm64") {
		t.Error("architecture lists are misread")
	}
}

func TestMalformedRelationsAreRefused(t *testing.T) {
	for _, text := range []string{
		"a | ", "(>= 1)", "ab (>= )", "ab (1)", "ab (~ 1)", "ab (=> 1)", "ab (>= 1", "ab [amd64", "ab <!nocheck>", "ab:(>= 1)",
		"ab (>= 1) junk", "../x", "ab (>= 1_2)", "a", "ab (= 1) (= 2)",
	} {
		if _, err := deb.ParseRelations(text); imx.KindOf(err) != imx.Refused {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestVersionsAreAllowedAsTheOperatorSays(t *testing.T) {
	for op, want := range map[string][3]bool{
		"<<": {true, false, false}, "<=": {true, true, false}, "=": {false, true, false},
		">=": {false, true, true}, ">>": {false, false, true}, "": {true, true, true},
	} {
		r := deb.Relation{Name: "ab", Op: op, Version: "2"}
		if got := [3]bool{r.Allows("1"), r.Allows("2-0"), r.Allows("3")}; got != want {
			t.Errorf("%q allows %v, want %v", op, got, want)
		}
		if r.Allows("") != (op == "") {
			t.Errorf("%q and an unknown version", op)
		}
	}
}

func FuzzRelations(f *testing.F) {
	f.Add("libc6 (>= 2.36), python3:any (<< 3.12~), awk | mawk [amd64 !i386]")
	f.Fuzz(func(t *testing.T, text string) {
		groups, err := deb.ParseRelations(text)
		if err != nil {
			return
		}
		for _, g := range groups {
			again, err := deb.ParseRelations(g.String())
			if err != nil {
				t.Fatalf("%q: %v", g.String(), err)
			}
			if len(again) != 1 || again[0].String() != g.String() {
				t.Errorf("%q reads back as %v", g.String(), again)
			}
		}
	})
}
