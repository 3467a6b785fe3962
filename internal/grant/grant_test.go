// These tests are here because a token is all that stands between a stranger and an image: what it allows, and until when, must
// be exactly what was asked for.

package grant_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"imx"
	"imx/internal/grant"
)

func day() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

func request(change func(*imx.TokenRequest)) imx.TokenRequest {
	req := imx.TokenRequest{Owner: "ci", Rights: []imx.RegistryRight{imx.Push}, Repositories: []string{"team/*"}, Lasts: imx.Duration(time.Hour)}
	if change != nil {
		change(&req)
	}
	return req
}

func made(t *testing.T) imx.NewToken {
	t.Helper()
	n, err := grant.Make(request(nil), "0123abcd", day(), bytes.Repeat([]byte{7}, 20))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWhatNobodyCouldMeanMakesNoToken(t *testing.T) {
	for name, change := range map[string]func(*imx.TokenRequest){
		"no owner":                func(r *imx.TokenRequest) { r.Owner = "" },
		"the server as owner":     func(r *imx.TokenRequest) { r.Owner = imx.Server },
		"nobody as owner":         func(r *imx.TokenRequest) { r.Owner = grant.Anonymous },
		"a line in the owner":     func(r *imx.TokenRequest) { r.Owner = "a\nb" },
		"no right":                func(r *imx.TokenRequest) { r.Rights = nil },
		"a right of another sort": func(r *imx.TokenRequest) { r.Rights = []imx.RegistryRight{"delete"} },
		"no repository":           func(r *imx.TokenRequest) { r.Repositories = nil },
		"a star in the middle":    func(r *imx.TokenRequest) { r.Repositories = []string{"a*b"} },
		"an upper-case name":      func(r *imx.TokenRequest) { r.Repositories = []string{"Team"} },
		"no time":                 func(r *imx.TokenRequest) { r.Lasts = 0 },
		"no end":                  func(r *imx.TokenRequest) { r.Lasts = imx.Duration(10 * 365 * 24 * time.Hour) },
	} {
		if _, err := grant.Make(request(change), "id", day(), make([]byte, 20)); imx.KindOf(err) != imx.Invalid || imx.AsError(err).Hint == "" {
			t.Errorf("%s: %v, want Invalid with a hint", name, err)
		}
	}
}

func TestTheSecretOfATokenIsNowhereInIt(t *testing.T) {
	n := made(t)
	random := n.Secret[strings.LastIndex(n.Secret, "_")+1:]
	for _, text := range []string{n.ID, string(n.Hash), string(n.Owner)} {
		if strings.Contains(text, random) {
			t.Errorf("the secret is in %q", text)
		}
	}
}

// Only who has the whole secret learns that it was right once.
func TestATokenThatIsOverSaysSoToItsOwnerAlone(t *testing.T) {
	n := made(t)
	revoked := n.RegistryToken
	revoked.Revoked = day().Add(time.Minute)
	for _, c := range []struct {
		name   string
		token  imx.RegistryToken
		secret string
		at     time.Time
		says   string
	}{
		{"good", n.RegistryToken, n.Secret, day(), ""},
		{"ended", n.RegistryToken, n.Secret, n.Ends, "token 0123abcd of ci ended on 2026-11-22 13:00:00 UTC"},
		{"revoked", revoked, n.Secret, day(), "token 0123abcd of ci was revoked on 2026-11-22 12:01:00 UTC"},
		{"one letter else", n.RegistryToken, n.Secret[:len(n.Secret)-1] + "x", day(), "isn't right"},
		{"ended, one letter else", n.RegistryToken, n.Secret[:len(n.Secret)-1] + "x", n.Ends, "isn't right"},
		{"revoked, the id alone", revoked, "imxr_0123abcd_", day(), "isn't right"},
		{"no such id", n.RegistryToken, "imxr_ffff_00", day(), "isn't right"},
		{"none", n.RegistryToken, "", day(), "isn't right"},
	} {
		got, err := grant.Find(map[string]imx.RegistryToken{n.ID: c.token}, c.secret, c.at)
		switch {
		case c.says == "" && (err != nil || got.Owner != "ci"):
			t.Errorf("%s: %+v, %v", c.name, got, err)
		case c.says != "" && (imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		case c.says == "isn't right" && (strings.Contains(err.Error(), "ci") || got.ID != ""):
			t.Errorf("%s: %v tells a stranger whose token it is", c.name, err)
		}
	}
}

func TestATokenAllowsItsRightsInItsRepositoriesAlone(t *testing.T) {
	n := made(t)
	for repository, want := range map[string]bool{"team/app": true, "team/a/b": true, "team": false, "teams": false, "other": false, "frozen/team/x": false} {
		for _, right := range []imx.RegistryRight{imx.Pull, imx.Push} {
			if got := grant.Allows(n.RegistryToken, right, repository); got != want {
				t.Errorf("%s %s: %t", right, repository, got)
			}
		}
	}
}

// The law: a pattern without a star covers itself, one with a star what begins with it, and none a frozen set by chance.
func TestAPatternCoversWhatItSays(t *testing.T) {
	names := rapid.StringMatching(`[a-c]{1,3}(/[a-c]{1,3}){0,2}`)
	rapid.Check(t, func(t *rapid.T) {
		pattern, name := names.Draw(t, "pattern"), names.Draw(t, "name")
		if imx.MatchRepository(pattern, name) != (pattern == name) {
			t.Fatal("without a star")
		}
		if imx.MatchRepository(pattern+"*", name) != strings.HasPrefix(name, pattern) {
			t.Fatal("with one")
		}
		if imx.MatchRepository("*", imx.FrozenPrefix+name) || !imx.MatchRepository(imx.FrozenPrefix+"*", imx.FrozenPrefix+name) {
			t.Fatal("a frozen set")
		}
	})
}

func FuzzASecretThatWasNotMadeOpensNothing(f *testing.F) {
	f.Add("imxr_0123abcd_00")
	f.Add("imxr__")
	f.Fuzz(func(t *testing.T, secret string) {
		n := made(t)
		if _, err := grant.Find(map[string]imx.RegistryToken{n.ID: n.RegistryToken}, secret, day()); err == nil && secret != n.Secret {
			t.Errorf("%q opened", secret)
		}
	})
}
