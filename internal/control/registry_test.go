package control_test

import (
	"strings"
	"testing"
	"time"

	"imx"
)

func TestATokensSecretIsInTheAnswerAndNowhereOnTheLog(t *testing.T) {
	w := open(t, t.TempDir())
	made, err := w.MakeToken("root", imx.TokenRequest{Owner: "ci", Rights: []imx.RegistryRight{imx.Push}, Repositories: []string{"*"}, Lasts: imx.Duration(time.Hour)})
	if err != nil || made.Secret == "" {
		t.Fatalf("%+v, %v", made, err)
	}
	if got := w.Registry().Tokens[made.ID]; got.Hash != imx.DigestBytes([]byte(made.Secret)) || got.Owner != "ci" {
		t.Errorf("%+v", got)
	}
	for e, err := range w.Events(0) {
		if err != nil {
			t.Fatal(err)
		}
		if text, err := e.MarshalJSON(); err != nil || strings.Contains(string(text), made.Secret) {
			t.Errorf("%s, %v", text, err)
		}
	}
	for range 2 { // the second time changes nothing
		if got, err := w.RevokeToken("root", made.ID); err != nil || got.Revoked.IsZero() {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if _, err := w.RevokeToken("root", "none"); imx.KindOf(err) != imx.NotFound {
		t.Error(err)
	}
}

func TestRulesOfTheRegistryThatMakeNoSenseAreRefused(t *testing.T) {
	w := open(t, t.TempDir())
	for name, err := range map[string]error{
		"a quota of nothing":       w.SetQuota("root", imx.RegistryQuota{Bytes: 1}),
		"a quota of both":          w.SetQuota("root", imx.RegistryQuota{Bytes: 1, Owner: "ci", Repositories: "*"}),
		"a quota below 0":          w.SetQuota("root", imx.RegistryQuota{Bytes: -1, Owner: "ci"}),
		"a quota of tags below 0":  w.SetQuota("root", imx.RegistryQuota{Tags: -1, Owner: "ci"}),
		"a quota of strangers":     w.SetQuota("root", imx.RegistryQuota{Tags: 1, Owner: "anonymous"}),
		"a strange pattern":        w.SetQuota("root", imx.RegistryQuota{Bytes: 1, Repositories: "A*B"}),
		"a mirror without a name":  w.SetMirror("root", imx.RegistryMirror{Direction: imx.MirrorTo, URL: "https://x.example", Repository: "*"}),
		"a mirror to nowhere":      w.SetMirror("root", imx.RegistryMirror{Name: "m", Direction: imx.MirrorTo, URL: "nowhere", Repository: "*"}),
		"a mirror with a password": w.SetMirror("root", imx.RegistryMirror{Name: "m", Direction: imx.MirrorTo, URL: "https://a:b@x.example", Repository: "*"}),
		"a mirror both ways":       w.SetMirror("root", imx.RegistryMirror{Name: "m", Direction: "both", URL: "https://x.example", Repository: "*"}),
	} {
		if imx.KindOf(err) != imx.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.RemoveMirror("root", "m"); imx.KindOf(err) != imx.NotFound {
		t.Error(err)
	}
}

func TestARuleThatIsThereAlreadyIsNoEvent(t *testing.T) {
	w := open(t, t.TempDir())
	quota := imx.RegistryQuota{Repositories: "team/*", Tags: 10}
	mirror := imx.RegistryMirror{Name: "m", Direction: imx.MirrorFrom, URL: "https://registry.example.org", Repository: "*"}
	before := w.State().Next
	for range 2 {
		if err := w.SetQuota("root", quota); err != nil {
			t.Fatal(err)
		}
		if err := w.SetMirror("root", mirror); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.State(); got.Next != before+2 || got.Registry.Quotas["team/*"] != quota || got.Registry.Mirrors["m"] != mirror {
		t.Errorf("%d events; %+v", got.Next-before, got.Registry)
	}
	if err := w.SetQuota("root", imx.RegistryQuota{Repositories: "team/*"}); err != nil || len(w.Registry().Quotas) != 0 {
		t.Errorf("a quota without bounds: %v, %+v", err, w.Registry().Quotas)
	}
	if err := w.RemoveMirror("root", "m"); err != nil || len(w.Registry().Mirrors) != 0 {
		t.Errorf("%v, %+v", err, w.Registry().Mirrors)
	}
}
