package imx_test

import (
	"encoding/json"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"imx"
)

// Nobody becomes somebody else by a name: not by that of an account, and not by that of a person.
func TestOnlyALoginMakesAnAccountAPersons(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"ada", "ben", "root", "imx"})
		people := map[imx.Principal]imx.Person{}
		free := []string{"ada", "ben", "root", "deploy"}
		for _, p := range rapid.SliceOfNDistinct(name, 0, 3, rapid.ID[string]).Draw(t, "people") {
			n := rapid.IntRange(0, min(2, len(free))).Draw(t, "logins")
			people[imx.Principal(p)] = imx.Person{Name: imx.Principal(p), Logins: slices.Clone(free[:n])}
			free = free[n:]
		}
		account := rapid.SampledFrom([]string{"ada", "ben", "root", "imx", "uid 7"}).Draw(t, "account")
		by := imx.Caller(people, account)
		p, known := people[by]
		if known != (by.Account() == "") || known && !slices.Contains(p.Logins, account) || !known && by.Account() != account || by == imx.Server && !known {
			t.Fatalf("%s acts as %s among %v", account, by, people)
		}
	})
}

// What the kernel says of a caller, no request says.
func TestARequestNamesNoAccount(t *testing.T) {
	var req imx.PlanRequest
	if err := json.Unmarshal([]byte(`{"account":"ada","Account":"ada","-":"ada"}`), &req); err != nil || req.Account != "" {
		t.Errorf("%q, %v", req.Account, err)
	}
	if got, want := imx.DigestJSON(imx.PlanRequest{Account: "ada"}), imx.DigestJSON(imx.PlanRequest{}); got != want {
		t.Error("what is kept of a request names the account")
	}
}
