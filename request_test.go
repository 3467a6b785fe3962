package imx_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx"
)

func TestAnImageAsksForAPackageWhateverVersionOrSuiteItAsksForItIn(t *testing.T) {
	spec := imx.ImageSpec{Packages: []string{"plain", "pinned=2:1.0/1", "placed/bookworm-backports"}}
	if diff := cmp.Diff(map[string]bool{"plain": true, "pinned": true, "placed": true}, spec.Asked()); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]imx.Request{
		"plain": {Name: "plain"}, "pinned=2:1.0/1": {Name: "pinned", Version: "2:1.0/1"}, "placed/sid": {Name: "placed", Suite: "sid"},
	} {
		if got := imx.ReadRequest(text); got != want {
			t.Errorf("%s is read as %+v", text, got)
		}
	}
}
