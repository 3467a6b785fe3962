package attest_test

// What a builder found built it takes on the word of what was stated then; where that doesn't count any more, it builds anew and compares.

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/provenance"
)

func TestAnImageThatComesOfACommitIsStatedToComeOfIt(t *testing.T) {
	w := newWorld(t)
	commit := func(name string) imx.Source { return imx.Source{Commit: strings.Repeat(name, 40), Folder: "shop"} }
	dirty := commit("d")
	dirty.Dirty = true
	for i, c := range []struct {
		from, states imx.Source
		how          provenance.How
	}{
		{imx.Source{Folder: "shop"}, imx.Source{Folder: "shop"}, provenance.Made},
		{dirty, dirty, provenance.Found},
		{commit("a"), commit("a"), provenance.Found},
		{dirty, commit("a"), provenance.Found}, // whoever tries something out takes nothing back
		{imx.Source{}, commit("a"), provenance.Found},
		{commit("b"), commit("b"), provenance.Found},
	} {
		image, err := w.buildOf(t, "a program", c.from)
		if err != nil {
			t.Fatal(err)
		}
		before := w.control.State().Next
		if _, err := w.buildOf(t, "a program", c.from); err != nil || w.control.State().Next != before {
			t.Errorf("%d: the same again is %d events: %v", i, w.control.State().Next-before, err)
		}
		p, signer := w.provenance(t, image)
		if diff := cmp.Diff(c.states, p.Definition.External.Template); diff != "" || p.Definition.Internal.Bytes.How != c.how {
			t.Errorf("%d: %s %s", i, p.Definition.Internal.Bytes.How, diff)
		}
		if b := p.Definition.Internal.Bytes; (b.Signer == signer && b.Statement != "") != (c.how == provenance.Found) {
			t.Errorf("%d: on the word of %+v", i, b)
		}
	}
}

func TestWhatWasMadeUnderACompromisedKeyIsMadeAnewAndCompared(t *testing.T) {
	w := newWorld(t)
	source := imx.Source{Commit: strings.Repeat("a", 40)}
	image, err := w.buildOf(t, "a program", source)
	if err != nil {
		t.Fatal(err)
	}
	_, first := w.provenance(t, image)
	if _, err := w.trust.Rotate(t.Context(), "root", imx.RotateRequest{Role: imx.RoleBuilder}); err != nil {
		t.Fatal(err)
	}
	source.Commit = strings.Repeat("b", 40)
	if _, err := w.buildOf(t, "a program", source); err != nil {
		t.Fatal(err)
	}
	if p, second := w.provenance(t, image); second == first || p.Definition.Internal.Bytes.Signer != first {
		t.Fatalf("signed by %s, on the word of %+v", second, p.Definition.Internal.Bytes)
	}
	if err := w.Doubted(image.Digest); err != nil {
		t.Errorf("nothing is compromised: %v", err)
	}
	if _, err := w.trust.EndKey(t.Context(), "root", imx.KeyEndRequest{Key: first, Compromised: true, Reason: "it was stolen"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Doubted(image.Digest); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "made under the key "+first) {
		t.Errorf("what a good key restated of a stolen one's: %v", err)
	}
	if _, err := w.buildOf(t, "a program", source); err != nil {
		t.Fatal(err)
	}
	if p, _ := w.provenance(t, image); p.Definition.Internal.Bytes != (provenance.Bytes{How: provenance.Compared}) || w.Doubted(image.Digest) != nil {
		t.Errorf("%+v", p.Definition.Internal.Bytes)
	}
}

func TestWhatWasMadeUnderACompromisedKeyAndIsNotItsPlansIsRefused(t *testing.T) {
	w := newWorld(t)
	evil, err := w.buildOf(t, "another program", imx.Source{})
	if err != nil {
		t.Fatal(err)
	}
	image := w.build(t)
	plans := filepath.Join(w.dir, "build", "plans")
	raw, err := os.ReadFile(filepath.Join(plans, evil.Plan.Hex()))
	if err == nil {
		err = os.WriteFile(filepath.Join(plans, image.Plan.Hex()), raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, key := w.provenance(t, evil)
	if _, err := w.trust.EndKey(t.Context(), "root", imx.KeyEndRequest{Key: key, Compromised: true, Reason: "it was stolen"}); err != nil {
		t.Fatal(err)
	}
	_, err = w.buildOf(t, "a program", imx.Source{})
	if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "built anew it is "+image.Digest.Short()+", and not "+evil.Digest.Short()) || !strings.Contains(err.Error(), "/app") {
		t.Errorf("err = %v", err)
	}
}

// provenance is what counts of how an image came to be, and who signed it.
func (w *world) provenance(t *testing.T, image imx.Image) (p provenance.Predicate, signer string) {
	t.Helper()
	st, err := w.Counted(image.Digest, imx.PredicateProvenance)
	if err == nil {
		err = json.Unmarshal(st.Predicate, &p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p, w.control.State().Evidence[image.Digest][imx.PredicateProvenance].Signer
}
