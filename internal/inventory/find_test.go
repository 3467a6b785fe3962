package inventory_test

// People name images in many ways. Each way must find the one image that is meant, or say which
// ones could be.

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/inventory"
)

// logged yields events as a log does: numbered, a minute apart.
func logged(bodies ...imx.Body) iter.Seq2[imx.Event, error] {
	return func(yield func(imx.Event, error) bool) {
		for i, b := range bodies {
			if !yield(imx.Event{Index: int64(i), Time: time.Unix(int64(i)*60, 0).UTC(), Body: b}, nil) {
				return
			}
		}
	}
}

// hexed makes a digest that begins with some digits.
func hexed(begin string) imx.Digest {
	return imx.Digest("sha256:" + begin + imx.DigestBytes([]byte(begin)).Hex()[len(begin):])
}

func built(name, begin string) imx.ImageBuilt {
	return imx.ImageBuilt{Image: imx.Image{Name: name, Digest: hexed(begin), Plan: hexed(begin), Size: 100, Files: 2, Packages: 1}}
}

func push(repository, tag, begin string) imx.ManifestPushed {
	return imx.ManifestPushed{Repository: repository, Tag: tag, Digest: hexed(begin)}
}

// running is a service with two releases: the one with the traffic, and the one on its way.
func running(name string, current, target imx.Image) imx.Service {
	return imx.Service{Name: name, Current: 1, Target: 2, Releases: []imx.Release{
		{Service: name, Number: 1, Image: current}, {Service: name, Number: 2, Image: target},
	}}
}

// world is a log of two builds of web, one of db, an image pushed from outside and a build that was
// cut off before its record; web is at its older image, and shop at both.
func world(t *testing.T) ([]imx.ImageView, map[string]imx.Service) {
	t.Helper()
	old, now := built("web", "aaaa11"), built("web", "aaaa22")
	services := map[string]imx.Service{
		"web":  running("web", old.Image, old.Image),
		"shop": running("shop", old.Image, now.Image),
		"gone": {Name: "gone", Destroyed: true},
		"next": {Name: "next", Target: 1, Releases: []imx.Release{{Service: "next", Number: 1, Image: now.Image}}},
		"none": {Name: "none", Target: 1, Releases: []imx.Release{{Service: "none", Number: 1}}},
	}
	list, err := inventory.List(logged(
		push("web", "plan-1", "aaaa11"), old, push("db", "plan-2", "bbbb11"), built("db", "bbbb11"),
		push("team/mine", "v1", "cccc11"), now, imx.ServerStarted{}, push("web", "plan-3", "dddd11"), push("web", "v7", "bbbb11"),
	), services, "plan-")
	if err != nil {
		t.Fatal(err)
	}
	return list, services
}

