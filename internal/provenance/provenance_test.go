package provenance_test

// Provenance is what an auditor compares with the lock and the archive: every material must be in it by digest, and
// nothing that says where the build happened to get it from.

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/provenance"
)

func digest(text string) imx.Digest { return imx.DigestBytes([]byte(text)) }

func deb(name, suite string) imx.Package {
	return imx.Package{Name: name, Version: "1", Architecture: "amd64", Archive: "host", Suite: suite, Path: "pool/" + name + ".deb", Digest: digest(name)}
}

func TestEveryMaterialIsNamedByItsDigest(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b := provenance.Build{
		Image: imx.Image{Name: "web", Inventory: digest("inventory")}, Whole: digest("plan"), Version: "1", Invocation: "a1", Started: at, Finished: at.Add(time.Second),
		Source: imx.Source{Commit: strings.Repeat("ab", 20), Dirty: true, Folder: "shop"},
		Plan: imx.ImagePlan{
			Spec: imx.ImageSpec{Name: "web", Files: []imx.File{{Path: "/b", Digest: digest("b")}, {Path: "/a", Digest: digest("a")}}},
			Ship: []imx.Package{deb("nginx", "stable")}, Base: []imx.Package{deb("dpkg", "stable")}, Tools: []imx.Package{deb("perl", "fixes")},
		},
		Lock: imx.Lock{Suites: []imx.LockedSuite{
			{Archive: "host", Suite: "stable", InRelease: digest("1"), Date: at},
			{Archive: "host", Suite: "fixes", InRelease: digest("2"), Date: at},
			{Archive: "other", Suite: "stable", InRelease: digest("3"), Date: at},
		}},
	}
	p := provenance.Of(b)
	var got []string
	for _, m := range p.Definition.DependsOn {
		d := m.Digest["sha256"]
		if d == "" {
			d = m.Digest["gitCommit"]
		}
		got = append(got, m.Name+" "+d+" "+m.Annotations["as"]+m.Annotations["date"])
	}
	want := []string{
		"template " + b.Source.Commit + " ", "InRelease " + digest("1").Hex() + " 2026-01-02T03:04:05Z", "InRelease " + digest("2").Hex() + " 2026-01-02T03:04:05Z",
		"nginx.deb " + digest("nginx").Hex() + " ship", "dpkg.deb " + digest("dpkg").Hex() + " base", "perl.deb " + digest("perl").Hex() + " tool",
		"/a " + digest("a").Hex() + " file", "/b " + digest("b").Hex() + " file",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"externalParameters":{"template":{"commit":"` + b.Source.Commit + `","dirty":true,"folder":"shop"},"image":"web"}`,
		`"imagePlan":"` + string(b.Plan.Digest()) + `"`, `"buildType":"urn:imx:build:v1"`, `"builder":{"id":"urn:imx:builder:v1","version":{"imx":"1"}}`,
		`"invocationId":"a1","startedOn":"2026-01-02T03:04:05Z","finishedOn":"2026-01-02T03:04:06Z"`, `"name":"inventory"`,
	} {
		if !strings.Contains(string(raw), part) {
			t.Errorf("%s isn't in\n%s", part, raw)
		}
	}
}

func TestTheSameBuildGivesTheSamePredicateAndNamesEachPackage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b provenance.Build
		for _, name := range rapid.SliceOf(rapid.StringMatching(`[a-z]{1,5}`)).Draw(t, "packages") {
			b.Plan.Ship = append(b.Plan.Ship, deb(name, "stable"))
		}
		b.Version = rapid.String().Draw(t, "version")
		p := provenance.Of(b)
		if imx.DigestJSON(p) != imx.DigestJSON(provenance.Of(b)) || len(p.Definition.DependsOn) != len(b.Plan.Ship) {
			t.Errorf("%+v", p)
		}
	})
}
