// Building twice: what differs is found by path, and of real packages nothing does.

package build_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx"
)

func TestBuildingTwiceFindsThePathsThatDiffer(t *testing.T) {
	w, b := host(t)
	random := pkg{Name: "random", Scripts: map[string]string{"postinst": `#!/bin/sh -e
mkdir /etc/random
head -c 4096 /dev/urandom >/etc/random/bytes
printf 'first\nsecond %s\nthird\n' "$(od -An -N8 -tx8 /dev/urandom)" >/etc/random/text
echo same >/etc/random/same
touch /etc/random/$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
`}}
	p := w.own(t, imx.ImageSpec{Generated: []string{"/etc/random/**"}}, random, pkg{Name: "calm"})
	r, err := b.CheckRepro(t.Context(), p, w.fetch, log(t))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, d := range r.Differences {
		switch {
		case d.What == imx.AspectMissing && (d.First == "missing") != (d.Second == "missing"):
			found = append(found, "missing")
		case d.Line > 0 && strings.HasPrefix(d.First, "second ") && strings.HasPrefix(d.Second, "second ") && d.First != d.Second:
			found = append(found, fmt.Sprintf("%s line %d", d.Path, d.Line))
		default:
			found = append(found, fmt.Sprintf("%s %s", d.Path, d.What))
		}
	}
	// The names of the two random files decide about where they stand among the others.
	if d := cmp.Diff([]string{"/etc/random/bytes content", "/etc/random/text line 2", "missing", "missing"}, slices.Sorted(slices.Values(found))); d != "" || r.Same() || r.More != 0 {
		t.Errorf("%+v\n%s", r, d)
	}
	nothingLeft(t, "no process")
}

func TestRealPackagesGiveTheSameBytesTwice(t *testing.T) {
	w, b := host(t)
	for name, image := range realImages() {
		image.spec.Name = name
		image.spec.Files = []imx.File{w.file(t, "/srv/page", "page of "+name, "", 0)}
		r, err := b.CheckRepro(t.Context(), w.planned(t, image.spec), w.fetch, quiet)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Same() || len(r.Differences) > 0 {
			t.Errorf("image.%s: %+v", name, r)
		}
	}
	entries, err := os.ReadDir(filepath.Join(shared.dir, "build", "tmp"))
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestAFailingSecondBuildIsAnError(t *testing.T) {
	w, b := host(t)
	once := script("once", "mkdir /etc/once")
	p := w.own(t, imx.ImageSpec{}, once)
	run(t, b, p)
	if err := w.blobs.Delete(p.Ship[0].Digest); err != nil { // the second build needs it again
		t.Fatal(err)
	}
	_, err := b.CheckRepro(t.Context(), p, func(context.Context, []imx.Package, imx.Report) error {
		return imx.Errorf(imx.Unavailable, "the mirror is down")
	}, quiet)
	if imx.KindOf(err) != imx.Unavailable || err.Error() != "building image.own: the mirror is down" {
		t.Error(err)
	}
}