func TestTheNewestImageStandsFirstAndSaysWhoRunsIt(t *testing.T) {
	list, _ := world(t)
	var got []string
	for _, v := range list {
		got = append(got, fmt.Sprintf("%s %s at %d, pushed %v, tags %v, runs %v", v.Name, v.Digest.Hex()[:6], v.Built.Unix()/60, v.Pushed, v.Tags, v.RunBy))
	}
	want := []string{
		"db bbbb11 at 2, pushed false, tags [db:plan-2 web:v7], runs []",
		"web aaaa22 at 5, pushed false, tags [], runs [{next 1 false []} {shop 2 false []}]",
		"team/mine cccc11 at 4, pushed true, tags [team/mine:v1], runs []",
		"web aaaa11 at 0, pushed false, tags [web:plan-1], runs [{shop 1 true []} {web 1 true []} {web 2 false []}]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFrozenSetsAndWhatIsSaidAboutImagesAreNoImages(t *testing.T) {
	said := push("web", "", "eeee11")
	said.Subject = hexed("aaaa11")
	list, err := inventory.List(logged(push(imx.FrozenPrefix+"shop", "lock-1", "dddd11"), said), nil, "plan-")
	if err != nil || len(list) > 0 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestALogThatCannotBeReadIsAnError(t *testing.T) {
	broken := errors.New("broken")
	_, err := inventory.List(func(yield func(imx.Event, error) bool) { yield(imx.Event{}, broken) }, nil, "plan-")
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

func TestAnImageIsFoundByEachOfItsNames(t *testing.T) {
	list, services := world(t)
	for wanted, begin := range map[string]string{
		"web": "aaaa22", "image.web": "aaaa22", "service.web": "aaaa11", "shop": "aaaa11", "next": "aaaa22", "db": "bbbb11",
		"aaaa11": "aaaa11", "sha256:bbbb": "bbbb11", "cccc": "cccc11", string(hexed("aaaa22")): "aaaa22",
		"web@aaaa1": "aaaa11", "image.web@sha256:aaaa1": "aaaa11", "db@bbbb": "bbbb11",
		"team/mine": "cccc11", "team/mine:v1": "cccc11", "web:v7": "bbbb11", "web:plan-1": "aaaa11",
	} {
		v, err := inventory.Find(list, services, wanted)
		if err != nil || v.Digest != hexed(begin) {
			t.Errorf("%s is %s (%v), want %s", wanted, v.Digest.Short(), err, begin)
		}
	}
}

func TestWhatCannotBeFoundNamesNearOnes(t *testing.T) {
	list, services := world(t)
	for wanted, want := range map[string]string{
		"wev":           `not-found: there is no image or service "wev"; did you mean web?`,
		"zzzzzzzzz":     `not-found: there is no image or service "zzzzzzzzz"; imx image list shows the images`,
		"image.shop":    `not-found: there is no image or service "image.shop"`,
		"gone":          `not-found: there is no image or service "gone"`,
		"service.gone":  `not-found: there is no service "gone"`,
		"service.sho":   `not-found: there is no service "sho"; did you mean shop?`,
		"none":          "not-found: service none runs no image; imx releases none lists",
		"aaaa":          "invalid: 2 images begin with aaaa; write more of it: aaaa22",
		"web@aaaa":      "invalid: 2 images begin with aaaa; write more of it: aaaa22",
		"web@bbbb":      "not-found: no image web has the digest bbbb; there is aaaa22",
		"wex@bbbb":      `not-found: there is no image "wex"; did you mean web?`,
		"eeee":          "not-found: no image has the digest eeee; imx image list",
		"web@aa":        `invalid: "aa" is too short for a digest`,
		"sha256:":       `invalid: "sha256:" is too short for a digest`,
		"":              `not-found: there is no image or service ""; imx image list`,
		"service.":      `not-found: there is no service ""`,
		"a\x00/../b":    "not-found: there is no image or service",
		"sha256:xxxxxx": "not-found: no image has the digest sha256:xxxxxx",
	} {
		_, err := inventory.Find(list, services, wanted)
		got := fmt.Sprintf("%s: %v; %s", imx.KindOf(err), err, imx.AsError(err).Hint)
		if !strings.HasPrefix(got, want) {
			t.Errorf("%q is %q, want %q", wanted, got, want)
		}
	}
}

func TestAPrefixOfADigestFindsItsImageOrNamesAllThatHaveIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []imx.ImageView
		seen := map[string]bool{}
		for i, begin := range rapid.SliceOfN(rapid.StringMatching("[ab]{8}"), 1, 8).Draw(t, "digests") {
			if !seen[begin] {
				seen[begin] = true
				list = append(list, imx.ImageView{Image: imx.Image{Name: fmt.Sprint("image", i), Digest: hexed(begin)}})
			}
		}
		wanted := rapid.SampledFrom(list).Draw(t, "wanted")
		prefix := wanted.Digest.Hex()[:rapid.IntRange(4, 64).Draw(t, "digits")]
		var have int
		for _, v := range list {
			if strings.HasPrefix(v.Digest.Hex(), prefix) {
				have++
			}
		}
		v, err := inventory.Find(list, nil, prefix)
		switch {
		case have == 1 && (err != nil || v.Digest != wanted.Digest):
			t.Fatalf("%s finds %s, %v", prefix, v.Digest, err)
		case have > 1 && (imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), fmt.Sprint(have, " images"))):
			t.Fatalf("%s, which %d images have: %v", prefix, have, err)
		}
	})
}
