package pipeline_test

import (
	"os"
	"strings"
	"testing"

	"imx"
)

// frozenWorld is a world with a planned template, and what was put into the registry.
func frozenWorld(t *testing.T) (*world, imx.FreezeRequest) {
	t.Helper()
	w := newWorld(t)
	tmpl := w.parse(t, packaged)
	planned, err := w.Plan(t.Context(), "root", imx.PlanRequest{Template: tmpl}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return w, imx.FreezeRequest{Template: tmpl, Lock: &planned.Lock, Name: "shop"}
}

func TestWhatIsFrozenIsFetchedAndKept(t *testing.T) {
	w, req := frozenWorld(t)
	set, err := w.Freeze(t.Context(), req, quiet)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.Freeze(t.Context(), req, quiet)
	if err != nil || again != set || set.Packages != 3 || set.Name != "shop" || set.Size == 0 {
		t.Errorf("first %+v, then %+v, %v", set, again, err)
	}
	if len(w.kept) != 2 || w.kept[0] != "frozen/shop:"+set.Tag+" "+string(set.Digest) {
		t.Errorf("kept %q", w.kept)
	}
	for _, p := range req.Lock.Packages {
		if !w.blobs.Has(p.Digest) {
			t.Errorf("%s isn't here", p.Ref())
		}
	}
}

// A disk that goes bad is found now, while the archive may still have the package.
func TestADamagedPackageIsFetchedAgainBeforeItIsFrozen(t *testing.T) {
	w, req := frozenWorld(t)
	if _, err := w.Freeze(t.Context(), req, quiet); err != nil {
		t.Fatal(err)
	}
	p := req.Lock.Packages[0]
	path := w.blobs.Path(p.Digest)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("damage"), 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Freeze(t.Context(), req, quiet); err != nil {
		t.Fatal(err)
	}
	if b, err := w.blobs.ReadAll(p.Digest, 1<<20); err != nil || int64(len(b)) != p.Size {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestWhatCantBeFrozenSaysWhyAndKeepsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*world, *imx.FreezeRequest)
		kind   imx.Kind
		says   string
		hint   string
	}{
		"no lock": {func(_ *world, r *imx.FreezeRequest) { r.Lock = nil }, imx.NotFound, "there is no imx.lock", "imx plan"},
		"a lock of something else": {
			func(_ *world, r *imx.FreezeRequest) {
				r.Template.Images[0].Packages = append(r.Template.Images[0].Packages, "libhello")
			}, imx.Conflict, "image.hello", "imx plan",
		},
		"a strange name": {func(_ *world, r *imx.FreezeRequest) { r.Name = "../x" }, imx.Invalid, `"../x"`, "--name"},
		"nothing to freeze": {
			func(_ *world, r *imx.FreezeRequest) { r.Template.Images = nil }, imx.Invalid, "names no package", "needs no archive",
		},
		"a package that the archive dropped": {
			func(w *world, _ *imx.FreezeRequest) {
				w.debs.Change("pool/*/*/*/libhello_*.deb", func([]byte) []byte { return nil })
			}, imx.NotFound, "libhello_1.0_amd64.deb", "imx plan --update",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, req := frozenWorld(t)
			c.change(w, &req)
			_, err := w.Freeze(t.Context(), req, quiet)
			if imx.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) || !strings.Contains(imx.AsError(err).Hint, c.hint) {
				t.Errorf("%v (%s; %s)", err, imx.KindOf(err), imx.AsError(err).Hint)
			}
			if len(w.kept) > 0 {
				t.Errorf("kept %q", w.kept)
			}
		})
	}
}
